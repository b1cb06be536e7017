"""What is answered as JSON, whatever jobs have written: browsers parse all of it."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from aiflow_ext.model.jsonable import finite


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
        text = json.dumps(finite(content), separators=(",", ":"))
    return text.encode()
