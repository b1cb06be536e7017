"""What is answered as JSON, whatever jobs have written: browsers parse all of it."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse


class Answer(JSONResponse):
    """An answer as JSON."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return in_json(content)


def in_json(content: Any) -> bytes:
    """JSON in ASCII: a file's name that is not UTF-8 has lone surrogates, which no other encoding can hold. A number
    that JSON lacks, as NaN, is text."""
    try:
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(content), separators=(",", ":"))
    return text.encode()


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(each) for key, each in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(each) for each in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content
