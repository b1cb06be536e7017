"""What the container of a Flink job checks on its node before anything begins, which only a node can tell.

What is missing there is the config's mistake: it exits with 127, as a shell does for a command that is not there, with
a sentence at the end of its stderr, which YARN gives as the reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from aiflow_ext_yarn.flink_job import YarnFlinkJob

_MISSING = 127
# Imports PyFlink, whose version must fit Flink's: $1 is that.
_PYFLINK = """\
import sys
cure = f"pip install apache-flink=={sys.argv[1]} there, or give the path of another Python of the nodes: python:"
try:
    from pyflink.version import __version__ as version
except Exception as error:
    sys.exit(f"the Python {sys.executable} of this node has no PyFlink ({error}): {cure}")
if version.partition(".")[0] != sys.argv[1].partition(".")[0]:
    words = f"has PyFlink {version}, and the job runs with Flink {sys.argv[1]}"
    sys.exit(f"the Python {sys.executable} of this node {words}: {cure}")
"""


def script(job: YarnFlinkJob) -> Iterator[str]:
    """Lines that end the container where its node lacks Java or, for a script, a Python with PyFlink."""
    words = "no Java is on this node at JAVA_HOME, ${JAVA_HOME:-which is not set}: give java_home, that of the nodes"
    yield f'[ -x "$JAVA_HOME/bin/java" ] || {_end(words)}'
    if job.program.kind != "python":
        return
    python = shlex.quote(job.python())
    words = f"no Python is on this node at {job.python()}: give the path of one with PyFlink: python:"
    yield f"command -v {python} > /dev/null || {_end(words)}"
    if not job.program.py_files:  # which may have PyFlink
        yield f"{python} -c {shlex.quote(_PYFLINK)} {job.libraries.version} || exit {_MISSING}"


def without_hadoop() -> str:
    """What ends the container where Hadoop's shell has failed because it is not there."""
    words = "Hadoop is not on this node where hadoop_classpath names it"
    return f"hadoop -help > /dev/null 2>&1 || {_end(words)}"


def _end(words: str) -> str:
    return f'{{ echo "{words}" >&2; exit {_MISSING}; }}'
