"""The discovery index: the last scan of this interpreter and ``sys.path``, trusted only while nothing has changed.

A hit reads one file and asks for the stamp of each path entry, of its ``.pth`` files and of the metadata files of each
advertising distribution. Lines of text rather than JSON: importing json costs more than reading the file.
"""

from __future__ import annotations

import os
import stat
import sys
from _frozen_importlib_external import PathFinder

import aiflow_ext
from aiflow_ext.host.records import KINDS, STATUSES, PluginRecord
from aiflow_ext.host.window import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = "aiflow-ext plugin index 1"
KEPT = 64  # index files kept; each interpreter and each sys.path has its own
# A folder that changed so shortly before it was read could change again without its stamp showing it: time stamps are
# as coarse as two seconds on some file systems.
YOUNG_NS = 2_000_000_000
ALWAYS_LIST = "?"  # stamp of what has no stamp to trust
_METADATA = (".dist-info", ".egg-info")
_WIDTHS = (3, 2, 3, 8)  # columns of the index's tables: path entries, files, homes, records


class Snapshot:
    """What one scan found, and the stamps under which it holds.

    Attributes:
        key: what the scan depends on besides files: interpreter, machine, version, ``sys.path``.
        entries: path entry -> (stamp, whether it held no distribution at all).
        files: ``.pth`` file or metadata file -> stamp.
        homes: (distribution, version) -> its metadata folder.
        records: sorted; their statuses are those that metadata alone gives.
        taken: when the scan began, ns since the epoch.
        indexable: False where something was found that no stamp covers.
    """

    __slots__ = ("entries", "files", "homes", "indexable", "key", "records", "taken")

    def __init__(self, key: str, taken: int) -> None:
        self.key, self.taken, self.indexable = key, taken, True
        self.entries: dict[str, tuple[str, bool]] = {}
        self.files: dict[str, str] = {}
        self.homes: dict[tuple[str, str], str] = {}
        self.records: list[PluginRecord] = []

    def holds(self) -> bool:
        """Whether a scan now would find the same."""
        if not self.indexable or self.key != key():
            return False
        for path, (stamp, bare) in self.entries.items():
            # A folder that held no distribution and holds none now contributes as little as before, however often a
            # job or an editor has written to it: working folders change all the time.
            if stamp_at(path) != stamp and not (bare and not _holds_metadata(path, _names(path))):
                return False
        return list(map(stamp_at, self.files)) == list(self.files.values())

    def settled(self) -> bool:
        """Whether nothing here changed in the two seconds before the scan, so that the stamps can be trusted."""
        limit = self.taken - YOUNG_NS
        stamps = [stamp for stamp, bare in self.entries.values() if not bare]
        return self.indexable and not any(_is_young(stamp, limit) for stamp in (*stamps, *self.files.values()))


def begin(taken: int, searched: list[str]) -> Snapshot:
    """A snapshot with the stamps of every path entry and ``.pth`` file, for a scan of ``searched`` that begins now."""
    snapshot = Snapshot(key(searched), taken)
    for path in _path_entries(searched):
        stamp = stamp_at(path)
        names = _names(path)
        bare = not _holds_metadata(path, names)
        if bare and _is_young(stamp, taken - YOUNG_NS):
            stamp = ALWAYS_LIST
        snapshot.entries[path] = stamp, bare
        for name in (not bare and names) or ():
            if name.endswith(".pth"):
                file = os.path.abspath(os.path.join(path, name))
                snapshot.files[file] = stamp_at(file)
    return snapshot


def load() -> Snapshot | None:
    """The index for this interpreter and ``sys.path``, if there is one that still holds."""
    if not only_standard_finders():
        return None
    wanted = key()
    path = _file(wanted)
    if path is None:
        return None
    try:
        # What another user has written would have this one import, and run, what it names.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022 or not stat.S_ISREG(status.st_mode):
                return None
            content = file.read()
        head, _, body = content.partition(b"\n")
        if head != _head(body):
            return None
        snapshot = _parse(body.decode("utf-8", "surrogateescape"))
    except (OSError, ValueError, StopIteration):
        return None
    return snapshot if snapshot.key == wanted and snapshot.holds() else None


def save(snapshot: Snapshot) -> None:
    """Write ``snapshot`` for the next process, if it can be trusted. A cache folder that cannot be used is no error."""
    if not snapshot.settled():
        return
    path, body = _file(snapshot.key), _format(snapshot)
    if path is None or body is None:
        return
    # A name of our own and then one rename: a reader sees the old file or the new one, with any number of writers.
    mine = f"{path}.{os.getpid()}.{snapshot.taken}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _prune(os.path.dirname(path))
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(_head(body) + b"\n" + body)
            os.replace(mine, path)
        except OSError:
            os.unlink(mine)
    except OSError:
        pass


def path_of(snapshot: Snapshot) -> str | None:
    """The file that ``snapshot`` is kept in; None where there can be none."""
    return _file(snapshot.key)


def stamp_of(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"


def stamp_at(path: str) -> str:
    """Device, inode, mtime and ctime (ns) of what is at ``path``; ``-`` where nothing is."""
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):
        return "-"


def only_standard_finders() -> bool:
    """Whether distributions come from ``sys.path`` alone; what another finder brings has no stamp."""
    return all(
        finder is PathFinder
        or not hasattr(finder, "find_distributions")
        # importlib_metadata's takes the place of Python's own wherever it has been imported.
        or (type(finder).__module__, type(finder).__name__) == ("importlib_metadata", "MetadataPathFinder")
        for finder in sys.meta_path
    )


def key(searched: list[str] | None = None) -> str:
    """All that a scan of ``searched`` depends on besides files; None: of ``sys.path``."""
    entries = _path_entries(list(sys.path) if searched is None else searched)
    return "\x1f".join((aiflow_ext.__version__, sys.version, sys.prefix, *machine(), *entries))


def _path_entries(searched: list[str]) -> list[str]:
    """What a scan of ``searched`` reads, as importlib_metadata reads ``sys.path``.

    A relative entry ('' is the working folder) stays relative, so that one index serves every working folder in which
    no distribution is installed; in one that holds some, its stamp tells it from any other.
    """
    return list(dict.fromkeys(str(entry) or "." for entry in searched))


def _names(path: str) -> list[str] | None:
    """The names in a folder; [] if it does not exist; None if it is not a readable folder."""
    try:
        return os.listdir(path)
    except (FileNotFoundError, ValueError):
        return []
    except OSError:
        return None


def _holds_metadata(path: str, names: list[str] | None) -> bool:
    """Whether importlib_metadata could find a distribution in the path entry ``path``."""
    if names is None:
        return True
    return any(name.lower().endswith(_METADATA) for name in names) or (
        path.lower().endswith(".egg") and any(name.lower() == "egg-info" for name in names)
    )


def _is_young(stamp: str, limit: int) -> bool:
    return stamp != "-" and (stamp == ALWAYS_LIST or max(map(int, stamp.split(" ")[2:])) > limit)


def _file(wanted: str) -> str | None:
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        folder = os.path.join(home, ".cache")
    check = _checksum(wanted.encode("utf-8", "surrogateescape"))
    return os.path.join(folder, "aiflow-ext", f"plugins-{check}.index") if check else None


def _checksum(content: bytes) -> str:
    try:
        from zlib import crc32
    except ImportError:  # a python built without zlib: no index
        return ""
    return f"{crc32(content):08x}"


def _head(body: bytes) -> bytes:
    return f"{FORMAT} {_checksum(body)} {len(body)}".encode()


def _format(snapshot: Snapshot) -> bytes | None:
    """The lines of an index file; None where a path holds what would break a line.

    A table is a line for each of its columns, which reads back at a tenth of the price of a line for each row.
    """
    tables: list[list[tuple[str, ...]]] = [
        [(path, stamp, "bare" if bare else "") for path, (stamp, bare) in snapshot.entries.items()],
        [(path, stamp) for path, stamp in snapshot.files.items()],
        [(*who, folder) for who, folder in snapshot.homes.items()],
        [tuple(record) for record in snapshot.records],
    ]
    lines = [snapshot.key.replace("\n", "\x1e")]
    for rows, width in zip(tables, _WIDTHS, strict=True):
        if any("\n" in field or "\t" in field for row in rows for field in row):
            return None
        lines += [str(len(rows)), *("\t".join([row[at] for row in rows]) for at in range(width))]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _parse(body: str) -> Snapshot:
    lines = iter(body.split("\n"))
    snapshot = Snapshot(next(lines).replace("\x1e", "\n"), 0)
    tables: list[Iterable[tuple[str, ...]]] = []
    for width in _WIDTHS:
        count = int(next(lines))
        columns = [next(lines).split("\t") for _ in range(width)]
        if count and any(len(column) != count for column in columns):
            raise ValueError("an index with missing fields")
        tables.append(zip(*columns, strict=True) if count else ())
    entries, files, homes, records = tables
    snapshot.entries = {path: (stamp, bool(bare)) for path, stamp, bare in entries}
    snapshot.files = dict(files)  # type: ignore[arg-type]
    snapshot.homes = {(name, version): folder for name, version, folder in homes}
    snapshot.records = list(map(PluginRecord.of, records))
    if not all(record[0] in KINDS and record[5] in STATUSES for record in snapshot.records):
        raise ValueError("an index with plugins of no kind, or of no status")
    return snapshot


def _prune(folder: str) -> None:
    """Remove the oldest index files once there are many."""
    names = [name for name in os.listdir(folder) if name.startswith("plugins-")]
    if len(names) <= KEPT:
        return
    ages = sorted((os.stat(os.path.join(folder, name)).st_mtime_ns, name) for name in names)
    for _, name in ages[: len(names) - KEPT // 2]:
        os.unlink(os.path.join(folder, name))
