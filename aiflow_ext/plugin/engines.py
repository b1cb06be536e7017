"""What every platform needs to run python and cmd_line jobs, and an engine of one's own to pass artifacts.

CmdLineEngine, PythonEngine    the two engines, for a job plugin's ``engine()``
build_bundle, Bundle           a job's code, checked offline: its archive, payload or command
ProjectArchive, unpack         the project as an archive or a folder, content-addressed
plan_command, one_command      a command with its placeholders replaced; several commands as one
placeholders, text_at, text_of
                               the same for texts of another engine: where they are, and what is put in
job_environment                the ``AIFLOW_*`` variables of an attempt
attempt_mark                   the value of AIFLOW_MARK, which all processes of an attempt carry
checkpoint_url                 a folder that all attempts of a job share, beside the run's artifacts
is_reached, is_remote          whether a job on another machine reaches a URL, or a shared folder
artifact_problems              the data edges of a job whose artifacts it cannot reach
SentOnce                       sends once a run what all its jobs share
retry, poll, Backoff           retries while a service does not answer; a polling loop: with growing pauses
result_within                  a deadline for a call that has none of its own
Deadline, within, pool_classes
                               a deadline for a whole answer to a request by urllib3; TooSlow: it was not complete then
parse_json, json_kind          JSON of a bounded size, of LARGEST_ANSWER bytes at most; a value of it in a few words
MalformedJson, TooLargeJson    what parse_json raises
read_whole                     a small file, read without waiting where it is a FIFO or has no end
CHECK_LIMIT                    seconds that one such check may take
is_ready_here, ready_command   the check that a config's ``ready`` names, on this machine; its argument vector
find_program                   a program by its name, never one of the current folder
read_log_file, check_stream    a kept log, read before the platform is asked; STREAMS are stdout and stderr
container_log                  the file in the attempt's folder for the log of another container than the job's
log_limit, LOG_TAIL, cut_note  how much of a log is kept: of its beginning, of its end, and the line in between
exit_script                    a shell script that records an exit code
UNFINISHED                     in AIFLOW_REASON_FILE while the runner works
RAN_WITH                       the file in the attempt's folder for what the runner writes to AIFLOW_RAN_WITH_FILE
AWAY, AWAY_CODE                how its text there begins, and its exit code, where the artifacts' file system was away
OUT_OF_MEMORY                  how the reason begins where a job was ended for the memory that it used
ARTIFACT_HOSTS                 the variable that names the addresses of the artifacts' file system, if it has several
INSECURE_NODES                 the variable that names hosts to which that file system may lead without TLS
artifacts, edges               modules: read and write artifacts; where a node's inputs and outputs are
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.bounded_call import result_within as result_within
    from aiflow_ext.engines import CmdLineEngine as CmdLineEngine
    from aiflow_ext.engines import PythonEngine as PythonEngine
    from aiflow_ext.engines import artifacts as artifacts
    from aiflow_ext.engines import edges as edges
    from aiflow_ext.engines.archive import ProjectArchive as ProjectArchive
    from aiflow_ext.engines.bundle import Bundle as Bundle
    from aiflow_ext.engines.bundle import build_bundle as build_bundle
    from aiflow_ext.engines.bundle import unpack as unpack
    from aiflow_ext.engines.command import one_command as one_command
    from aiflow_ext.engines.command import placeholders as placeholders
    from aiflow_ext.engines.command import plan_command as plan_command
    from aiflow_ext.engines.command import text_at as text_at
    from aiflow_ext.engines.command import text_of as text_of
    from aiflow_ext.engines.environment import attempt_mark as attempt_mark
    from aiflow_ext.engines.environment import checkpoint_url as checkpoint_url
    from aiflow_ext.engines.environment import job_environment as job_environment
    from aiflow_ext.engines.exit_script import exit_script as exit_script
    from aiflow_ext.engines.http_deadline import Deadline as Deadline
    from aiflow_ext.engines.http_deadline import TooSlow as TooSlow
    from aiflow_ext.engines.http_deadline import pool_classes as pool_classes
    from aiflow_ext.engines.http_deadline import within as within
    from aiflow_ext.engines.json_answers import LARGEST_ANSWER as LARGEST_ANSWER
    from aiflow_ext.engines.json_answers import MalformedJson as MalformedJson
    from aiflow_ext.engines.json_answers import TooLargeJson as TooLargeJson
    from aiflow_ext.engines.json_answers import json_kind as json_kind
    from aiflow_ext.engines.json_answers import parse_json as parse_json
    from aiflow_ext.engines.log_files import LOG_TAIL as LOG_TAIL
    from aiflow_ext.engines.log_files import STREAMS as STREAMS
    from aiflow_ext.engines.log_files import check_stream as check_stream
    from aiflow_ext.engines.log_files import container_log as container_log
    from aiflow_ext.engines.log_files import cut_note as cut_note
    from aiflow_ext.engines.log_files import log_limit as log_limit
    from aiflow_ext.engines.log_files import read_log_file as read_log_file
    from aiflow_ext.engines.programs import find_program as find_program
    from aiflow_ext.engines.reach import artifact_problems as artifact_problems
    from aiflow_ext.engines.reach import is_reached as is_reached
    from aiflow_ext.engines.reach import is_remote as is_remote
    from aiflow_ext.engines.readiness import CHECK_LIMIT as CHECK_LIMIT
    from aiflow_ext.engines.readiness import is_ready_here as is_ready_here
    from aiflow_ext.engines.readiness import ready_command as ready_command
    from aiflow_ext.engines.remote_service import ARTIFACT_HOSTS as ARTIFACT_HOSTS
    from aiflow_ext.engines.remote_service import INSECURE_NODES as INSECURE_NODES
    from aiflow_ext.engines.sent_once import SentOnce as SentOnce
    from aiflow_ext.engines.waiting import Backoff as Backoff
    from aiflow_ext.engines.waiting import poll as poll
    from aiflow_ext.engines.waiting import retry as retry
    from aiflow_ext.model.current import AWAY as AWAY
    from aiflow_ext.model.current import AWAY_CODE as AWAY_CODE
    from aiflow_ext.model.current import OUT_OF_MEMORY as OUT_OF_MEMORY
    from aiflow_ext.model.current import UNFINISHED as UNFINISHED
    from aiflow_ext.model.ran_with import RAN_WITH as RAN_WITH
    from aiflow_ext.regular_file import read_whole as read_whole

_HOMES = {
    "aiflow_ext.bounded_call": ("result_within",),
    "aiflow_ext.engines": ("CmdLineEngine", "PythonEngine", "artifacts", "edges"),
    "aiflow_ext.engines.archive": ("ProjectArchive",),
    "aiflow_ext.engines.bundle": ("Bundle", "build_bundle", "unpack"),
    "aiflow_ext.engines.command": ("one_command", "placeholders", "plan_command", "text_at", "text_of"),
    "aiflow_ext.engines.environment": ("attempt_mark", "checkpoint_url", "job_environment"),
    "aiflow_ext.engines.exit_script": ("exit_script",),
    "aiflow_ext.engines.http_deadline": ("Deadline", "TooSlow", "pool_classes", "within"),
    "aiflow_ext.engines.json_answers": ("LARGEST_ANSWER", "MalformedJson", "TooLargeJson", "json_kind", "parse_json"),
    "aiflow_ext.engines.log_files": (
        "LOG_TAIL", "STREAMS", "check_stream", "container_log", "cut_note", "log_limit", "read_log_file",
    ),
    "aiflow_ext.engines.programs": ("find_program",),
    "aiflow_ext.engines.reach": ("artifact_problems", "is_reached", "is_remote"),
    "aiflow_ext.engines.readiness": ("CHECK_LIMIT", "is_ready_here", "ready_command"),
    "aiflow_ext.engines.remote_service": ("ARTIFACT_HOSTS", "INSECURE_NODES"),
    "aiflow_ext.engines.sent_once": ("SentOnce",),
    "aiflow_ext.engines.waiting": ("Backoff", "poll", "retry"),
    "aiflow_ext.model.current": ("AWAY", "AWAY_CODE", "OUT_OF_MEMORY", "UNFINISHED"),
    "aiflow_ext.model.ran_with": ("RAN_WITH",),
    "aiflow_ext.regular_file": ("read_whole",),
}  # fmt: skip

if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake
    from aiflow_ext._lazy import lazily

    __all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
