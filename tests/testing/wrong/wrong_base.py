"""Job plugins of nine methods with one mistake each, and the right one that they are made from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import attrs

import aiflow_ext as af
from aiflow_ext.engines import CmdLineEngine
from aiflow_ext.engines.bundle import build_bundle

_PLATFORMS: dict[str, type[af.AbstractPlatform]] = {}


def kebab(name: str) -> str:
    """``LooksUpFound`` as the platform's name: ``looks-up-found``."""
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name)[1:]


def platform_named(name: str) -> type[af.AbstractPlatform]:
    if name not in _PLATFORMS:
        _PLATFORMS[name] = type(name, (af.AbstractPlatform,), {"platform": staticmethod(lambda: name)})
    return _PLATFORMS[name]


class Job(af.AbstractJob):
    def __init__(self, config: af.AbstractJobConfig, script: str) -> None:
        super().__init__(af.JobContext(), config)
        self.script = script

    @property
    def file(self) -> Path:
        assert self.job_context is not None
        return Path(str(self.job_context.work_folder), "script.sh")


class RightBase:
    """Nothing is wrong with it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def generate(self, sub_graph, project_desc):
        commands = build_bundle(sub_graph, project_desc, "cmd_line").command()
        return Job(sub_graph.config, "set -e\n" + "\n".join(self.joined(argv) for argv in commands) + "\n")

    def joined(self, argv: list[str]) -> str:
        return shlex.join(argv)

    def generate_job_resource(self, job):
        job.file.write_text(job.script)

    def submit_job(self, job):
        code = self.run(job)
        if code != 0:
            raise subprocess.CalledProcessError(code, "job")

    def run(self, job, **options: Any) -> int:
        self.process = subprocess.Popen(["/bin/sh", job.file], **options)
        return self.process.wait()

    def stop_job(self, job):
        if self.process is not None:
            self.process.terminate()

    def cleanup_job(self, job):
        job.file.unlink(missing_ok=True)

    def job_type(self):
        return Job

    def job_config_type(self):
        return af.AbstractJobConfig

    def platform(self):
        return platform_named(kebab(type(self).__name__))

    def engine(self):
        return CmdLineEngine


@attrs.frozen
class SlottedConfig(af.AbstractJobConfig):
    queue: str = "all"


class RightSlotted(RightBase):
    """Nor with this one, whose config has slots, and is changed by generate."""

    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        job.job_config = attrs.evolve(sub_graph.config, queue="night")
        return job

    def run(self, job, **options: Any) -> int:
        assert job.job_config.queue == "night"
        return super().run(job, **options)

    def job_config_type(self):
        return SlottedConfig


class WrongPlatformName(RightBase):
    def platform(self):
        return platform_named("elsewhere")


class GivesInstances(RightBase):
    def job_type(self):
        return Job(af.AbstractJobConfig(), "")


class LacksAMethod(RightBase):
    cleanup_job = None  # type: ignore[assignment]


class HasAClock(RightBase):
    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        job.script += f"# {time.time_ns()}\n"
        return job


class ForgetfulConfig(af.AbstractJobConfig):
    def __init__(self, queue: str = "all") -> None:
        self.queue = queue

    def __getstate__(self):
        return {"queue": self.queue}


class ForgetsItsProperties(RightBase):
    """Its config's own state is what its own ``__init__`` knows."""

    def job_config_type(self):
        return ForgetfulConfig


class DeepConfig(af.AbstractJobConfig):
    def __init__(self, queue: str = "all") -> None:
        self.queue = queue

    def __deepcopy__(self, memo):
        return DeepConfig(self.queue)


class CopiesByHand(RightBase):
    def job_config_type(self):
        return DeepConfig


class TerseConfig(af.AbstractJobConfig):
    def to_json(self):
        return {"platform": self.platform, "engine": self.engine, "job_name": self.job_name}


class WritesALittle(RightBase):
    def job_config_type(self):
        return TerseConfig


class WritesInTheProject(RightBase):
    def generate(self, sub_graph, project_desc):
        Path(project_desc.root, "job.sh").write_text("made by generate")
        return super().generate(sub_graph, project_desc)


class AsksTheNetwork(RightBase):
    def generate(self, sub_graph, project_desc):
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        except OSError:
            pass
        return super().generate(sub_graph, project_desc)


class RaisesWhenStoppedTwice(RightBase):
    stopped = False

    def stop_job(self, job):
        if self.stopped:
            raise RuntimeError("stopped already")
        self.stopped = True
        super().stop_job(job)


class RaisesWhenStoppedEarly(RightBase):
    def stop_job(self, job):
        self.process.terminate()


class RaisesWhenStoppedLate(RightBase):
    def stop_job(self, job):
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGTERM)


class RaisesWhenCleanedTwice(RightBase):
    def cleanup_job(self, job):
        job.file.unlink()


class LeavesAFile(RightBase):
    def generate_job_resource(self, job):
        super().generate_job_resource(job)
        os.close(tempfile.mkstemp(prefix="left-over-")[0])


class ForgetsTheExitCode(RightBase):
    def submit_job(self, job):
        self.run(job)


class RunsTwice(RightBase):
    def submit_job(self, job):
        self.run(job)
        super().submit_job(job)


class NamesAreFiles(RightBase):
    def generate_job_resource(self, job):
        super().generate_job_resource(job)
        Path(job.job_context.work_folder, job.job_context.job_name).write_text("")


class JoinsWithSpaces(RightBase):
    def joined(self, argv: list[str]) -> str:
        return " ".join(argv[:2] + [shlex.quote(part) for part in argv[2:3]] + argv[3:])


class DropsTheEnvironment(RightBase):
    def run(self, job, **options: Any) -> int:
        return super().run(job, env={"PATH": os.environ["PATH"]})


class SharesAFile(RightBase):
    def generate_job_resource(self, job):
        shared = Path(job.job_context.run_folder, "script.sh")
        if not shared.exists():
            shared.write_text(job.script)

    def run(self, job, **options: Any) -> int:
        return subprocess.call(["/bin/sh", f"{job.job_context.run_folder}/script.sh"])


class StartsInResources(RightBase):
    def generate_job_resource(self, job):
        super().generate_job_resource(job)
        subprocess.Popen(["/bin/sh", job.file]).wait(5)


class GeneratesADict(RightBase):
    def generate(self, sub_graph, project_desc):
        return {"script": super().generate(sub_graph, project_desc).script}


class KnowsWhoAsks(RightBase):
    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        job.user = os.environ.get("USER", "nobody")
        return job


class KnowsWhereItIs(RightBase):
    def generate(self, sub_graph, project_desc):
        job = super().generate(sub_graph, project_desc)
        job.folder = os.getcwd()
        return job


class AsksInAThread(RightBase):
    def generate(self, sub_graph, project_desc):
        thread = threading.Thread(target=lambda: AsksTheNetwork().generate(sub_graph, project_desc))
        thread.start()
        thread.join()
        return super().generate(sub_graph, project_desc)


class AsksADaemon(RightBase):
    def generate(self, sub_graph, project_desc):
        with socket.socket(socket.AF_UNIX) as channel, contextlib.suppress(OSError):
            channel.connect("/run/docker.sock")
        return super().generate(sub_graph, project_desc)


class SetsAVariable(RightBase):
    def generate(self, sub_graph, project_desc):
        os.environ["SLURM_CONF"] = str(sub_graph.name)
        return super().generate(sub_graph, project_desc)


class ReadsItsOwnConfig(RightBase):
    def generate(self, sub_graph, project_desc):
        Path("/etc/hosts").read_text()
        return super().generate(sub_graph, project_desc)


class PrintsItsProgress(RightBase):
    def generate(self, sub_graph, project_desc):
        os.write(1, b"generating\n")
        return super().generate(sub_graph, project_desc)


class TakesSignalsForSuccess(RightBase):
    """A negative returncode is not greater than 0."""

    def joined(self, argv):
        return f"exec {shlex.join(argv)}"

    def submit_job(self, job):
        code = self.run(job)
        if code > 0:
            raise subprocess.CalledProcessError(code, "job")


class FillsAPipe(RightBase):
    def run(self, job, **options):
        return super().run(job, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class CleansTheFolder(RightBase):
    def cleanup_job(self, job):
        shutil.rmtree(job.job_context.work_folder, ignore_errors=True)


class OneAtATime(RightBase):
    def run(self, job, **options):
        with open(Path(job.job_context.run_folder, "lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return super().run(job)


class OneFolderForAll(RightBase):
    def run(self, job, **options):
        return super().run(job, cwd=job.job_context.run_folder)


class WaitsInStop(RightBase):
    def stop_job(self, job):
        if self.process is not None:
            self.process.wait()


AGENT = """
import glob, os, subprocess, sys, time
runs, known, end = sys.argv[1] + "/.aiflow/runs", set(), time.monotonic() + 60
while os.path.exists(sys.argv[1]) and time.monotonic() < end:
    for path in set(glob.glob(runs + "/*/jobs/*/*/queued")) - known:
        known.add(path)
        folder = os.path.dirname(path)
        command = "sleep 2; echo $$ > pid.part; mv pid.part pid; cd work; sh -c \\"$0\\"; echo $? > ../code.part; "
        command += "mv ../code.part ../code"
        subprocess.Popen(["sh", "-c", command, open(path).read()], cwd=folder, start_new_session=True)
    time.sleep(0.05)
"""


class AgentGoesOn(RightBase):
    """An agent that is nobody's child starts what was queued two seconds later; what waits cannot be stopped."""

    agent: subprocess.Popen[bytes] | None = None

    def generate(self, sub_graph, project_desc):
        if self.agent is None and "AIFLOW_MARK" not in os.environ:  # in the client: as if it had been there before
            type(self).agent = subprocess.Popen([sys.executable, "-c", AGENT, project_desc.root],
                                                start_new_session=True, stdout=subprocess.DEVNULL)  # fmt: skip
        return super().generate(sub_graph, project_desc)

    def submit_job(self, job):
        folder = Path(job.job_context.work_folder)
        (folder / "part").write_text(job.script)
        (folder / "part").rename(folder / "queued")
        while not (folder / "code").exists():
            time.sleep(0.02)
        if code := int((folder / "code").read_text()):
            raise subprocess.CalledProcessError(code, "job")

    def stop_job(self, job):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int(Path(job.job_context.work_folder, "pid").read_text()), signal.SIGTERM)


class CleansEveryFolder(RightBase):
    """Its pattern fits the folders of all attempts."""

    def cleanup_job(self, job):
        for folder in Path(job.job_context.run_folder).glob("jobs/*/*/work/*"):
            folder.unlink()


class HidesWhoItIs(RightBase):
    """What is configured, and no more."""

    def run(self, job, **options):
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIFLOW_")}
        return super().run(job, env=env)


class KnowsItsConfigOnly(RightBase):
    """What is configured, and who it is, and nothing that was added."""

    def run(self, job, **options):
        added = job.job_context.environment
        return super().run(job, env={name: value for name, value in os.environ.items() if name not in added})


class OneFolderForRetries(RightBase):
    def run(self, job, **options):
        folder = Path(job.job_context.work_folder).parent / "shared"
        folder.mkdir(exist_ok=True)
        return super().run(job, cwd=folder, env={**os.environ, "AIFLOW_WORK_FOLDER": str(folder)})


class CheckpointsForEachAttempt(RightBase):
    def run(self, job, **options):
        return super().run(job, env={**os.environ, "AIFLOW_CHECKPOINT_DIR": os.environ["AIFLOW_WORK_FOLDER"]})


class TakesCommandsAsTheyAre(RightBase):
    """What stands in braces is not filled in."""

    def generate(self, sub_graph, project_desc):
        commands = [node.properties["command"] for node in sub_graph.nodes]
        lines = [command if isinstance(command, str) else self.joined(command) for command in commands]
        return Job(sub_graph.config, "\n".join(lines) + "\n")


class LeavesAFileInTmp(RightBase):
    """Whatever TMPDIR says, and without a word of whose it is."""

    def submit_job(self, job):
        os.close(tempfile.mkstemp(prefix="kit-left-over-", dir="/tmp")[0])
        super().submit_job(job)


class LeavesAFileOfFailures(RightBase):
    """It does not come to the line that removes it."""

    def submit_job(self, job):
        path = tempfile.mkstemp(prefix="left-over-")[1]
        super().submit_job(job)
        os.unlink(path)


class WholeLogs(af.AbstractJobHandler):
    """Once there is more, it gives the log from its beginning."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process, self.folder = process, folder

    def wait(self, timeout=None):
        return af.JobState.FAILED if self.process.wait(timeout) else af.JobState.FINISHED

    def logs(self, stream="stdout", offset=0):
        written = (self.folder / f"kit.{stream}").read_bytes()
        return written if len(written) > offset else b""


class IgnoresTheOffset(RightBase):
    def submit_job(self, job):
        folder = Path(job.job_context.work_folder)
        with open(folder / "kit.stdout", "wb") as out, open(folder / "kit.stderr", "wb") as error:
            self.process = subprocess.Popen(["/bin/sh", job.file], stdout=out, stderr=error)
        return WholeLogs(self.process, folder)


class LeavesAnotherS(RightBase):
    """A program that it calls leaves the file, in a place of its own."""

    def submit_job(self, job):
        name = job.job_context.native_id.replace("/", "-")
        subprocess.run(["mkdir", f"/dev/shm/kit-left-over{name}"], check=False)
        super().submit_job(job)
