"""The driver's event loop."""

from __future__ import annotations

import os
import threading

from aiflow_ext.run.driving.inbox import Inbox
from tests.helpers.patience import PATIENCE


def test_a_task_that_a_thread_puts_while_the_loop_is_closed_neither_fails_nor_writes_to_another_file(monkeypatch):
    """The thread is held just before it wakes the loop up, until the loop is closed and the number another file's."""
    wakes, closed = threading.Event(), threading.Event()
    write, failed = os.eventfd_write, []

    def held(descriptor: int, value: int) -> None:
        wakes.set()
        closed.wait(1)  # the loop waits for the thread where it is right: then this is over after a second
        write(descriptor, value)

    monkeypatch.setattr("aiflow_ext.run.driving.inbox.os.eventfd_write", held)
    inbox = Inbox()

    def put() -> None:
        try:
            inbox.put(lambda: None)
        except OSError as error:
            failed.append(error)

    inbox._polling = True
    thread = threading.Thread(target=put)
    thread.start()
    assert wakes.wait(PATIENCE)
    inbox.close()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    closed.set()
    thread.join(PATIENCE)
    try:
        assert failed == []
        assert not _holds_anything(other)
    finally:
        os.close(other)


def _holds_anything(descriptor: int) -> bool:
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        return False
    return True
