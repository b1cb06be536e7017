"""The jobs that the tests run: as lines of a workflow, for the engines python and cmd_line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aiflow_ext.testing.marks import Marks

# Not text in any encoding, all kinds of line ends, a line longer than a buffer, and a last one without a line end.
ODD = b"\xff\xfe caf\xc3\xa9 \xc3\r\ncarriage\rreturn\ttab \x00 \x1b[1m\n\n"
LONG_LINE = 100_000
ODD_OUT = ODD + b"x" * LONG_LINE + b"\nlast"
ODD_ERR = b"error, last"


@dataclass(frozen=True)
class Work:
    """A job for the tests.

    Args:
        body: the lines of workflow.py below its ``with af.job(...)``.
        config: keys of its job config; none by default.
        files: the project's files that it needs, text by path; none by default.
    """

    body: str
    config: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def under(self, **config: Any) -> Work:
        """The same job with further keys in its config."""
        return replace(self, config={**self.config, **config})


class Works:
    """The jobs that the tests need. Each docstring says what the job must do; it leaves marks through :class:`Marks`.

    If a subclass does not have a job, its tests are left out, and the summary says so.
    """

    def __init__(self, marks: Marks) -> None:
        self.marks = marks

    def prints_and_exits(self, text: str, code: int, kind: str = "") -> Work:
        """Leaves ``start<kind>``, prints ``text`` in a line, leaves ``end<kind>``, exits with ``code``."""
        self._leave_out("prints_and_exits")

    def kills_itself(self, number: int) -> Work:
        """Leaves ``start`` and sends itself a signal."""
        self._leave_out("kills_itself")

    def sleeps(self, seconds: float) -> Work:
        """Leaves ``start``, sleeps, leaves ``end``."""
        self._leave_out("sleeps")

    def streams(self) -> Work:
        """Leaves ``start`` and runs until it is stopped: a job of exec mode STREAM."""
        return self.sleeps(600.0)

    def ignores_sigterm(self, seconds: float) -> Work:
        """Ignores SIGTERM, leaves ``start`` with its /proc/PID/stat in it, sleeps."""
        self._leave_out("ignores_sigterm")

    def ends_on_sigterm(self, seconds: float) -> Work:
        """Leaves ``start``, sleeps; SIGTERM makes it leave ``asked`` and end."""
        self._leave_out("ends_on_sigterm")

    def forks(self, seconds: float) -> Work:
        """Starts a process in a session of its own, which leaves ``child`` with its /proc/PID/stat in it and sleeps;
        leaves ``start`` and sleeps."""
        self._leave_out("forks")

    def counts(self, lines: int) -> Work:
        """Prints ``line 1`` to ``line N``, and ``error 1`` to ``error N`` on stderr; in the middle it leaves ``half``
        and waits for ``go``."""
        self._leave_out("counts")

    def prints_oddly(self) -> Work:
        """Prints ``ODD_OUT`` on stdout and ``ODD_ERR`` on stderr, and leaves ``end``."""
        self._leave_out("prints_oddly")

    def keeps_a_file(self, text: str) -> Work:
        """Writes ``text`` into ``kit.txt`` of the folder it is in, leaves ``kept``, waits for ``go`` and leaves
        ``told<text>`` with what is in that file then."""
        self._leave_out("keeps_a_file")

    def tells_arguments(self, arguments: Sequence[str]) -> Work:
        """Leaves ``told`` with the arguments that it was given, a NUL after each."""
        self._leave_out("tells_arguments")

    def tells_variables(self, names: Sequence[str]) -> Work:
        """Leaves ``told`` with the values of these variables of its environment, a NUL after each."""
        self._leave_out("tells_variables")

    def fails_telling(self, names: Sequence[str]) -> Work:
        """Leaves ``told`` with the values of these variables (``(unset)`` for one that is not there), the folder that
        AIFLOW_WORK_FOLDER leads to, the folder that it is in (both without symbolic links), and ``new``, or ``old``
        where a file ``kit.left`` is in it, a NUL after each; makes that file, and exits with 1."""
        self._leave_out("fails_telling")

    def tells_properties(self, names: Sequence[str]) -> Work:
        """Leaves ``told`` with these properties of its job config, a NUL after each."""
        self._leave_out("tells_properties")

    def tells_itself(self) -> Work:
        """Leaves ``cmdline`` and ``environ`` from its /proc/PID, and ``cwd``."""
        self._leave_out("tells_itself")

    def makes(self, size: int, kind: str) -> Work:
        """Makes an artifact of random bytes in the variable ``artifact<kind>``; leaves ``made<kind>`` with its sha256
        in hexadecimal digits."""
        self._leave_out("makes")

    def reads(self, kind: str) -> Work:
        """Reads the artifact of another job; leaves ``read<kind>`` with the sha256 that it finds."""
        self._leave_out("reads")

    def _leave_out(self, name: str) -> NoReturn:
        pytest.skip(f"left out: {type(self).__name__} has no job that {name.replace('_', ' ')}")


class CommandWorks(Works):
    """The jobs of the engine cmd_line: they need /bin/sh, and coreutils (or busybox)."""

    def prints_and_exits(self, text: str, code: int, kind: str = "") -> Work:
        return self._script(
            self.marks.shell(f"start{kind}"), f"echo {shlex.quote(text)}", self.marks.shell(f"end{kind}"),
            f"exit {code}",
        )  # fmt: skip

    def kills_itself(self, number: int) -> Work:
        return self._script(self.marks.shell("start"), f"kill -{number} $$", "sleep 600")

    def sleeps(self, seconds: float) -> Work:
        # &&: a sleep that is ended lets the shell go on to what comes next.
        return self._script(self.marks.shell("start"), f"sleep {seconds:g} && {self.marks.shell('end')}")

    def ignores_sigterm(self, seconds: float) -> Work:
        return self._script("trap '' TERM", self.marks.shell("start", "cat /proc/$$/stat"), f"sleep {seconds:g}")

    def ends_on_sigterm(self, seconds: float) -> Work:
        trap = f"trap {shlex.quote(self.marks.shell('asked') + '; exit 0')} TERM"
        return self._script(trap, self.marks.shell("start"), f"sleep {seconds:g} & wait $!")

    def forks(self, seconds: float) -> Work:
        child = f"{self.marks.shell('child', 'cat /proc/$$/stat')}; sleep {seconds:g}"
        return self._script(f"setsid sh -c {shlex.quote(child)} &", self.marks.shell("start"), f"sleep {seconds:g}")

    def counts(self, lines: int) -> Work:
        loop = 'while [ $i -lt {} ]; do i=$((i+1)); echo "line $i"; echo "error $i" >&2; done'
        return self._script(
            "i=0", loop.format(lines // 2), self.marks.shell("half"), self.marks.shell_wait("go"), loop.format(lines)
        )

    def prints_oddly(self) -> Work:
        odd = "".join(f"\\{byte:03o}" for byte in ODD)
        return self._script(
            f"printf '{odd}'; head -c {LONG_LINE} /dev/zero | tr '\\0' x; printf '\\nlast'",
            "printf 'error, last' >&2", self.marks.shell("end"),
        )  # fmt: skip

    def keeps_a_file(self, text: str) -> Work:
        return self._script(
            f"printf %s {shlex.quote(text)} > kit.txt", self.marks.shell("kept"), self.marks.shell_wait("go"),
            self.marks.shell(f"told{text}", "cat kit.txt"),
        )  # fmt: skip

    def tells_arguments(self, arguments: Sequence[str]) -> Work:
        script = self.marks.shell("told", 'printf "%s\\0" "$@"')
        return Work(f"af.cmd({['/bin/sh', '-c', script, 'sh', *arguments]!r})")

    def tells_variables(self, names: Sequence[str]) -> Work:
        values = " ".join(f'"${{{name}-(unset)}}"' for name in names)
        return self._script(self.marks.shell("told", f'printf "%s\\0" {values}'))

    def fails_telling(self, names: Sequence[str]) -> Work:
        values = " ".join(f'"${{{name}-(unset)}}"' for name in names)
        tells = f'printf "%s\\0" {values} "$there" "$here" "$left"'
        return self._script(
            'here=$(pwd -P); there=$(cd "$AIFLOW_WORK_FOLDER" && pwd -P); left=new; [ ! -e kit.left ] || left=old',
            ": > kit.left", self.marks.shell("told", tells), "exit 1",
        )  # fmt: skip

    def tells_properties(self, names: Sequence[str]) -> Work:
        values = " ".join(f"{{properties.{name}}}" for name in names)
        return self._script(self.marks.shell("told", f'printf "%s\\0" {values}'))

    def tells_itself(self) -> Work:
        return self._script(
            self.marks.shell("cmdline", "cat /proc/$$/cmdline"),
            self.marks.shell("environ", "cat /proc/$$/environ"),
            self.marks.shell("cwd", 'printf "%s" "$PWD"'),
        )

    def makes(self, size: int, kind: str) -> Work:
        script = f"head -c {size} /dev/urandom > {{out}}\n" + self.marks.shell(f"made{kind}", "sha256sum < {out}")
        return Work(f"artifact{kind} = af.cmd({script!r}, out=af.output('blob.bin'))")

    def reads(self, kind: str) -> Work:
        return Work(f"af.cmd({self.marks.shell(f'read{kind}', 'sha256sum < {file}')!r}, file=artifact{kind})")

    def _script(self, *lines: str) -> Work:
        return Work(f"af.cmd({chr(10).join(lines)!r})")


class PythonWorks(Works):
    """The jobs of the engine python."""

    def prints_and_exits(self, text: str, code: int, kind: str = "") -> Work:
        return self._call("prints_and_exits", text, code, kind)

    def kills_itself(self, number: int) -> Work:
        return self._call("kills_itself", number)

    def sleeps(self, seconds: float) -> Work:
        return self._call("sleeps", seconds)

    def ignores_sigterm(self, seconds: float) -> Work:
        return self._call("ignores_sigterm", seconds)

    def ends_on_sigterm(self, seconds: float) -> Work:
        return self._call("ends_on_sigterm", seconds)

    def forks(self, seconds: float) -> Work:
        return self._call("forks", seconds)

    def counts(self, lines: int) -> Work:
        return self._call("counts", lines)

    def prints_oddly(self) -> Work:
        return self._call("prints_oddly", ODD_OUT, ODD_ERR)

    def keeps_a_file(self, text: str) -> Work:
        return self._call("keeps_a_file", text)

    def tells_arguments(self, arguments: Sequence[str]) -> Work:
        return self._call("tells_arguments", list(arguments))

    def tells_variables(self, names: Sequence[str]) -> Work:
        return self._call("tells_variables", list(names))

    def fails_telling(self, names: Sequence[str]) -> Work:
        return self._call("fails_telling", list(names))

    def tells_properties(self, names: Sequence[str]) -> Work:
        return self._call("tells_properties", list(names))

    def tells_itself(self) -> Work:
        return self._call("tells_itself")

    def makes(self, size: int, kind: str) -> Work:
        return self._call("makes", size, kind, result=f"artifact{kind} = ")

    def reads(self, kind: str) -> Work:
        return self._work(f"af.python(kit_steps.reads, artifact{kind}, {kind!r})")

    def _call(self, function: str, *arguments: object, result: str = "") -> Work:
        given = "".join(f", {argument!r}" for argument in arguments)
        return self._work(f"{result}af.python(kit_steps.{function}{given})")

    def _work(self, body: str) -> Work:
        steps = Path(__file__).with_name("job_steps.py").read_text(encoding="utf-8")
        return Work(body, files={"kit_steps.py": steps, "kit_marks.py": self.marks.python_module()})


DEFAULTS: Mapping[str, type[Works]] = {"cmd_line": CommandWorks, "python": PythonWorks}
