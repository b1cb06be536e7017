"""Downloads logs in the background as soon as an attempt has ended, because its node keeps them only for a short
time."""

from __future__ import annotations

import threading
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.application import Application

_slots = threading.BoundedSemaphore(4)  # logs of so many attempts at once
_downloads: dict[str, _Download] = {}  # by native id, until they are waited for
_lock = threading.Lock()


class _Download(threading.Thread):
    """Downloads one attempt's logs. A daemon thread: a command that only reads does not wait for it. A file is complete
    or absent."""

    def __init__(self, application: Application, report: dict[str, Any]) -> None:
        super().__init__(name="aiflow-yarn-logs", daemon=True)
        self.application, self.report, self.complete = application, report, False

    def run(self) -> None:
        with _slots:
            try:
                self.complete = self.application.download_logs(self.report)
            except (PlatformError, OSError):
                pass  # the next reader tries again, and reports it


def start_download(application: Application, report: dict[str, Any]) -> threading.Thread:
    """Start to download the logs of an attempt that has ended, in the background. Idempotent. Returns its thread."""
    with _lock:
        download = _downloads.get(application.native_id)
        if download is None:
            download = _downloads[application.native_id] = _Download(application, report)
            download.start()
    return download


def finish_download(application: Application) -> bool:
    """Whether the logs are complete on this machine. Waits for a download that was started, else downloads them.

    A failed download is not repeated here, because other jobs wait: the next cleanup repeats it.
    """
    with _lock:
        begun = _downloads.pop(application.native_id, None)
    if begun is None:
        return application.download_logs()
    begun.join()
    return begun.complete
