"""The container's first process: a shell script that tags stderr, and the python that unpacks the project.

The log of a container has stdout and stderr in one; the API cannot separate them (``stream=`` of the log subresource is
alpha, off by default, in 1.34). So each line that the job writes to stderr gets a tag that no line of its stdout has,
and ``streams`` separates them again. The script needs only ``/bin/sh``, and uses a python that the image has.

The shell, not the job, is PID 1 of the container: the kernel ignores signals that a PID 1 has no handler for, and so
signals have their usual effect on the job. The job's exit code, 128 + N for signal N, is the container's. A SIGTERM
from the kubelet is forwarded to the process group.
"""

from __future__ import annotations

import hashlib

from aiflow_ext.plugin.engines import UNFINISHED
from aiflow_ext_kubernetes import usage

# Adds the tags where the image has a python: every byte, and a hundred times as fast as a shell, whose "read" takes a
# byte at a time and drops NULs. Reads stdin, writes to descriptor 4, and prints the job's exit code. A line that is
# longer than LINE is written in parts: containerd keeps up to 16 KiB in one piece, and what comes on stdout meanwhile
# may be between two pieces. No part ends with a carriage return, which containerd would drop: one that has nothing else
# goes on up to the byte after them.
TAGGER = """\
import os, sys
tag, rest, MOST = os.fsencode(sys.argv[1]), b"", 1 << 16
LINE = 16000 - len(tag)

def say(data):
    while data:
        data = data[os.write(4, data):]

def tagged(text):
    made, at = [], 0
    while at < len(text):
        end = text.rfind(b"\\n", at, at + LINE) + 1
        kind = b":" if end else b"-"
        if not end:
            end = at + len(text[at:at + LINE].rstrip(b"\\r"))
        if end == at:
            end = len(text) - len(text[at:].lstrip(b"\\r")) + 1
            kind = b":" if text[end - 1:end] == b"\\n" else b"-"
        line = text[at:end - (kind == b":")]
        made += [tag, kind, line.replace(b"\\n", b"\\n" + tag + kind), b"\\n"]
        at = end
    return b"".join(made)

while True:
    data = os.read(0, MOST)
    rest += data
    at = rest.find(tag + b"=")
    stop = rest.find(b"\\n", at) if at >= 0 else -1
    text = rest if stop < 0 else rest[:at]
    whole = text.rfind(b"\\n") + 1
    over = stop >= 0 or not data
    part = len(text) if over else max(whole, len(text) - 128 if len(text) - whole > MOST else 0)
    while not over and part > whole and text[part - 1:part] == b"\\r":
        part -= 1
    say(tagged(text[:part]))
    if over:
        if stop >= 0:
            say(tag + b";\\n")
        os.write(1, rest[at + len(tag) + 1:stop] if stop >= 0 else b"137")
        break
    rest = text[part:]
"""

# $1: the tag; $2: a python; the rest: the job. The first line of stdout is a mark: a log without it has lost its
# beginning. The last lines of stdout and stderr are marks too: a reader that has them has everything. stderr goes
# through a pipe, whose last line has the exit code: everything that the job has written is in the pipe before it, and a
# process that outlives the job and holds the pipe open does not delay its end. The first shell's stderr is dropped: it
# would say "Killed" when a signal ends the job. "wait" also works for a child that has already ended; a signal
# interrupts it, and then it is called again (127: its result was returned before). SIGTERM is ignored before the others
# are forked: the process that adds the tags must not end before it has written everything. A shell forks background
# processes with SIGINT and SIGQUIT ignored. bash restores them by "trap -", dash does not, coreutils' env does; with
# the shell of busybox and nothing else in the image they stay ignored. At the end the reason file is read: if it still
# has the runner's first text, exit code 0 becomes 1, and with any other code the text is not a reason. Then what the
# container has used is added to it, and what the job ran with is printed, in lines with a tag of their own.
SCRIPT = (
    """\
tag=$1
python=$2
shift 2
printf '%s+\\n' "$tag"
exec 3>&1 4>&2
on_term() {
  asked=1
  trap '' TERM
  kill -TERM 0
  trap on_term TERM
}
trap on_term TERM
back=
case $1 in
*=*) ;;
*) env --default-signal=INT,QUIT true 2>/dev/null && back='env --default-signal=INT,QUIT' ;;
esac
(
  trap '' TERM
  {
    (trap - TERM INT QUIT; exec $back "$@") 2>&1 >&3 3>&- 4>&-
    printf '%s=%s\\n' "$tag" "$?"
  } 2>/dev/null | {
    code=$(exec "$python" -I -S -c 'TAGGER' "$tag" 2>/dev/null 3>&-)
    [ -z "$code" ] || exit "$code"
    while IFS= read -r line; do
      case $line in
      *"$tag"=*)
        rest=${line%"$tag"=*}
        [ -z "$rest" ] || printf '%s-%s\\n' "$tag" "$rest" >&4
        printf '%s;\\n' "$tag" >&4
        exit "${line##*"$tag"=}"
        ;;
      esac
      printf '%s:%s\\n' "$tag" "$line" >&4
    done
    exit 137
  }
) &
inner=$!
code=
while
  asked=
  wait "$inner"
  now=$?
  [ "$now" = 127 ] && [ -n "$code" ] || code=$now
  [ -n "$asked" ]
do :
done
said=
[ -z "$AIFLOW_REASON_FILE" ] || IFS= read -r said 2>/dev/null <"$AIFLOW_REASON_FILE"
if [ "$said" = "UNFINISHED" ]; then
  if [ "$code" = 0 ]; then code=1; else : >"$AIFLOW_REASON_FILE"; fi
fi
USAGE[ ! -f "$AIFLOW_RAN_WITH_FILE" ] || while IFS= read -r line; do
  printf '%s!%s\\n' "$tag" "$line"
done 2>/dev/null <"$AIFLOW_RAN_WITH_FILE"
printf '%s.\\n' "$tag"
exit "$code"
""".replace("USAGE", usage.SCRIPT)
    .replace("UNFINISHED", UNFINISHED)
    .replace("TAGGER", TAGGER)
)

# Runs in the image's python, any 3.x: says which of its own needs is not met.
START = '''\
"""Unpacks the project and starts the job's runner. Sent along by aiflow-ext."""
import os
import signal
import sys
import tarfile


def fail(words):
    path = os.environ.get("AIFLOW_REASON_FILE")
    if path:
        try:
            with open(path, "w") as file:
                file.write(words)
        except OSError:
            pass
    sys.exit("aiflow-ext: " + words)


def fetched(url, home):
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
    except ImportError as error:
        fail("the project is at %s, and the image's python lacks a package to fetch it: %s" % (url, error))
    local = os.path.join(home, "project.tar.gz")
    try:
        fs.get_file(path, local)
    except Exception as error:
        fail("the project cannot be fetched from %s: %s: %s" % (url, type(error).__name__, error))
    return local


def main():
    if sys.version_info < (3, 10):
        fail("a job needs python 3.10 or newer; %s of the image is %s" % (sys.executable, sys.version.split()[0]))
    here, home = os.path.dirname(os.path.abspath(__file__)), os.environ["AIFLOW_BUNDLE"]
    url = os.environ.get("AIFLOW_ARCHIVE")
    packed = fetched(url, home) if url else os.path.join(here, "project.tar.gz")
    with tarfile.open(packed) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(home, filter="tar")
        else:
            tar.extractall(home)
    os.makedirs(os.path.join(home, "project"), exist_ok=True)
    for number in (signal.SIGINT, signal.SIGQUIT):  # a shell in the background has had them ignored
        signal.signal(number, signal.SIG_DFL)
    runner = os.path.join(home, "runtime", "run_job.py")
    os.execv(sys.executable, [sys.executable, runner, os.path.join(here, "payload.json")])


main()
'''


def tag_of(native_id: str) -> str:
    """The tag of an attempt's stderr, long enough that no line of a job's stdout has it by chance."""
    return f"stderr.{hashlib.sha256(native_id.encode()).hexdigest()[:12]}"


def wrapped(argv: list[str], native_id: str, python: str) -> list[str]:
    """The container's command for a job's argument vector; ``python`` is one that the image may have."""
    return ["/bin/sh", "-c", SCRIPT, "aiflow-ext", tag_of(native_id), python, *argv]
