"""What this machine, or the container around this process, has for jobs: processors, memory and GPUs."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.plugin import ConfigError, Resources, parse_cpu, parse_memory
from aiflow_ext.plugin.engines import find_program

VARIABLE = "AIFLOW_MACHINE"
_CGROUPS = "/sys/fs/cgroup"
_DRIVER = "/proc/driver/nvidia/gpus"


def capacity() -> Resources:
    """What local jobs may use together: what the kernel and the cgroups of this process allow, or less where the
    variable ``AIFLOW_MACHINE`` says so (``cpu=4,memory=8Gi,gpu=1``). Raises ConfigError where it cannot be read."""
    said = _said()
    cpu, memory = _processors(), _memory()
    return Resources(
        cpu=min(cpu, said.get("cpu", cpu)), memory=min(filter(None, (memory, said.get("memory"))), default=None)
    )


def gpus() -> list[str]:
    """The GPUs that local jobs are given, by names for CUDA_VISIBLE_DEVICES: those that it has in the client's
    environment, else those that nvidia-smi shows, else those of the driver; at most so many as ``AIFLOW_MACHINE`` says.
    """
    return _gpus()[: _said().get("gpu")]


def _gpus() -> list[str]:
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [each.strip() for each in visible.split(",")]
        # CUDA itself takes the names before the first that is none.
        return list(itertools.takewhile(lambda name: name not in ("", "-1", "none", "NoDevFiles"), names))
    # In a container it shows those of the container alone. Names, because CUDA may number them otherwise.
    if (tool := find_program("nvidia-smi")) is not None:
        asked = [tool, "--query-gpu=uuid", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return [line.strip() for line in output_of(asked).splitlines() if line.startswith("GPU-")]
    with contextlib.suppress(OSError):
        return [str(number) for number in range(len(os.listdir(_DRIVER)))]
    return []


def output_of(
    argv: Sequence[str], seconds: float = 30.0, most: int = 1 << 16, env: Mapping[str, str] | None = None
) -> str:
    """What a program prints. Raises OSError or SubprocessError where it fails, prints more or takes longer.

    ``env``: its environment; None: this process's.
    """
    deadline = time.monotonic() + seconds
    found = b""
    with (
        subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        try:
            while len(found) <= most and selector.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(process.stdout.fileno(), most)
                found += piece
                if not piece:
                    process.wait(max(0.0, deadline - time.monotonic()))
                    break
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return found.decode(errors="replace")


def _number(value: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise ValueError("must be a whole number, and not more than exist")
    return int(value)


_PARSERS: dict[str, Callable[[str], Any]] = {"cpu": parse_cpu, "memory": parse_memory, "gpu": _number}


def _said() -> dict[str, Any]:
    said: dict[str, Any] = {}
    for part in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, value = (each.strip() for each in part.partition("="))
        try:
            if name not in _PARSERS:
                raise ValueError(f"is none of {', '.join(_PARSERS)}")
            said[name] = _PARSERS[name](value)
        except ValueError as error:
            hint = f"write {VARIABLE}=cpu=4,memory=8Gi,gpu=1, or unset it: all of the machine is used then"
            raise ConfigError(f"{VARIABLE}: {name} {error}", hint=hint) from None
    return said


def _processors() -> float:
    """How many processors this process may use, by its affinity and its cgroups."""
    cores = float(len(os.sched_getaffinity(0)))
    for group in _groups("cpu"):
        quota, period = (_read(f"{group}/cpu.max") or "max 100000").split()[:2]
        if not quota.isdecimal():  # cgroup v1
            quota = _read(f"{group}/cpu.cfs_quota_us") or "-1"
            period = _read(f"{group}/cpu.cfs_period_us") or "100000"
        if quota.isdecimal() and int(period):
            cores = min(cores, max(0.001, int(quota) / int(period)))
    return cores


def _memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or the limit of its cgroups."""
    sizes: list[int] = []
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo") as file:
        sizes += [int(line.split()[1]) * 1024 for line in file if line.startswith("MemTotal:")]
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            said = _read(f"{group}/{name}") or "max"
            if said.isdecimal():
                sizes.append(int(said))
    return min(sizes, default=None)


def _groups(controller: str) -> Iterator[str]:
    """The folders of this process's cgroups for a controller, from its own one up to the root."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for number, controllers, path in lines:
        if number != "0" and controller not in controllers.split(","):
            continue
        root = _CGROUPS if number == "0" else f"{_CGROUPS}/{controllers}"
        if ".." in path.split("/"):  # outside of this process's cgroup namespace
            path = "/"
        while True:
            yield f"{root}{path.rstrip('/')}"
            if path in ("", "/"):
                break
            path = os.path.dirname(path)


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read(100).strip()
    except OSError:
        return None
