"""The key ``shell`` of a job's config: what it may hold."""

from __future__ import annotations

from aiflow_ext.model.spelling import near
from aiflow_ext.translate.misfits import Misfit, given
from aiflow_ext.translate.yaml_source import Located

NAMES = ("strict", "sh", "bash")
_HINT = f"say {', '.join(NAMES)}, a shell's path, or the words that a command is put after, such as [bash, -lc]"


def checked_shell(part: Located) -> str | tuple[str, ...]:
    """A shell, or the words that a command is put after. Raises Misfit.

    Whether it is there is known only where the job runs.
    """
    value = part.value
    if isinstance(value, str):
        if "\0" in value:
            raise Misfit("holds a NUL character", "take it out")
        if value in NAMES or (value.startswith("/") and value.split() == [value]):
            return value
        raise Misfit(f"must not be {given(value)}", near(value, NAMES) or _HINT)
    words = list(value) if isinstance(value, (list, tuple)) else []
    if not words or not all(isinstance(word, str) for word in words) or not words[0]:
        raise Misfit(f"must be the name of a shell or a list of words, not {given(value)}", _HINT)
    if any("\0" in word for word in words):
        raise Misfit("holds a NUL character", "take it out")
    if len(words) == 1:  # bash would read it as the name of a file
        raise Misfit(f"has no option that a command follows: [{words[0]}]", f"write [{words[0]}, -c]")
    if any("{0}" in word for word in words):
        raise Misfit("has '{0}', which stays as it is", "leave it out: the command is put after the last word")
    return tuple(words)
