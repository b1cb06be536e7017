r"""The startup probe of a Flink job's pods: it succeeds once a task of the job runs, and says until then why not.

The kubelet asks in the pod. So neither the pod nor the client needs a right for it, a watch of pods shows that the job
has begun, and the words are in events, as those of any pod that does not start. A startup probe that has succeeded is
not run again. One call of it waits some seconds itself: the kubelet reports 25 events of a pod at once, and after
those one in five minutes.
"""

from __future__ import annotations

from typing import Any

LOOKS = 10  # of one call, a second apart, while the job has not begun
ANSWERS = 20  # seconds for one answer of Flink
_FOREVER = 2**31 - 1  # failures after which the kubelet ends the container: so many that it does not

# A function of bash: what the REST API at $host:$port answers to a request, with its head; nothing where it is away.
ASK = r"""ask() {
  timeout ANSWERS bash -c '
    exec 3<>"/dev/tcp/$1/$2" || exit
    printf "%s %s HTTP/1.0\r\nHost: %s:%s\r\nContent-Length: 0\r\n\r\n" "$3" "$4" "$1" "$2" >&3
    head -c 8000000 <&3' ask "$host" "$port" "$1" "$2" 2>/dev/null
}""".replace("ANSWERS", str(ANSWERS))

# $1, $2: host and port of the REST API; $3: the path of the job, or of all jobs of the cluster; $4: how often it looks.
# Both answers count tasks by state. An answer is JSON without spaces: a quotation mark in a text is \", so that
# "running":1 is none.
SCRIPT = r"""host=$1 port=$2 path=$3 looks=$4
[ "${JOB_COMPLETION_INDEX:-0}" = 0 ] || exit 0
ASK
number() {
  found=$(grep -o "\"$2\":[0-9]*" <<<"$1" | head -n 1)
  printf '%s' "${found##*:}"
}
while :; do
  answer=$(ask GET "$path")
  case ${answer%%[[:cntrl:]]*} in
  *' 200 '*)
    begun='"(deploying|initializing|running|finished|canceling|canceled|failed)":[1-9]'
    if sed 's/"timestamps":{[^}]*}//' <<<"$answer" | grep -qiE "$begun"; then exit 0; fi
    words='its program has submitted no job yet'
    case $answer in
    *'"state":'*)
      said=$(ask GET /overview)
      total=$(number "$said" slots-total) count=$(number "$said" taskmanagers) free=$(number "$said" slots-available)
      words="it waits for slots: of the ${total:-?} slots of ${count:-?} TaskManagers ${free:-?} are free"
      ;;
    esac
    ;;
  *' 404 '*) words='its program has submitted no job yet' ;;
  *) words="Flink does not answer at $host:$port" ;;
  esac
  looks=$((looks - 1))
  [ "$looks" -gt 0 ] || break
  sleep 1
done
printf '%s' "$words"
exit 1
""".replace("ASK", ASK)


def command(host: str, port: int, job_id: str | None = None, looks: int = LOOKS) -> list[str]:
    """The argument vector of one call. Its exit code is 0 once the job has begun; else it prints why not.

    Args:
        host: of Flink's REST API, as the pod reaches it.
        port: of it.
        job_id: the job's at Flink; None: any job of the cluster.
        looks: how often it looks, a second apart.
    """
    path = "/jobs/overview" if job_id is None else f"/jobs/{job_id}"
    return ["bash", "-c", SCRIPT, "aiflow-ext-flink", host, str(port), path, str(looks)]


def probe(host: str, port: int, job_id: str | None = None) -> dict[str, Any]:
    """The startupProbe of the container; arguments as of :func:`command`."""
    return {
        "exec": {"command": command(host, port, job_id)},
        "periodSeconds": 1,
        "timeoutSeconds": LOOKS * (2 * ANSWERS + 1),
        "failureThreshold": _FOREVER,
    }
