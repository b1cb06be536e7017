"""A job plugin that brings another one's module along."""

from wrong_base import RightBase


class ImportsAnother(RightBase):
    """Its mistake is above."""
