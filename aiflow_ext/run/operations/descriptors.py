"""The three standard descriptors of a process that may have been started, or left, without them."""

from __future__ import annotations

import os


def hold_standard() -> None:
    """Have /dev/null stand for stdin, stdout and stderr where they are closed.

    Else a file that is opened next, a lock or a journal, gets that number, and what anybody prints is written into it.
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
