r"""The script of a pod whose Flink job runs in a session cluster: Flink's own client submits it, the script follows it.

That client may end before the job does, as where a program only submits, and its exit code says little of a job. So the
script asks the cluster's REST API how the job stands. bash does that by itself; Flink's own scripts need bash, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiflow_ext_flink.program import MAINS
from aiflow_ext_kubernetes import manifest
from aiflow_ext_kubernetes.flink_shell import AFTER_RUNNER, ALLOW, BEFORE_RUNNER, CANCELED, CONFIG
from aiflow_ext_kubernetes.flink_startup import ASK
from aiflow_ext_kubernetes.status import SAVED

_FILE, _REASON, _PID = "session.sh", "session-reason", "session-pid"  # in the container's folder, beside a runner

# $1, $2: host and port of the cluster's REST API; $3: the job's id; $4: its kind of program; $5: ids of earlier
# attempts' jobs, the newest first; $6: patterns, one a line, of their state; $7: the savepoint or checkpoint that is
# restored where neither has any, or empty; $8: options of "flink run"; the rest:
# its arguments.
# An answer of the REST API is JSON without spaces: a quotation mark in a text is \", so that "state":" is none.
SCRIPT = (
    r"""host=$1 port=$2 job=$3 kind=$4 former=$5 earlier=$6 restored=$7 options=$8
shift 8
home=${FLINK_HOME:-/opt/flink}
export FLINK_HOME="$home" FLINK_CONF_DIR="${FLINK_CONF_DIR:-CONFIG}" FLINK_LOG_DIR="$PWD/log"
client= state= told= away= seen= found=
reason=${AIFLOW_FLINK_FOLDER:+$AIFLOW_FLINK_FOLDER/REASON}
reason=${reason:-${AIFLOW_REASON_FILE:-/dev/null}}
[ -z "$AIFLOW_FLINK_FOLDER" ] || echo $$ >"$AIFLOW_FLINK_FOLDER/PID"

say() { printf 'aiflow-ext: %s\n' "$1" >&2; }

fail() {
  printf '%s' "$1" >"$reason"
  say "$1"
  exit "${2:-1}"
}

ASK

# Sets status, of HTTP, and the job's state.
look() {
  answer=$(ask GET "/jobs/$job")
  status=${answer%%[[:cntrl:]]*}
  status=${status#HTTP/* }
  status=${status%% *}
  state=
  [ "$status" != 200 ] || state=$(grep -o '"state":"[A-Z]*"' <<<"$answer" | head -n 1 | cut -d '"' -f 4)
}

# Cancels the job, and waits until it has ended.
end_job() {
  for turn in {1..60}; do
    ask PATCH "/jobs/$job?mode=cancel" >/dev/null
    look
    case $status$state in 404 | *FINISHED | *FAILED | *CANCELED) return ;; esac
    sleep 1
  done
}

# The newest state of a job's that is complete.
newest_of() {
  ask GET "/jobs/$1/checkpoints" | sed -n 's/.*"history":\[//p' | tr ',' '\n' |
    sed -n 's/.*"external_path":"\([^"\\]*\/[^"\\]*\)".*/\1/p' | head -n 1
}

# The line of a stack trace that matters.
cause_of() {
  grep -e '^Caused by: ' -e '^[a-z_][A-Za-z0-9_$.]*\.[A-Z]' | grep -v 'IOException: error=[0-9]*, ' | tail -n 1 |
    sed 's/^Caused by: //; s/^\([a-z_][A-Za-z0-9_$]*\.\)*\([A-Z]\)/\2/' | cut -c -2000
}

# Cancels what the program has submitted besides the job: Flink gives it an id that nobody knows. Returns whether any of
# it went on; of a STREAM job, whether there was any.
end_others() {
  went_on=
  for each in $(sed -n 's/^Job has been submitted with JobID \([0-9a-f]\{32\}\).*/\1/p' "$PWD/client.out"); do
    [ "$each" != "$job" ] || continue
    answer=$(ask PATCH "/jobs/$each?mode=cancel")
    case "$options ${answer%%[[:cntrl:]]*}" in -d* | *' 202 '*) went_on=1 ;; esac
  done
  [ -n "$went_on" ]
}

twice='the program submits a second Flink job, and may submit one to a session cluster: make two jobs of it, put '
twice="${twice}INSERTs of SQL into one STATEMENT SET, or give it a cluster of its own"

# What the program itself says of its failure: the last line of a Python traceback, or a cause in Java.
words_of_program() {
  words=$(cat "$PWD/client.out" "$PWD/client.err" | sed -n '/^Traceback (most recent call last)/,$p' |
    grep -m 1 '^[A-Za-z_][A-Za-z0-9_.]*\(: .*\)\{0,1\}$' | cut -c -2000)
  [ -n "$words" ] || words=$(cause_of <"$PWD/client.err")
  [ -n "$words" ] || words=$(sed -n 's/^Could not get job jar and dependencies from JAR file: //p' "$PWD/client.out")
  case $words in *DuplicateJobSubmission* | *'has already been submitted'*) words=$twice ;; esac
  printf '%s' "${words:-the program has failed; its log says why}"
}

stopped() {
  [ -z "$client" ] || { kill -KILL "$client" && wait "$client"; } 2>/dev/null
  [ ! -f "$PWD/client.out" ] || end_others
  end_job
  exit 143
}
trap stopped TERM

if [ ! -x "$home/bin/flink" ]; then
  fail "no Flink in the image: $home/bin/flink is not there; take an image with Flink, or set FLINK_HOME" 127
fi
# A client of another Flink than the cluster's may submit what that cannot read.
ours=$(echo "$home"/lib/flink-dist-*.jar)
ours=${ours##*/flink-dist-} ours=${ours%.jar}
theirs=$(ask GET /config | grep -o '"flink-version":"[0-9][^"]*"' | cut -d '"' -f 4)
if [[ $ours == [0-9]* && -n $theirs && ${ours%.*} != "${theirs%.*}" ]]; then
  fail "the image has Flink $ours, and the session cluster $host:$port runs $theirs: take an image with Flink $theirs"
fi
if [ "$kind" = sql ]; then
  gateway=$(echo "$home"/opt/flink-sql-gateway-*.jar)
  [ -f "$gateway" ] || fail "no $home/opt/flink-sql-gateway-*.jar in the image, which SQL needs"
  set -- -c SQL_DRIVER "$gateway" "$@"
fi
mkdir -p "$FLINK_LOG_DIR"
for each in $former; do
  found=$(newest_of "$each")
  [ -z "$found" ] || break
done
if [ -z "$found" ] && [ -n "$earlier" ]; then
  IFS='
'
  found=$(ls -dt $earlier 2>/dev/null | head -n 1)
  unset IFS
fi
restored=${found:-$restored}
if [ -n "$restored" ]; then
  say "restoring from ${restored%/_metadata}"
  set -- -s "${restored%/_metadata}" "$@"
fi
exec 5> >(tee "$PWD/client.out")
out=$!
exec 6> >(tee "$PWD/client.err" >&2)
err=$!
"$home/bin/flink" run $options "$@" >&5 2>&6 5>&- 6>&- &
client=$!
exec 5>&- 6>&-
wait "$client"
code=$?
client=
wait "$out" "$err"
if end_others; then
  end_job
  fail "$twice"
fi
while :; do
  look
  case $status in
  200)
    away= seen=1
    case $state in FINISHED | FAILED | CANCELED) break ;; esac
    [ "$state" = "$told" ] || say "the job is $state"
    told=$state
    if [ "$code" != 0 ]; then
      end_job
      break
    fi
    ;;
  404)
    [ "$code" = 0 ] || break
    words="the session cluster $host:$port does not know the job any more: it was started again, or has forgotten it"
    [ -z "$seen" ] || fail "$words"
    fail 'the program has submitted no Flink job'
    ;;
  *)
    [ -n "$away" ] || say "the session cluster $host:$port does not answer; it is asked again"
    away=1
    ;;
  esac
  sleep 1 &
  wait $!
done
if [ "$state" = FAILED ]; then
  trace=$(ask GET "/jobs/$job/exceptions?maxExceptions=1" | sed 's/\\n/\
/g; s/\\t/ /g; s/"stacktrace":"/\
/g; s/\\"/"/g')
  [ "$code" != 0 ] || printf '%s\n' "$trace" >&2
  words=$(sed 's/",".*//' <<<"$trace" | cause_of)
  if [[ -n $restored && $trace == *CheckpointCoordinator.restoreSavepoint* ]]; then
    words=${words/you can set the --allowNonRestoredState option on the CLI/say ALLOW}
    words="it cannot begin with ${restored%/_metadata}: $words"
  fi
  fail "${words:-Flink does not say why}"
fi
[ "$code" = 0 ] || fail "$(words_of_program)"
[ "$state" != CANCELED ] || fail 'it was cancelled at Flink, and not by aiflow-ext' CANCELED_CODE
saved=$(ask GET "/jobs/$job/checkpoints" | tr ',' '\n' |
  sed -n '/"checkpoint_type":"SYNC_SAVEPOINT"/,/external_path/s/.*"external_path":"\([^"\\]*\)".*/\1/p' | head -n 1)
[ -z "$saved" ] || printf '%s' "SAVED$saved" >"$reason"
exit 0
""".replace("ASK", ASK)
    .replace("SQL_DRIVER", MAINS["sql"])
    .replace("CANCELED_CODE", str(CANCELED))
    .replace("CONFIG", CONFIG)
    .replace("ALLOW", ALLOW)
    .replace("SAVED$", f"{SAVED}$")
    .replace("FOLDER/REASON", f"FOLDER/{_REASON}")
    .replace("FOLDER/PID", f"FOLDER/{_PID}")
)

# Around aiflow-ext's runner, which has the script as its command. $1: the work folder, in a folder of the job's alone;
# $2: a python; $3: the script. The runner puts artifacts' paths in its command's words, so that the script is a file.
_AROUND = (
    r"""work=$1 python=$2
export AIFLOW_FLINK_FOLDER="$PWD"
printf '%s' "$3" >"$PWD/SCRIPT_FILE"
BEFORE_RUNNER
trap : TERM
AIFLOW_WORK_FOLDER=$work "$python" START
code=$?
# A pod that is ended has ended the runner at once; the script still cancels the job.
while kill -0 "$(cat "$PWD/PID" 2>/dev/null)" 2>/dev/null; do sleep 1; done
AFTER_RUNNER
[ ! -s "$PWD/REASON" ] || cat "$PWD/REASON" >"$AIFLOW_REASON_FILE"
exit "$code"
""".replace("SCRIPT_FILE", _FILE)
    .replace("BEFORE_RUNNER", BEFORE_RUNNER)
    .replace("AFTER_RUNNER", AFTER_RUNNER)
    .replace("START", f"{manifest.INPUT}/{manifest.START_FILE}")
    .replace("PWD/REASON", f"PWD/{_REASON}")
    .replace("PWD/PID", f"PWD/{_PID}")
)


def command(
    host: str,
    port: int,
    job_id: str,
    kind: str,
    options: Sequence[str],
    arguments: Sequence[str],
    former: Iterable[str] = (),
    earlier: Iterable[str] = (),
    restored: str | None = None,
) -> list[str]:
    """The argument vector of the container.

    Args:
        host: of the session cluster's REST API.
        port: of it.
        job_id: at Flink, of this attempt.
        kind: of the program: ``jar``, ``python`` or ``sql``.
        options: those of ``flink run`` that are words without spaces.
        arguments: the others, and what it runs, with its arguments; of SQL, those of its class.
        former: the ids of earlier attempts' jobs, the newest first, whose latest checkpoint is restored.
        earlier: patterns of the files ``_metadata`` of checkpoints and savepoints, of which the newest is restored
            where the cluster knows none of ``former``.
        restored: the savepoint or checkpoint that is restored where there is none of these.
    """
    own = [host, str(port), job_id, kind, " ".join(former), "\n".join(earlier), restored or "", " ".join(options)]
    return ["bash", "-c", SCRIPT, "aiflow-ext-flink", *own, *arguments]


def around(work: str, python: str) -> list[str]:
    """The argument vector of a container in which a runner brings and keeps artifacts.

    Args:
        work: the runner's work folder, which the session cluster sees.
        python: of the image, for the runner.
    """
    return ["/bin/sh", "-c", _AROUND, "aiflow-ext-flink", work, python, SCRIPT]


def runners_command(made: Sequence[str], sql_file: str = "", sql: str | None = None) -> list[str]:
    """The argument vector of the runner's command, in which it puts the artifacts' paths in.

    Args:
        made: by :func:`command`.
        sql_file: where the program's SQL is to be.
        sql: that; None for another program.
    """
    words = ["bash", f"{manifest.WORK}/{_FILE}", *made[made.index(SCRIPT) + 2 :]]
    if sql is None:
        return words
    return [
        "/bin/sh",
        "-c",
        'printf "%s" "$1" >"$2" && shift 2 && exec "$@"',
        "aiflow-ext-flink",
        sql,
        sql_file,
        *words,
    ]
