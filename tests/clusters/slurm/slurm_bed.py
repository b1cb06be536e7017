"""A real Slurm on one machine: munged, slurmctld and slurmd, on loopback, in a folder of their own.

    python tests/clusters/slurm/slurm_bed.py up | down | status | env

Needs root and Debian's packages, which ``up`` installs with apt-get where they are missing. Ready in some 3 seconds;
``down`` removes the folder. SLURM_BED=NAME:BASE makes it another bed, with three ports from BASE on.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import debian

PACKAGES = {"/usr/sbin/slurmctld": "slurmctld", "/usr/sbin/slurmd": "slurmd", "/usr/bin/sbatch": "slurm-client",
            "/usr/sbin/munged": "munge"}  # fmt: skip
DAEMONS = ("munged", "slurmctld", "slurmd")
MARK = "AIFLOW_SLURM_BED"  # carried by the daemons and by what slurmd starts beside jobs
CGROUPS = Path("/sys/fs/cgroup")
PATIENCE = 60.0  # seconds for what takes three

# Sixteen processors, whatever the machine has: tests run several jobs at once. Its two GPUs are devices that every
# machine has. The daemons listen on loopback alone.
CONF = """\
ClusterName=aiflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/{munge}.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/cgroup
FirstJobId={first}
TaskPlugin=task/cgroup
GresTypes=gpu
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
PriorityType=priority/basic
SlurmdParameters=config_overrides
SlurmdTimeout=30
ReturnToService=2
KillWait=2
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PreemptMode=OFF
PartitionName=low Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
"""


class BedError(Exception):
    """The bed does not come up; says why, and what to do."""


class Bed:
    """The bed of a name.

    Args:
        name: its folder's, below the user's cache.
        base: the first of its ports.
    """

    def __init__(self, name: str, base: int) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder, self.base = Path(home, "aiflow-ext-slurm", name), base
        self.conf = self.folder / "slurm.conf"
        self.node = f"aiflow{base}"

    @classmethod
    def chosen(cls) -> Bed:
        """The bed that SLURM_BED names."""
        name, _, base = os.environ.get("SLURM_BED", "test:28700").partition(":")
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])  # those of pytest have a bed each
        return cls(f"{name}{worker or ''}", int(base) + 3 * worker)

    @property
    def env(self) -> dict[str, str]:
        """What a client needs."""
        return {"SLURM_CONF": str(self.conf)}

    def up(self) -> None:
        """Start what does not run, and wait until jobs can be submitted. Raises BedError."""
        if os.geteuid() != 0:
            raise BedError("Slurm's daemons run jobs as the user who submits them: run this as root")
        self._install()
        for part in ("", "state", "spool"):
            (self.folder / part).mkdir(parents=True, exist_ok=True, mode=0o755)
        self.write_conf(self.conf)
        unified = CGROUPS / "cgroup.controllers"
        constraints = ["ConstrainCores=no", "ConstrainRAMSpace=yes", "ConstrainSwapSpace=yes"]
        constraints += ["IgnoreSystemd=yes"] if unified.exists() else []
        (self.folder / "cgroup.conf").write_text("\n".join([*constraints, ""]))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        for name in DAEMONS:
            self.start(name)
        self._until("the node is ready", lambda: self.call("sinfo", "--noheader", "--format=%T").strip() in
                    ("idle", "mixed", "allocated"))  # fmt: skip

    def write_conf(self, path: Path, *, host: str = "", port: int = 0, munge: str = "munge") -> None:
        """Write a slurm.conf: the bed's, or one that is wrong in what is given."""
        host = host or socket.gethostname().partition(".")[0]
        path.write_text(CONF.format(name=self.node, host=host, folder=self.folder, controller=port or self.base,
                                    node=self.base + 1, munge=munge, first=self.base * 1000))  # fmt: skip

    def down(self) -> None:
        """End every job and daemon, and remove the folder."""
        if self.pid("slurmctld") and self.pid("slurmd"):
            self.call("scancel", "--signal=KILL", "--batch", "--user=root")
            living = ("squeue", "--noheader", "--states=running,completing")
            self._until("the jobs have ended", lambda: not self.call(*living))
        for name in (*reversed(DAEMONS), "munge2"):
            self.kill(name)
        for pid in _marked(str(self.folder)):
            _kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        for made in CGROUPS.glob(f"*/slurm_{self.node}"):
            for path in (*sorted((path for path in made.rglob("*") if path.is_dir()), reverse=True), made):
                path.rmdir()

    def start(self, name: str, *options: str) -> None:
        """Start a daemon that does not run."""
        if self.pid(name):
            return
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen([*self._argv(name), *options], env=self._environ(), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)  # fmt: skip
        (self.folder / f"{name}.started").write_text(str(process.pid))
        if name.startswith("munge"):
            key = self.folder / f"{name.replace('munged', 'munge')}.socket"
            self._until(f"{name} listens", key.exists)

    def kill(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a daemon, and wait until it is gone. Jobs go on."""
        pid = self.pid(name)
        if pid:
            _kill(pid, number)
            self._until(f"{name} is gone", lambda: not self.pid(name))

    def restart_controller(self, *options: str) -> None:
        """Start slurmctld again, and wait until it answers; ``-c``: without the jobs that it knew."""
        self.start("slurmctld", *options)
        self._until("slurmctld answers", lambda: "UP" in self.call("scontrol", "ping"))
        self._until("the node is back", lambda: "idle" in self.call("sinfo", "--noheader", "--format=%T") or
                    "mixed" in self.call("sinfo", "--noheader", "--format=%T"))  # fmt: skip

    @contextmanager
    def node_down(self) -> Iterator[None]:
        """Inside it the node has failed, as Slurm sees it."""
        update = ("scontrol", "update", f"nodename={self.node}")
        self.call(*update, "state=down", "reason=test")
        try:
            yield
        finally:
            self.call(*update, "state=resume")

    def stranger(self) -> Path:
        """A slurm.conf that leads to a munged with another key: Slurm refuses what it signs."""
        self.start("munge2")
        path = self.folder / "stranger.conf"
        self.write_conf(path, munge="munge2")
        return path

    def pid(self, name: str) -> int:
        """The process of a daemon; 0: it does not run."""
        try:
            pid = int((self.folder / f"{name}.started").read_text())
            os.waitpid(pid, os.WNOHANG)  # where it is this process's own child
        except ChildProcessError:
            pass
        except (OSError, ValueError):
            return 0
        return pid if pid in _marked(str(self.folder)) else 0

    def call(self, *argv: str) -> str:
        """What one of Slurm's programs prints; nothing where it fails."""
        return subprocess.run(argv, env=self._environ(), capture_output=True, text=True).stdout

    def _argv(self, name: str) -> list[str]:
        if name.startswith("munge"):
            stem = name.replace("munged", "munge")
            key = self.folder / f"{stem}.key"
            if not key.exists():
                key.touch(mode=0o400)
                key.write_bytes(secrets.token_bytes(1024))
            kinds = ("pid-file", "log-file", "seed-file")
            files = [f"--{kind}={self.folder}/{stem}.{kind.partition('-')[0]}" for kind in kinds]
            return ["/usr/sbin/munged", "--foreground", "--force", f"--socket={self.folder}/{stem}.socket",
                    f"--key-file={key}", *files]  # fmt: skip
        return [f"/usr/sbin/{name}", "-D", *(["-N", self.node] if name == "slurmd" else [])]

    def _environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "LC_ALL": "C.UTF-8", **self.env,
                MARK: str(self.folder)}  # fmt: skip

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                logs = [f"{path}: {path.read_text(errors='replace')[-500:]}" for path in self.folder.glob("*.log")]
                raise BedError(f"{what}: not within {PATIENCE:g} s\n" + "\n".join(logs))
            time.sleep(0.05)

    def _install(self) -> None:
        try:
            debian.install(PACKAGES)
        except debian.PackagesMissing as error:
            raise BedError(str(error)) from error


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _marked(folder: str) -> list[int]:
    """The living processes that carry the mark of the bed in this folder."""
    mark, found = f"\0{MARK}={folder}\0".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in b"\0" + (path / "environ").read_bytes() + b"\0":
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


def main(command: str) -> int:
    bed = Bed.chosen()
    if command == "up":
        try:
            bed.up()
        except BedError as error:
            print(error, file=sys.stderr)
            return 1
    if command == "down":
        bed.down()
    if command in ("up", "env"):
        print(*(f"export {name}={value}" for name, value in bed.env.items()), sep="\n")
    if command == "status":
        print(*(f"{name} {bed.pid(name) or 'does not run'}" for name in DAEMONS), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "status"))
