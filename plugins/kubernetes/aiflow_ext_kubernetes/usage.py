"""What a container has used, as its shell has found it in the control group and left in the termination message.

Only the container itself can tell: its control group ends with it, and to read it from outside would take a node's
metrics. The message is part of the pod, so that it takes no other request and no further right.
"""

from __future__ import annotations

import re

from aiflow_ext.plugin import Usage

LABEL = "aiflow-usage: "  # of the last line of the message
_LINE = re.compile(rf"(?:^|\n){LABEL}(-|\d{{1,18}}) (-|\d{{1,18}})\s*\Z", re.ASCII)

# Appends that line: bytes at the peak and microseconds of the processors, each "-" where the kernel does not keep it. A
# shell's own words alone, for images that have no cat. In the root of a hierarchy of version 2, which is the machine's
# and no container's, there is no memory.current.
SCRIPT = """\
peak=- spent=- group=/sys/fs/cgroup
if [ -r $group/memory.current ]; then
  IFS= read -r peak 2>/dev/null <$group/memory.peak || peak=-
  while IFS=' ' read -r key value; do
    [ "$key" != usage_usec ] || spent=$value
  done 2>/dev/null <$group/cpu.stat
else
  IFS= read -r peak 2>/dev/null <$group/memory/memory.max_usage_in_bytes || peak=-
  IFS= read -r value 2>/dev/null <$group/cpuacct/cpuacct.usage && spent=$((value / 1000))
fi
[ "$peak $spent" = '- -' ] || [ -z "$AIFLOW_REASON_FILE" ] ||
  printf '\\n%s%s %s\\n' 'LABEL' "$peak" "$spent" 2>/dev/null >>"$AIFLOW_REASON_FILE"
""".replace("LABEL", LABEL)


def split(message: str) -> tuple[str, Usage | None]:
    """A container's termination message without that line, and what it says; None where there is none."""
    found = _LINE.search(message)
    if found is None:
        return message.strip(), None
    peak, spent = (None if each == "-" else int(each) for each in found.groups())
    return message[: found.start()].strip(), Usage(peak, None if spent is None else spent / 1e6, "container")
