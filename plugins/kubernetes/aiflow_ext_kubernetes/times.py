"""Times of RFC 3339, as the API server, nodes and credentials write them."""

from __future__ import annotations

import re
from datetime import datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def seconds_since_epoch(text: str) -> float:
    """The time that ``text`` says (RFC 3339, section 5.6, with a space for ``T`` too), in seconds since the epoch.

    A fraction keeps six digits: nodes write nine. Python's own reader takes neither them nor ``Z`` before 3.11.

    Raises:
        ValueError: it is no such time, or no time that there is.
    """
    found = _TIME.fullmatch(text[:100].strip())
    if found is None:
        raise ValueError(f"{text[:100]!r} is no time, such as 2026-01-31T12:00:00Z")
    day, clock, fraction, zone = found.groups()
    offset = "+00:00" if zone in ("Z", "z") else zone
    try:
        return datetime.fromisoformat(f"{day}T{clock}{(fraction or '.0')[:7]:0<7}{offset}").timestamp()
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from error
