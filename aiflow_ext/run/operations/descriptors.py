"""The three standard descriptors of a process that may have been started without them."""

from __future__ import annotations

import os


def hold_standard() -> None:
    """Open /dev/null for stdin, stdout and stderr if they are closed.

    Else the next file that is opened, a lock or a journal, gets that number, and output is written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
