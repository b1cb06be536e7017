"""Values put into a shell's command text so that each is one word, or part of one, in every context."""

from __future__ import annotations

import re
import shlex

PLAIN, SINGLE, DOUBLE = "", "'", '"'
_HERE_DOCUMENT = re.compile(r"<<(?!<)")


def quoted(text: str, context: str) -> str:
    """``text`` for a place between single quotes, between double quotes, or outside of both."""
    if context == SINGLE:
        return text.replace("'", "'\\''")
    if context == DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", text)
    return shlex.quote(text)


def contexts(command: str, places: list[int]) -> list[str]:
    """For each of the ascending ``places``: is it between single quotes, double quotes, or outside of both?

    Where the text cannot be followed (a here-document, back quotes, quotes that do not end) every place counts as
    outside: the value is quoted as a word of its own.
    """
    outside = [PLAIN] * len(places)
    if not places or ("'" not in command and '"' not in command):
        return outside
    if "`" in command or _HERE_DOCUMENT.search(command):
        return outside
    found, wanted = [], iter(places)
    place = next(wanted, None)
    stack = [PLAIN]  # what is open; inside $( ) quoting begins again
    at, length = 0, len(command)
    while at < length:
        if at == place:
            found.append(stack[-1] if stack[-1] in (SINGLE, DOUBLE) else PLAIN)
            place = next(wanted, None)
        char, top = command[at], stack[-1]
        if top == SINGLE:
            if char == "'":
                stack.pop()
        elif char == "\\":
            at += 1
        elif char == '"':
            stack.pop() if top == DOUBLE else stack.append(DOUBLE)
        elif command.startswith("$(", at):
            stack.append(")")
            at += 1
        elif top != DOUBLE:
            if char == "'":
                stack.append(SINGLE)
            elif char == "(":
                stack.append(")")
            elif char == ")" and top == ")":
                stack.pop()
            elif char == "#" and (at == 0 or command[at - 1] in " \t\n;&|("):
                end = command.find("\n", at)
                at = (length if end < 0 else end) - 1
                while place is not None and place <= at:
                    found.append(PLAIN)
                    place = next(wanted, None)
        at += 1
    return found if stack[-1] not in (SINGLE, DOUBLE) and len(found) == len(places) else outside
