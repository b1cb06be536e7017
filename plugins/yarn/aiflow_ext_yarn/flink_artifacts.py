"""The artifacts of a Flink job on YARN: how Flink's processes get them, and how they become those of other jobs.

The container of the application master does what that of a command does: aiflow-ext's runner brings the inputs, runs
Flink as its command, and keeps the outputs once that has ended well. Flink's TaskManagers are in other containers, so
that in between all of it is in the attempt's staging folder, where every process reaches it.

Flink tells YARN of its end before its process ends, and YARN does not wait for that. So the container records its own
end in the staging folder, in a file and a form that the application master of other engines has, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from aiflow_ext.plugin.authoring import OutputFile
from aiflow_ext.plugin.engines import UNFINISHED
from aiflow_ext_flink.artifacts import names_of
from aiflow_ext_yarn import master, request
from aiflow_ext_yarn.flink_job import RUN, YarnFlinkJob
from aiflow_ext_yarn.layout import BUNDLE, CA, MASTER, PAYLOAD, REASON, WORK
from aiflow_ext_yarn.request import Staged

BESIDE = 64  # MiB for the runner, which waits while the JobManager runs
TRIES = 10  # to record the end, three seconds between two of them
# How the container's end is recorded: $1 is the runner's exit code. The form is that of master.outcome.
_END = f"""\
import json, os, sys
code, reason = int(sys.argv[1]), None
try:
    with os.fdopen(os.open({REASON!r}, os.O_RDONLY | os.O_NONBLOCK), errors="replace") as file:
        reason = file.read(2000).strip() or None
except OSError:
    pass
if reason == {UNFINISHED!r}:
    code, reason = code or 1, None if code else reason
print(json.dumps(dict(kind="exit", exit_code=code, signal=None, stopped=False, reason=reason, left=[])))
"""
# Prints a secret that YARN has given the container: $1 is the application master of other jobs, which reads such files.
_READ = """\
import os, sys
sys.path.insert(0, sys.argv[1])
from aiflow_ext_yarn.master.credentials import Credentials
with open(os.environ["HADOOP_TOKEN_FILE_LOCATION"], "rb") as file:
    print(Credentials(file.read()).secrets[sys.argv[2]].decode())
"""


def files(job: YarnFlinkJob, native_id: str) -> Iterator[Staged]:
    """The files of a job that only its artifacts need."""
    own = job.folder(native_id)
    yield request.project_file(job)
    yield Staged(PAYLOAD, f"{own}/{PAYLOAD}", source=job.payload(), shown="what the runner is given")
    yield Staged(RUN, f"{own}/{RUN}", source=command(job, native_id).encode(), shown="the runner's command")
    if job.cluster.kerberos:
        yield request.master_file(job)
    if job.cluster.ca is not None:
        with open(job.cluster.ca, "rb") as file:
            yield Staged(CA, f"{own}/{CA}", source=file.read(), shown="the authorities to trust")


def script(job: YarnFlinkJob, native_id: str) -> list[str]:
    """Lines of the container's script: run the runner, and record how it has ended."""
    python, ended = shlex.quote(job.python()), f"{job.cluster.uri(job.folder(native_id))}/{master.ENDED}"
    variables = {"AIFLOW_PROJECT_FOLDER": f"$PWD/{BUNDLE}/project", "AIFLOW_REASON_FILE": f"$PWD/{REASON}",
                 "AIFLOW_WORK_FOLDER": f"$PWD/{WORK}"}  # fmt: skip
    lines = [f'export {name}="{value}"' for name, value in variables.items()]
    for name, value in request.fsspec_variables(job).items():
        if isinstance(value, str):
            lines.append(f"export {name}={shlex.quote(value)}")
        elif "path" in value:
            lines.append(f'export {name}="$PWD/{value["path"]}"')
        else:
            lines += [f"{name}=$({python} -c {shlex.quote(_READ)} {MASTER} {value['secret']}) || exit 1",
                      f"export {name}"]  # fmt: skip
    return [
        *lines,
        f"mkdir -p {WORK}",
        f"{python} {BUNDLE}/runtime/run_job.py {PAYLOAD}",
        "code=$?",
        f'{python} -c {shlex.quote(_END)} "$code" > {master.ENDED} &&',
        f"    for number in $(seq {TRIES}); do",
        f"        hadoop -put -f {master.ENDED} {shlex.quote(ended)} && break",
        "        sleep 3",
        "    done",
        'exit "$code"',
    ]


def command(job: YarnFlinkJob, native_id: str) -> str:
    """The runner's command, a script: its arguments are the paths of the artifacts on this node."""
    before, after = [], []
    for number, (keyword, value) in enumerate(names_of(job.program).items(), 1):
        here, there = f'"${{{number}}}"', shlex.quote(job.cluster.uri(job.exchanged(keyword, native_id)))
        if isinstance(value, OutputFile):  # where the program wrote none, the runner says so
            after.append(f"hadoop -get {there} {here} || ! hadoop -test -e {there} || exit 1")
        else:
            before.append(f"hadoop -put {here} {there} || exit 1")
    return "\n".join([*before, "jobmanager || exit", *after, ""])
