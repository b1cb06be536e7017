"""What goes wrong with a bed."""

from __future__ import annotations


class BedError(Exception):
    """A bed cannot do what was asked; the message says why, and what to do about it."""
