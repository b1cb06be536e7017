"""What is too large for a pod or its objects: reported before anything is sent.

Otherwise the container ends at once with *argument list too long*, or the object is refused after others were created.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiflow_ext.plugin import ConfigError, Problem
from aiflow_ext_kubernetes.template import CONTAINER

STRING = 128 << 10  # bytes of a variable (NAME=value) or an argument, with its NUL: MAX_ARG_STRLEN of execve(2)
ALL = 2 << 20  # bytes of all of them: a quarter of the stack's usual limit, as ARG_MAX
OBJECT = (
    1_500_000  # bytes of an object: etcd takes 1.5 MiB (--max-request-bytes), fields that the cluster adds included
)
SECRET = 1 << 20  # bytes of a Secret's values (MaxSecretSize)
CURE = "put it into a file of the project or the image, or into a ConfigMap or Secret that is mounted (volumes:)"


def problems_of(job: str, variables: Mapping[str, str], argv: Iterable[str] = ()) -> Iterator[Problem]:
    """What of a job's own environment and command is too large, or all of them."""
    total = 0
    for what, text in (*((f"variable {name}", f"{name}={value}") for name, value in variables.items()),
                       *(("argument of its command", each) for each in argv)):  # fmt: skip
        size = len(text.encode()) + 1
        total += size + 8  # and a pointer
        if size > STRING:
            yield Problem(f"job {job!r}: the {what} has {size:,} bytes; Linux takes {STRING:,} (128 KiB)", hint=CURE)
    if total > min(ALL, OBJECT):
        yield Problem(f"job {job!r}: its environment and command have {total:,} bytes together; the cluster's store "
                      f"(etcd) takes objects of {OBJECT:,}, and Linux {ALL:,} for a program", hint=CURE)  # fmt: skip


def check(name: str, job: Mapping[str, Any], secret: Mapping[str, Any] | None, values: Mapping[str, str]) -> None:
    """Check the objects of an attempt.

    Args:
        name: the job's.
        job: its Job.
        secret: its Secret, if it has one.
        values: the variables of the Secret.

    Raises ConfigError.
    """
    container = next(each for each in job["spec"]["template"]["spec"]["containers"] if each["name"] == CONTAINER)
    variables = {each["name"]: each["value"] for each in container.get("env") or () if "value" in each}
    problems = [*problems_of(name, {**variables, **values}, container["command"])]
    if not problems and (size := _bytes(job)) > OBJECT:
        problems.append(Problem(f"job {name!r}: its Job has {size:,} bytes; the cluster's store (etcd) takes "
                                f"{OBJECT:,}", hint=CURE))  # fmt: skip
    data: Mapping[str, str] = (secret or {}).get("stringData", {})
    if (size := sum(len(value.encode()) for value in data.values())) > SECRET:
        problems.append(Problem(
            f"job {name!r}: what it takes along and its secret variables have {size:,} bytes, and a Secret holds "
            f"{SECRET:,} (1 MiB)", hint="let large arguments be results of another job, or files of the project",
        ))  # fmt: skip
    if problems:
        raise ConfigError(problems=problems)


def _bytes(thing: Mapping[str, Any]) -> int:
    return len(json.dumps(thing, ensure_ascii=False).encode())
