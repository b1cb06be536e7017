"""A job plugin whose module prints when it is imported."""

from wrong_base import RightBase

print("a banner")


class PrintsABanner(RightBase):
    """Its mistake is above."""
