"""Runs plugins' code, and reports the plugin that ends, blocks or damages this process while it is imported.

A SIGKILL, and a C library that ends the process by itself, cannot be detected here. ``aiflow-ext why`` and ``doctor``
report those, because they load plugins in processes of their own.
"""

from __future__ import annotations

import _thread
import builtins
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from aiflow_ext.model.errors import PLUGIN, PluginError, PluginImportError

T = TypeVar("T")
SLOW = 5.0  # seconds until a running import is reported; twice as long until it is reported again
FILE = "<aiflow-ext importing"  # how the file of a frame is called that only names what is being imported

# Of os: what ends this process at once, without any exception, and what leaves it without its files.
_ENDS = dict.fromkeys(("_exit", "execv", "execve"), "which ends the process")
_ENDS["closerange"] = "which closes files that it has not opened"
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_real = {name: getattr(os, name) for name in _ENDS}
_getpid, _write = os.getpid, os.write
_lock = _thread.allocate_lock()
_importing: dict[int, tuple[str, frozenset[int]]] = {}  # by thread: what, and the threads that there were before
_calling: set[int] = set()  # threads in which code runs that must not end the process
_process = 0
_dumping = False


class Ended(BaseException):
    """Raised in place of the end that imported code wanted to give this process."""


def guarded(where: str, function: Callable[[], T]) -> tuple[T, list[str]]:
    """What ``function`` returns, which imports or makes what ``where`` describes; and what that has damaged.

    Raises what it raises; Ended where it ended the process by ``os._exit`` or ``os.exec*``, or closed its files by
    ``os.closerange``; a KeyboardInterrupt that names the plugin; PluginImportError where it did what this process could
    not go on with, which is undone.
    """
    done = _thread.allocate_lock()
    done.acquire()
    before = _State()
    outer = _begin(where)
    try:
        _thread.start_new_thread(_tell_while_slow, (where, done))
        returned = _unforked(f"while importing {where}", _named(where), function)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"while importing {where}") from error
    except Exception as error:
        undone = _undo(before)
        if undone and not isinstance(error, PluginError):  # the code of ours that came upon it
            raise _unusable(where, undone) from error
        raise
    finally:
        done.release()
        _end(outer)
    undone = _undo(before)
    if undone:
        raise _unusable(where, undone)
    return returned, _damage(before)


def _unusable(where: str, undone: list[str]) -> PluginImportError:
    return PluginImportError(f"{where} cannot be used: importing it {' and '.join(undone)}",
                             hint="report it to its authors, or install another version of it")  # fmt: skip


def unending(function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` returns; raises Ended where it calls ``os._exit`` or ``os.exec*``, which end this process, or
    ``os.closerange``."""
    thread = _thread.get_ident()
    with _lock:
        _watch_ends()
        _calling.add(thread)
    try:
        return _unforked(_title(function), function, *arguments)
    finally:
        with _lock:
            _calling.discard(thread)
            _leave_ends()


def _title(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    ours = module is None or name is None or module.startswith("aiflow_ext.")
    return "while code of a plugin ran" if ours else f"in {module}.{name}"


def _unforked(what: str, function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` returns, to the process that called it: a child that was forked in it and comes back, to go on
    as a second one of us, is ended."""
    process, told = _getpid(), "which would have gone on as a second aiflow-ext"
    code = PLUGIN
    try:
        return function(*arguments)
    except BaseException as error:
        end = error if isinstance(error, SystemExit) else error.__cause__
        if _getpid() != process and isinstance(end, SystemExit):  # as it wants
            told, code = "", end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        if _getpid() != process:
            if told:
                _write(2, f"aiflow-ext: {what}: a process was forked, {told}; it is ended\n".encode())
            _real["_exit"](code)


def _call(function: Callable[[], Any]) -> Any:
    return function()


def _named(where: str) -> Callable[[Callable[[], T]], T]:
    """A function that calls another one, in a frame that names ``where``: a fatal signal prints the frames."""
    code = _call.__code__.replace(co_filename=f"{FILE} {where}>", co_name="importing")
    return FunctionType(code, {})


def _begin(where: str) -> tuple[str, frozenset[int]] | None:
    global _dumping
    with _lock:
        _watch_ends()
        if not _importing and not faulthandler.is_enabled():
            try:
                faulthandler.enable(2, all_threads=False)
                _dumping = True
            except OSError:  # stderr is closed
                pass
        thread = _thread.get_ident()
        outer = _importing.get(thread)
        _importing[thread] = where, frozenset(sys._current_frames())
        return outer


def _end(outer: tuple[str, frozenset[int]] | None) -> None:
    global _dumping
    with _lock:
        if outer is not None:
            _importing[_thread.get_ident()] = outer
            return
        del _importing[_thread.get_ident()]
        if not _importing and _dumping:
            faulthandler.disable()
            _dumping = False
        _leave_ends()


def _watch_ends() -> None:
    """Have what would end this process at once answered by us; under the lock."""
    global _process
    if not _importing and not _calling:
        _process = _getpid()
        for name in _ENDS:
            setattr(os, name, _ended(name))


def _leave_ends() -> None:
    """Restore the original functions, once no plugin's code runs; under the lock."""
    if not _importing and not _calling:
        for name, real in _real.items():
            setattr(os, name, real)


def _ended(name: str) -> Any:
    real = _real[name]

    def end(*arguments: Any) -> Any:
        if _getpid() != _process:  # in a child that was forked
            return real(*arguments)
        thread = _thread.get_ident()
        told = arguments if name == "closerange" else arguments[:1]
        called = f"os.{name}({', '.join(map(repr, told))})"
        if thread in _importing or thread in _calling:
            raise Ended(f"it called {called}, {_ENDS[name]}")
        for where, threads in list(_importing.values()):
            if thread not in threads:
                _write(2, f"aiflow-ext: while importing {where}: a thread of its called {called}\n".encode())
                _real["_exit"](PLUGIN)
        return real(*arguments)

    return end


def _tell_while_slow(where: str, done: _thread.LockType) -> None:
    waited, pause = 0.0, SLOW
    while not done.acquire(timeout=pause):
        waited, pause = waited + pause, waited + pause
        try:
            _write(2, f"aiflow-ext: still importing {where} after {waited:.0f} s\n".encode())
        except OSError:
            return


class _State:
    """What is everybody's in this process.

    Attributes:
        library: the names of each module of the standard library that is imported.
        folder: the current one.
        timers: seconds until each of _TIMERS sends its signal; 0 where it is not set.
    """

    def __init__(self) -> None:
        known = sys.stdlib_module_names
        self.library = {name: (module, dict(vars(module))) for name, module in list(sys.modules.items())
                        if name.partition(".")[0] in known and hasattr(module, "__dict__")
                        and not getattr(getattr(module, "__spec__", None), "_initializing", False)}  # fmt: skip
        self.folder = _folder()
        self.timers = [signal.getitimer(timer)[0] for timer in _TIMERS]


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _undo(before: _State) -> list[str]:
    """Undo what this process could not go on with; in words, what it was."""
    found = []
    for module_name, (module, names) in before.library.items():
        now = vars(module)
        if _is_same(now, names):
            continue
        for name, value in names.items():
            if now.get(name) is value or name.startswith("_") or not callable(value) or callable(now.get(name)):
                continue
            gone = f"removes {name} from {'the builtins' if module is builtins else module_name}"
            found.append(gone if name not in now else f"sets {module_name}.{name} to {now[name]!r:.50}")
            now[name] = value
    for timer, was in zip(_TIMERS, before.timers, strict=True):
        if not was and (left := signal.getitimer(timer)[0]):
            signal.setitimer(timer, 0.0)
            found.append(f"sets a timer, as signal.alarm does, whose signal would end this process in {left:.0f} s")
    return found


def _is_same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether two modules' names mean the same; quickly, for most are as they were."""
    try:
        return now == before
    except Exception:  # a value that cannot be compared has come
        return False


def _damage(before: _State) -> list[str]:
    """What has been changed for everybody in this process, in words."""
    _, names = before.library["builtins"]
    replaced = vars(builtins)
    found = [f"replaces the builtin {name!r}" for name, value in names.items() if replaced.get(name) is not value]
    gone = sorted(before.library.keys() - sys.modules.keys())
    if gone:
        found.append(f"removes {', '.join(gone)} from sys.modules")
    folder = _folder()
    if folder != before.folder:
        found.append(f"changes the current folder to {folder or 'one that is not there'}")
    return found
