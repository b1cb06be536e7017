"""What a job's node says of its program, checked offline, and with its names put in."""

from __future__ import annotations

import difflib
import errno
import functools
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.plugin import (
    AINode,
    AISubGraph,
    BaseJobConfig,
    CodeError,
    ExecutionMode,
    JobContext,
    Problem,
    ProjectDesc,
)
from aiflow_ext.plugin.authoring import InputRef, OutputFile
from aiflow_ext.plugin.engines import edges, placeholders, read_whole, text_at, text_of
from aiflow_ext_flink.authoring import PROGRAMS
from aiflow_ext_flink.config import FlinkKeys

_FILE = re.compile("^file:(//)?(?=/)")
_ADAPTS = (("jobmanager.scheduler", "adaptive"), ("scheduler-mode", "reactive"))  # a job to the slots that there are
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_MANIFEST, _LARGEST_MANIFEST = "META-INF/MANIFEST.MF", 1 << 20  # bytes of it that are read
_LONGEST = 1000  # characters of a class's name


class Filled(NamedTuple):
    """A program's words with all names put in.

    Attributes:
        args: the arguments of a jar or a script.
        sql: the SQL; None for another kind.
    """

    args: list[str]
    sql: str | None


class Program(NamedTuple):
    """One program of a job.

    Attributes:
        kind: ``jar``, ``python`` or ``sql``.
        file: the jar, script or SQL file: an absolute path of the client's machine, or a URL; None for SQL that is
            text.
        relative: the file's path in the project; None for one outside of it.
        entry_class: as in ``af.flink``.
        args: the arguments, with placeholders.
        sql: the text of SQL, with placeholders; None for another kind, and for a file at a URL.
        py_files: further files of a script: absolute paths, or URLs.
        node: the node that says so.
    """

    kind: str
    file: str | None
    relative: str | None
    entry_class: str | None
    args: list[str]
    sql: str | None
    py_files: list[str]
    node: AINode

    @property
    def where(self) -> str | None:
        """``file:line`` of its ``af.flink``."""
        return self.node.where

    @property
    def names(self) -> Mapping[str, Any]:
        """By keyword: an InputRef, an OutputFile or a plain value."""
        names: Mapping[str, Any] = self.node.properties.get("names", {})
        return names

    @property
    def outputs(self) -> dict[str, OutputFile]:
        """The folders that it writes, by keyword."""
        return {keyword: value for keyword, value in self.names.items() if isinstance(value, OutputFile)}

    def inputs(self, sub_graph: AISubGraph, context: JobContext) -> dict[str, str]:
        """The URL of each artifact that it reads, by keyword; ``${upstream}`` while that is not known yet."""
        given = edges.inputs_of(sub_graph, context)[str(self.node.instance_id)]
        return {keyword: str(given[value.index].url) for keyword, value in self.names.items()
                if isinstance(value, InputRef)}  # fmt: skip

    def output_urls(self, context: JobContext) -> dict[str, str]:
        """Where the artifact of each output is to be kept, by keyword."""
        return {keyword: edges.output_url(self.node, context, keyword) for keyword in self.outputs}

    def filled(self, paths: Mapping[str, str], properties: Mapping[str, Any]) -> Filled:
        """The arguments and the SQL with names and properties put in.

        Args:
            paths: by keyword, the path or URL of each input and output, as the program shall see it.
            properties: the job's.

        Raises CodeError for a property that the job lacks.
        """
        plain = {name: text_of(value) for name, value in self.names.items()
                 if not isinstance(value, (InputRef, OutputFile))}  # fmt: skip
        problems: list[Problem] = []
        values = {**plain, **paths}
        wanted = placeholders(tuple(values))

        def fill(text: str, written: Callable[[str], str]) -> str:
            return wanted.sub(
                lambda match: written(text_at(match, self.node, values, properties, problems, "program") or ""), text
            )

        args = [fill(word, str) for word in self.args]
        sql = None if self.sql is None else fill(self.sql, lambda text: text.replace("'", "''"))
        if problems:
            raise CodeError(problems=problems)
        return Filled(args, sql)


# By kind of program, the class that Flink runs, and the jar of its folder ``opt`` that has it; a jar has its own class.
MAINS = {
    "python": "org.apache.flink.client.python.PythonDriver",
    "sql": "org.apache.flink.table.runtime.application.SqlDriver",
}
DRIVERS = {"python": "flink-python", "sql": "flink-sql-gateway"}


def python_words(python: str, script: str, py_files: Sequence[str], args: Sequence[str]) -> list[str]:
    """The arguments of Flink's class for a script.

    Args:
        python: the interpreter.
        script: where it is.
        py_files: where its further files are.
        args: the script's arguments.
    """
    files = ["-pyfs", ",".join(py_files)] if py_files else []
    return ["-pyclientexec", python, "-pyexec", python, *files, "-py", script, *args]


def is_url(path: str) -> bool:
    """Whether a path is a URL, which the cluster reads."""
    return _URL.match(path) is not None


def path_of(said: str) -> str:
    """A path, also where it is said as a URL: ``file:/x``, ``file:///x``; any other URL as it is."""
    return _FILE.sub("", said)


def program_of(sub_graph: AISubGraph, project: ProjectDesc) -> Program:
    """The program of a job, checked as far as this machine knows. Offline and repeatable.

    Raises CodeError with every mistake: several programs in a job, a file that is not there, a jar without the class, a
    keyword that nothing uses, a property that the job lacks, a key for STREAM jobs in a BATCH one.
    """
    nodes = list(sub_graph.nodes)
    problems = [
        Problem(
            f"node {node.name!r} of kind {node.kind!r} is in job {sub_graph.name!r}, whose engine is flink",
            node.where,
            "make it an af.flink(...), or give the job another engine in workflow.yaml",
        )
        for node in nodes
        if node.kind != "flink"
    ]
    if not nodes:
        hint = "put an af.flink(...) under its af.job"
        problems.append(Problem(f"job {sub_graph.name!r} has nothing to run", hint=hint))
    elif len(nodes) > 1 and not problems:
        problems.append(
            Problem(
                f"job {sub_graph.name!r} has {len(nodes)} programs; a flink job runs one",
                nodes[1].where,
                "put each under an af.job of its own",
            )
        )
    if problems:
        raise CodeError(problems=problems)
    found, problems = _read(nodes[0], Path(project.root))
    problems += [*_unused(found), *_for_streams(sub_graph, found)]
    try:
        found.filled({name: "x" for name, value in found.names.items() if isinstance(value, (InputRef, OutputFile))},
                     sub_graph.config.properties)  # fmt: skip
    except CodeError as error:
        problems += error.problems
    if problems:
        raise CodeError(problems=problems)
    return found


def _for_streams(sub_graph: AISubGraph, program: Program) -> Iterator[Problem]:
    """Keys of a BATCH job for what Flink has for streams alone: it would refuse the one, and forget the other."""
    config, hint = sub_graph.config, "say exec_mode: STREAM, also of a program whose input ends; or take the key out"
    if not isinstance(config, FlinkKeys) or config.exec_mode is ExecutionMode.STREAM:
        return
    if config.on_stop not in (None, "cancel"):
        words = f"on_stop: {config.on_stop}, and exec_mode BATCH: Flink takes no savepoint of a batch job"
        yield Problem(f"job {sub_graph.name!r} has {words}", program.where, hint)
    if config.restore_from is not None:
        words = "restore_from, and exec_mode BATCH: a batch job begins without state"
        yield Problem(f"job {sub_graph.name!r} has {words}", program.where, hint)


def slot_problems(name: str, config: BaseJobConfig, program: Program) -> Iterator[Problem]:
    """More tasks of an operator than slots: a STREAM job would wait for ever. A BATCH job runs one after another.

    Args:
        name: the job's.
        config: its config, with FlinkKeys, for a cluster with as many TaskManagers as that says.
        program: what it runs.
    """
    assert isinstance(config, FlinkKeys)
    if config.session is not None or config.exec_mode is not ExecutionMode.STREAM:
        return
    workers, wanted = config.taskmanagers, config.parallelism or 1
    slots = workers.count * workers.slots
    adapts = any(str(config.flink.get(key)).lower() == value for key, value in _ADAPTS)
    if wanted > slots and not adapts:
        yield Problem(
            f"job {name!r} has parallelism: {wanted}, and its TaskManagers have {slots} slots: a STREAM job needs them "
            "all at once",
            program.where,
            f"taskmanagers: {{count: {-(-wanted // workers.slots)}, slots: {workers.slots}}}, or less parallelism",
        )


def _read(node: AINode, root: Path) -> tuple[Program, list[Problem]]:
    said, problems = node.properties, list[Problem]()
    kind = next((each for each in PROGRAMS if said.get(each)), "")
    if not kind:
        hint = 'make it with af.flink(jar="job.jar")'
        raise CodeError(f"node {node.name!r} in job {node.job!r} has no program", where=node.where, hint=hint)
    file: str | None = str(said[kind])
    sql: str | None = None
    if kind == "sql" and (not str(file).endswith(".sql") or "\n" in str(file)):
        file, sql = None, str(said[kind])
    if file is not None:
        file = _placed(file, root)
        problems += _missing(f"the {kind} file" if kind == "sql" else f"the {kind}" if kind == "jar" else "the script",
                             str(said[kind]), file, node, root)  # fmt: skip
        if not problems and not is_url(file):
            if kind == "sql":
                sql = _text(file, node)
            elif kind == "jar":
                problems += _class_problems(file, said.get("entry_class"), node)
    py_files = [_placed(str(each), root) for each in said.get("py_files") or ()]
    for each, path in zip(said.get("py_files") or (), py_files, strict=True):
        problems += _missing("a file of py_files", str(each), path, node, root)
    relative = None
    if file is not None and not is_url(file) and Path(file).is_relative_to(root):
        relative = Path(file).relative_to(root).as_posix()
    args = [str(word) for word in said.get("args") or ()]
    return Program(kind, file, relative, said.get("entry_class"), args, sql, py_files, node), problems


def _placed(path: str, root: Path) -> str:
    return path if is_url(path) else os.path.normpath(root / os.path.expanduser(path))


def _missing(what: str, said: str, path: str, node: AINode, root: Path) -> Iterator[Problem]:
    if is_url(path) or os.path.exists(path):
        return
    yield Problem(
        f"{what} of node {node.name!r} in job {node.job!r} is not there: {said}",
        node.where,
        f"it is looked for in {root}" if not os.path.isabs(said) else None,
    )


def _text(file: str, node: AINode) -> str:
    try:
        return read_whole(file).decode()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CodeError(f"{file} of node {node.name!r} cannot be read: {words}", where=node.where) from error


def _unused(program: Program) -> Iterator[Problem]:
    """Keywords that neither the arguments nor the SQL use."""
    if program.kind == "sql" and program.sql is None:
        return
    texts = [*program.args, program.sql or ""]
    for keyword in program.names:
        if not any(f"{{{keyword}}}" in text for text in texts):
            yield Problem(
                f"the program of node {program.node.name!r} in job {program.node.job!r} does not use its keyword "
                f"{keyword!r}",
                program.where,
                f"write {{{keyword}}} where it belongs, or take the keyword away",
            )


def _class_problems(jar: str, entry_class: str | None, node: AINode) -> Iterator[Problem]:
    """What is wrong with a jar: it is none, or it lacks the class that is to be run."""
    title = f"the jar {os.path.basename(jar)} of node {node.name!r} in job {node.job!r}"
    try:
        status = os.stat(jar)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        classes, manifest = _jar(jar, status.st_size, status.st_mtime_ns)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or error
        yield Problem(f"{title} cannot be read: {words}", node.where, "build it again")
        return
    wanted = entry_class or manifest
    if wanted is None:
        hint = 'say which class to run: entry_class="com.acme.Main"'
        yield Problem(f"{title} names no Main-Class in its manifest", node.where, hint)
    elif wanted not in classes:
        last = wanted.rpartition(".")[2]
        near = [each for each in classes if each.rpartition(".")[2] == last][:3] or difflib.get_close_matches(
            wanted, [each for each in classes if "$" not in each], 3
        )
        whose = "" if entry_class else ", which its manifest names"
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"its classes: {', '.join(classes[:5])}"
        yield Problem(f"{title} has no class {wanted!r}{whose}", node.where, hint)


@functools.lru_cache(64)
def _jar(path: str, size: int, mtime_ns: int) -> tuple[list[str], str | None]:
    """The classes of a jar by their full names, and the one that its manifest names as the program."""
    manifest = b""
    with zipfile.ZipFile(path) as jar:
        names = jar.namelist()
        if _MANIFEST in names:
            with jar.open(_MANIFEST) as packed:
                manifest = packed.read(_LARGEST_MANIFEST)  # it may unpack to any size
    # Lines are folded at 72 bytes; a continuation begins with a space.
    text = manifest.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n ", "")
    said = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line)
    named = said.get("program-class") or said.get("Main-Class")
    return [name[:-6].replace("/", ".") for name in names if name.endswith(".class")], named.strip()[
        :_LONGEST
    ] if named else None
