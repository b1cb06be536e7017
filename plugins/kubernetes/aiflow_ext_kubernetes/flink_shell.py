r"""The script of a Flink cluster's containers: the pod of index 0 is the JobManager, the others are TaskManagers.

The JobManager's exit code is 0 for a job that was cancelled, too, and only the termination message of its pod is left
of the cluster without a client. So the script reads Flink's archive once the JobManager has ended: the root cause, or
where the last savepoint is, becomes the message, and an application that was cancelled never has exit code 0.

A TaskManager that ends is started again by the cluster: LEFT is an exit code that does not end the Job. A JobManager
that is started again would run the job a second time from its beginning, so it ends at once, and the Job with it.

Where the job reads or writes artifacts, the script starts aiflow-ext's runner, whose command is Flink.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiflow_ext_kubernetes import manifest
from aiflow_ext_kubernetes.status import SAVED

CONFIG = "/aiflow/flink"  # where the ConfigMap is mounted: Flink's configuration, and the program
LEFT = 250  # exit code of a TaskManager
CANCELED = 125  # exit code of a JobManager whose job was cancelled through Flink
ALLOW = "allow_non_restored_state: true"  # in place of Flink's own words for it
_WAS_CANCELED = r'\\"status\\":\\"CANCELED\\"'  # in its archive
_ENDED = "flink-exit-code"  # file in the runner's work folder

# Before and after a runner that brings and keeps the artifacts, in the folder $work; $python is its python.
BEFORE_RUNNER = """\
if ! command -v "$python" >/dev/null; then
  echo "$python is not in the image, and brings and keeps the artifacts of a Flink job" |
    tee "$AIFLOW_REASON_FILE" >&2
  exit 127
fi
if ! { rm -rf "${work%/*}" && mkdir -p "$work"; }; then
  echo "no folder for artifacts can be made in the volume: $work" | tee "$AIFLOW_REASON_FILE" >&2
  exit 1
fi"""
AFTER_RUNNER = """\
rm -rf "${work%/*}"
rmdir "${work%/*/*}" 2>/dev/null"""

# $1: the cluster's folder in Flink's archive, made beforehand: Flink makes it for the job and for the application at
# once, and one of the two may fail; $2: patterns, one a line, of the state of earlier attempts, whose newest one is
# restored, or else $3, a path, if it is not empty; $4: the runner's work folder, in a folder of the job's alone, or
# empty: there is no runner; $5: a python for it; the rest: arguments of standalone-job.sh, unless the runner has them.
# AIFLOW_FLINK_FAILED and _DISRUPTED are annotations of the pod: how often one of its index has failed before. The
# archive is JSON in strings of JSON: a newline in a stack trace is \\n there, a quotation mark \" or \\\".
# SYNC_SAVEPOINT is the savepoint that ends a job.
SCRIPT = (
    r"""archive=$1
earlier=$2
restored=$3
work=$4
python=$5
shift 5
home=${FLINK_HOME:-/opt/flink}
export FLINK_HOME="$home" FLINK_CONF_DIR="${FLINK_CONF_DIR:-CONFIG}" FLINK_LOG_DIR="$PWD/log" FLINK_PID_DIR="$PWD"
if [ ! -x "$home/bin/standalone-job.sh" ]; then
  echo "no Flink in the image: $home/bin/standalone-job.sh is not there; take an image with Flink, or set FLINK_HOME" |
    tee "$AIFLOW_REASON_FILE" >&2
  exit 127
fi
# The cause of a stack trace that matters. The last one of a program that is not there says less than what it is of.
cause() {
  grep '^Caused by: ' | grep -v 'IOException: error=[0-9]*, ' | tail -n 1 |
    sed 's/^Caused by: //; s/^[a-z_][A-Za-z0-9_$.]*\.\([A-Z]\)/\1/' | cut -c -2000
}
mkdir -p "$FLINK_LOG_DIR" "$archive/applications"
trap : TERM
if [ "$JOB_COMPLETION_INDEX" != 0 ]; then
  "$home/bin/taskmanager.sh" start-foreground -Dtaskmanager.host="$POD_IP"
  exit LEFT
fi
if [ "${AIFLOW_FLINK_FAILED:-0}${AIFLOW_FLINK_DISRUPTED:-0}" != 00 ]; then
  echo 'its JobManager has ended before, and is not started again' >"$AIFLOW_REASON_FILE"
  exit 1
fi
if [ -n "$earlier" ]; then
  IFS='
'
  newest=$(ls -dt $earlier 2>/dev/null | head -n 1)
  unset IFS
  restored=${newest:-$restored}
fi
if [ -n "$restored" ]; then
  echo "aiflow-ext: restoring from ${restored%/_metadata}" >&2
  set -- -s "${restored%/_metadata}" "$@"
fi
if [ -z "$work" ]; then
  "$home/bin/standalone-job.sh" start-foreground "$@"
  code=$?
  flink=$code
else
BEFORE_RUNNER
  AIFLOW_WORK_FOLDER=$work AIFLOW_FLINK_RESTORED=${restored%/_metadata} "$python" START
  code=$?
  flink=$(cat "$work/ENDED" 2>/dev/null)
AFTER_RUNNER
fi
said=
for summary in "$archive"/applications/*/application-summary; do
  [ -f "$summary" ] || continue
  if [ "$flink" != 0 ]; then
    said=$(sed 's/.*stacktrace\\":\\"/Caused by: /; s/\\\\n/\
/g; s/\\\\t/ /g; s/\\*"/"/g' "$summary" | cause)
    if [ -n "$restored" ] && grep -q 'CheckpointCoordinator.restoreSavepoint' "$summary"; then
      said=$(printf '%s' "$said" | sed 's/you can set the --allowNonRestoredState option on the CLI/say ALLOW/')
      said="it cannot begin with ${restored%/_metadata}: $said"
    fi
    case $said in
    *DuplicateJobSubmission* | *'Cannot have more than 1 '*)
      said='the program of a STREAM job submits a second Flink job, and may submit one: make two jobs of it, put '
      said="${said}INSERTs of SQL into one STATEMENT SET, or take exec_mode: STREAM away"
      ;;
    esac
  elif grep -q 'WAS_CANCELED' "$summary"; then
    said='it was cancelled at Flink, and not by aiflow-ext'
    code=CANCELED
  else
    for job in "${summary%/*}"/jobs/*; do
      grep -q 'SYNC_SAVEPOINT' "$job" || continue
      at=$(tr , '\n' <"$job" | sed -n '/\\"savepoint\\":{/,/external_path/p' |
        sed -n 's/.*external_path\\":\\"\([^"\\]*\).*/\1/p' | head -n 1)
      [ -z "$at" ] || said="SAVED$at"
    done
  fi
done
if [ -z "$said" ] && [ "$flink" != 0 ]; then  # it has ended before it could archive anything
  said=$(cat "$FLINK_LOG_DIR"/*.log 2>/dev/null | sed -n '/ ERROR [^ ]*ClusterEntrypoint /,$p' |
    sed '2s/^/Caused by: /' | cause)
fi
case $said in
NoSuchMethodError* | NoSuchFieldError* | NoClassDefFoundError* | ClassNotFoundException* | \
  IncompatibleClassChangeError* | AbstractMethodError* | UnsupportedClassVersionError*)
  has=$(echo "$home"/lib/flink-dist-*.jar) has=${has##*/flink-dist-}
  said="$said (the image has Flink ${has%.jar}: build the jar for that version, with all that it needs in it)"
  ;;
esac
[ -z "$said" ] || printf '%s' "$said" >"$AIFLOW_REASON_FILE"
exit "$code"
""".replace("BEFORE_RUNNER", BEFORE_RUNNER)
    .replace("AFTER_RUNNER", AFTER_RUNNER)
    .replace("WAS_CANCELED", _WAS_CANCELED)
    .replace("CONFIG", CONFIG)
    .replace("LEFT", str(LEFT))
    .replace("CANCELED\n", f"{CANCELED}\n")
    .replace("SAVED", SAVED)
    .replace("ALLOW", ALLOW)
    .replace("START", f"{manifest.INPUT}/{manifest.START_FILE}")
    .replace("ENDED", _ENDED)
)

# The runner's command. $1: the cluster's folder in Flink's archive; $2: where SQL is to be, and $3: the SQL, if any;
# the rest: arguments of standalone-job.sh. A job that was cancelled is no success: its outputs are not kept.
_INNER = (
    r"""archive=$1
[ -z "$3" ] || printf '%s' "$3" >"$2" || exit 1
shift 3
[ -z "$AIFLOW_FLINK_RESTORED" ] || set -- -s "$AIFLOW_FLINK_RESTORED" "$@"
"$FLINK_HOME/bin/standalone-job.sh" start-foreground "$@"
code=$?
echo "$code" >"$AIFLOW_WORK_FOLDER/ENDED"
[ "$code" != 0 ] || ! grep -qs 'WAS_CANCELED' "$archive"/applications/*/application-summary || code=CANCELED
exit "$code"
""".replace("WAS_CANCELED", _WAS_CANCELED)
    .replace("CANCELED\n", f"{CANCELED}\n")
    .replace("ENDED", _ENDED)
)


def command(
    archive: str,
    arguments: Sequence[str],
    earlier: Iterable[str] = (),
    restored: str | None = None,
    work: str | None = None,
    python: str = "python3",
) -> list[str]:
    """The argument vector of a container.

    Args:
        archive: the folder that Flink archives its cluster in.
        arguments: those of Flink's ``standalone-job.sh``; none where there is a runner, which has them.
        earlier: patterns of the files ``_metadata`` of checkpoints and savepoints; the newest one is restored.
        restored: the savepoint or checkpoint that is restored where there is none of these.
        work: the runner's work folder; None: the job has no artifacts, and no runner.
        python: of the image, for the runner.
    """
    own = [archive, "\n".join(earlier), restored or "", work or "", python]
    return ["/bin/sh", "-c", SCRIPT, "aiflow-ext-flink", *own, *arguments]


def runners_command(archive: str, arguments: Sequence[str], sql_file: str = "", sql: str | None = None) -> list[str]:
    """The argument vector of the runner's command, in which it puts the artifacts' paths in.

    Args:
        archive: as in :func:`command`.
        arguments: those of Flink's ``standalone-job.sh``.
        sql_file: where the program's SQL is to be.
        sql: that; None for another program.
    """
    return ["/bin/sh", "-c", _INNER, "aiflow-ext-flink", archive, sql_file, sql or "", *arguments]
