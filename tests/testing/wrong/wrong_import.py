"""A job plugin that brings another one's module along."""

from wrong_base import RightBase

import aiflow_ext_local.python  # noqa: F401


class ImportsAnother(RightBase):
    """Its mistake is above."""
