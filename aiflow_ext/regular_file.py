"""Opens files that a job, a server or another user may have put there: without blocking, read up to a limit, and never
written through a link.

An open of a FIFO blocks until the other side is opened, and /dev/zero has no end. Standard library only, because jobs
use this module too.
"""

from __future__ import annotations

import errno
import os
import stat

from aiflow_ext.shared_folder import share_file

TYPE_CHECKING = False  # typing takes longer to import than a supervisor has
if TYPE_CHECKING:
    from typing import IO

_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder"}
_NULL = os.makedev(1, 3)  # /dev/null


class NotRegularError(OSError):
    """What should be a regular file is something else; ``strerror`` says what."""


LARGEST = 16 << 20  # bytes of a file that is read whole, unless a reader knows better


def kind_of(mode: int) -> str:
    """The kind of a file that is not a regular one, by its ``st_mode``, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def open_regular(path: str | os.PathLike[str], *, follow: bool = True) -> IO[bytes]:
    """A regular file, opened for reading bytes. Never blocks. /dev/null is an empty one.

    ``follow``: whether ``path`` may be a link to it. Raises NotRegularError, else OSError as ``open`` does.
    """
    links = 0 if follow else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | links)
    try:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not stat.S_ISREG(mode) and not (stat.S_ISCHR(mode) and status.st_rdev == _NULL):
            raise NotRegularError(errno.EINVAL, f"it is {kind_of(mode)}, not a regular file", os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], limit: int, offset: int = 0, *, follow: bool = True) -> bytes:
    """At most ``limit`` bytes of a regular file from byte ``offset`` on; raises as :func:`open_regular` does."""
    with open_regular(path, follow=follow) as file:
        if offset:
            file.seek(offset)
        return file.read(limit)


def read_whole(path: str | os.PathLike[str], limit: int = LARGEST, *, follow: bool = True) -> bytes:
    """A regular file that has at most ``limit`` bytes; raises as :func:`open_regular` does, and OSError for a larger
    one."""
    data = read_regular(path, limit + 1, follow=follow)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit >> 20} MiB", os.fspath(path))
    return data


def write_regular(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file for its owner and for whom its folder is shared with.

    A file, link or FIFO that is at ``path`` is removed, never opened.

    Raises OSError, IsADirectoryError too where there is a folder.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)
        descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        share_file(descriptor, os.path.dirname(os.path.abspath(path)))


def open_to_append(path: str | os.PathLike[str]) -> int:
    """A descriptor that appends to the file at ``path``, which is made for its owner alone where it is missing.

    Never waits, follows no link. Raises NotRegularError for a link, a FIFO or a socket, else OSError as ``os.open``
    does.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        kind = "a link" if error.errno == errno.ELOOP else "a FIFO or a socket"
        raise NotRegularError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path)) from error
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, "it is a FIFO, not a regular file", os.fspath(path))
    os.set_blocking(descriptor, True)
    return descriptor
