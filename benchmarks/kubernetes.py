"""What a run costs a cluster and its client, on the tests' own Kubernetes (``tests/clusters/kubernetes``).

``requests``: of a run of so many jobs, submit to end, from the API server's audit log. ``submit``: CPU of the client
beside a bare loop that sends the same Job, Secret and resume over the same connection, and beside the official client's
own calls where it is installed; no pod is let in meanwhile. ``rate``: submissions a second with 60 ms before each
request, with as many calls at once as the platform takes and with one. ``noticed``: from a bare watch that sees the
pod's end to the record of it. ``memory``: of a driver that watches so many jobs, each with a pod that no node takes.
"""

# ruff: noqa: E402
from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]  # a package is called like this file
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests/clusters/kubernetes")]

import argparse
import contextlib
import copy
import importlib.util
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes_bed import Bed

from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run
from aiflow_ext_kubernetes import manifest, sending
from aiflow_ext_kubernetes.platform import KubernetesPlatform
from aiflow_ext_kubernetes.server import Server, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target


def project(folder: Path, jobs: int, command: str = "true", **keys: Any) -> Path:
    """A project of so many jobs that run ``command``."""
    body = "".join(f"    with af.job('j{number}'):\n        af.cmd({command!r})\n" for number in range(jobs))
    (folder / "workflow.py").write_text(f"import aiflow_ext as af\n\n@af.workflow\ndef bench():\n{body}")
    config: dict[str, Any] = {f"j{number}": {} for number in range(jobs)}
    config["*"] = {"platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1", **keys}
    (folder / "workflow.yaml").write_text(json.dumps(config))
    return folder


@contextmanager
def place(bed: Bed, *, closed: bool = False) -> Iterator[tuple[str, Path]]:
    """A fresh namespace and folder; ``closed``: no pod is let in."""
    with bed.namespace() as namespace, tempfile.TemporaryDirectory() as folder:
        if closed:
            quota = {"metadata": {"name": "closed"}, "spec": {"hard": {"pods": "1"}}}
            bed.api.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
            container = {"name": "first", "image": "localhost/busybox:1"}
            pod = {"metadata": {"name": "first"}, "spec": {"containers": [container], "nodeSelector": {"no": "node"}}}
            bed.api.create(f"/api/v1/namespaces/{namespace}/pods", pod)
        yield namespace, Path(folder)


SPEAKS = "for second in 1 2 3; do echo $second; sleep 1; done"


def requests(bed: Bed, jobs: int) -> None:
    """Requests of a run, by the audit log: of jobs that need nothing, and of those that cost most."""
    os.environ["BENCH_SECRET"] = "5f1c0b7e9a"
    _requests(bed, jobs, "true")
    _requests(bed, jobs, SPEAKS, env={"TOKEN": {"secret": "env:BENCH_SECRET"}})


def _requests(bed: Bed, jobs: int, command: str, **keys: Any) -> None:
    with place(bed) as (namespace, folder):
        home = project(folder, jobs, command, namespace=namespace, **keys)
        mark, began = bed.audit_mark(), time.monotonic()
        run = prepare_run(home, jobs=jobs)
        spent = time.process_time()
        record = run.driver.run()
        spent, seconds = time.process_time() - spent, time.monotonic() - began
        log = bed.audit_log(mark, agent="aiflow-ext")
        verbs: dict[str, int] = {}
        for each in log:
            what = f"{each['verb']} {each.get('objectRef', {}).get('resource', '')}"
            verbs[what] = verbs.get(what, 0) + 1
        bar = 6 * jobs + 2 * seconds / 60
        assert str(record.state) == "FINISHED"
        kind = "that speak for 3 s and have a Secret" if keys else "that need nothing"
        print(f"requests  {len(log)} for {jobs} jobs {kind} in {seconds:.0f} s, {len(log) / jobs:.2f} a job (bar "
              f"{bar:.0f}); {spent * 1000 / jobs:.1f} ms CPU a job")  # fmt: skip
        print(f"          {', '.join(f'{count} {what}' for what, count in sorted(verbs.items()))}")


def submit(bed: Bed, jobs: int, rounds: int) -> None:
    """CPU to submit, beside bare loops."""
    ours, bare, official = [], [], []
    os.environ["BENCH_SECRET"] = "5f1c0b7e9a"
    for number in range(rounds):
        with place(bed, closed=True) as (namespace, folder):
            home = project(folder, jobs, namespace=namespace, env={"TOKEN": {"secret": "env:BENCH_SECRET"}})
            ours.append(_submitted(home, jobs))
        with place(bed, closed=True) as (namespace, folder):
            things = _things(jobs, f"bare-{number}")
            there = Target(namespace=namespace)
            namespace_of(there)
            began = time.process_time()
            for job, secret in things:
                sending.create(there, job, secret)
                sending.resume(there, job["metadata"]["name"])
            bare.append(time.process_time() - began)
        if importlib.util.find_spec("kubernetes") is not None:
            with place(bed, closed=True) as (namespace, folder):
                official.append(_official(namespace, _things(jobs, f"official-{number}")))
    ratio = statistics.median(ours) / statistics.median(bare)
    its = f"{statistics.median(official) * 1000 / jobs:.2f}" if official else "not tried (pip install kubernetes)"
    print(
        f"submit    {statistics.median(ours) * 1000 / jobs:.2f} ms CPU a job; bare loop "
        f"{statistics.median(bare) * 1000 / jobs:.2f}: {ratio:.2f}x (bar 3x); official client's calls {its}"
    )


def _submitted(home: Path, jobs: int) -> float:
    """Seconds of CPU from the start of a driver until all jobs are acknowledged."""
    waiting, done = {f"j{number}" for number in range(jobs)}, threading.Event()
    took: list[float] = []

    def note(transition: Any) -> None:
        if transition.state is JobState.QUEUED:
            waiting.discard(transition.job)
            if not waiting and not took:
                took.append(time.process_time())
                done.set()

    run = prepare_run(home, jobs=jobs, listener=note)
    began = time.process_time()
    driver = threading.Thread(target=run.driver.run)
    driver.start()
    done.wait(300)
    run.driver.stop(1.0)
    driver.join()
    return took[0] - began


DELAY = 0.06  # seconds before each request


def rate(bed: Bed, jobs: int) -> None:
    """Submissions a second to a server that is far away: of jobs that no node takes, and of jobs that end meanwhile,
    whose logs are copied and which are removed by the same client."""
    once = Server._once

    def late(self: Server, *args: Any, **options: Any) -> Any:
        time.sleep(DELAY)
        return once(self, *args, **options)

    usual = KubernetesPlatform.calls_at_once
    Server._once = late  # type: ignore[method-assign]
    try:
        for calls in (1, usual):
            KubernetesPlatform.calls_at_once = calls
            for closed in (True, False):
                with place(bed, closed=closed) as (namespace, folder):
                    seconds = _acknowledged(project(folder, jobs, namespace=namespace), jobs, stop=closed)
                kind = "that no node takes" if closed else "that end at once"
                print(f"rate      {jobs / seconds:.1f} submissions a second, {calls} calls at once, {jobs} jobs {kind} "
                      "(bar 10)")  # fmt: skip
    finally:
        Server._once = once  # type: ignore[method-assign]
        KubernetesPlatform.calls_at_once = usual


def _acknowledged(home: Path, jobs: int, *, stop: bool) -> float:
    """Seconds from the first intent until all jobs are acknowledged; then the run is stopped, or goes on to its end."""
    waiting, done = {f"j{number}" for number in range(jobs)}, threading.Event()
    times: list[float] = []

    def note(transition: Any) -> None:
        if not done.is_set():
            times.append(time.monotonic())
        if transition.state not in (JobState.INIT, JobState.SUBMITTING):
            waiting.discard(transition.job)
            if not waiting and not done.is_set():
                times[1:] = [times[-1]]
                done.set()

    run = prepare_run(home, jobs=60, listener=note)
    driver = threading.Thread(target=run.driver.run)
    driver.start()
    if not done.wait(600):
        raise SystemExit(f"not acknowledged within ten minutes: {sorted(waiting)}")
    seconds = times[1] - times[0]
    if stop:
        run.driver.stop(1.0)
    driver.join()
    return seconds


def _things(jobs: int, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The objects that a run sends, under other names."""
    with tempfile.TemporaryDirectory() as folder:
        from aiflow_ext.run import render_project

        home = project(Path(folder), 1, namespace="x", env={"TOKEN": {"secret": "env:BENCH_SECRET"}})
        content = json.loads(json.dumps(render_project(home)[0]["content"]).replace("${run}", "bench"))
    found = []
    for number in range(jobs):
        job, secret = copy.deepcopy(content["job"]), copy.deepcopy(content["secret"])
        for thing in (job, secret):
            thing["metadata"]["name"] = f"{name}-{number}"
        found.append((job, secret))
    return found


def _official(namespace: str, things: list[tuple[dict[str, Any], dict[str, Any]]]) -> float:
    """The same by the official client's generated calls."""
    from kubernetes import client, config

    config.load_kube_config(os.environ["KUBECONFIG"])
    batch, core = client.BatchV1Api(), client.CoreV1Api()
    began = time.process_time()
    for job, secret in things:
        made = batch.create_namespaced_job(namespace, job)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made.metadata.name, "uid": made.metadata.uid}
        secret["metadata"]["ownerReferences"] = [owner]
        core.create_namespaced_secret(namespace, secret)
        batch.patch_namespaced_job(made.metadata.name, namespace, manifest.resume_of(None))
    return time.process_time() - began


def noticed(bed: Bed, jobs: int) -> None:
    """From the API server's having a pod's end to our record of it."""
    with place(bed) as (namespace, folder):
        home = project(folder, jobs, "sleep 1", namespace=namespace)
        seen: dict[str, float] = {}
        recorded: dict[str, float] = {}
        server = server_of(Target())
        path = f"/api/v1/namespaces/{namespace}/pods"
        version = server.get(path)["metadata"]["resourceVersion"]
        stream = server.stream(path, silence=300, watch="true", resourceVersion=version)

        def bare() -> None:
            for line in _until_closed(stream):
                pod = json.loads(line)["object"]
                states = [each["state"] for each in (pod.get("status") or {}).get("containerStatuses") or ()]
                if states and "terminated" in states[0]:
                    seen.setdefault(pod["metadata"]["labels"]["aiflow-ext/job"], time.monotonic())

        def note(transition: Any) -> None:
            if transition.state.ended:
                recorded[transition.job] = time.monotonic()

        threading.Thread(target=bare, daemon=True).start()
        prepare_run(home, jobs=8, listener=note).driver.run()
        stream.close()
        late = sorted(recorded[name] - seen[name] for name in recorded if name in seen)
        print(f"noticed   {statistics.median(late):.3f} s median, {late[-1]:.3f} s at most after the server had it, "
              f"of {len(late)} (bar 0.3)")  # fmt: skip


def _until_closed(stream: Any) -> Iterator[bytes]:
    with contextlib.suppress(Exception):
        yield from stream.lines()


def memory(bed: Bed, jobs: int) -> None:
    """Resident memory of a driver that watches."""
    with place(bed) as (namespace, folder):
        home = project(folder, jobs, namespace=namespace, node_selector={"there": "is-none"})
        argv = [sys.executable, "-m", "aiflow_ext", "run", str(home), "--jobs", str(jobs), "--on-interrupt", "leave"]
        driver = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            status = [sys.executable, "-m", "aiflow_ext", "status", "latest", "--project", str(home), "--json"]
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline:
                done = subprocess.run(status, capture_output=True, text=True)
                told = json.loads(done.stdout).get("jobs", []) if done.stdout.startswith("{") else []
                why = [job for job in told if job["attempts"] and "Unschedulable" in str(job["attempts"][-1]["reason"])]
                if len(why) == jobs:
                    break
                time.sleep(2)
            before = _status(driver.pid)
            time.sleep(30)  # what it costs while nothing happens
            after = _status(driver.pid)
            print(f"memory    {after['VmRSS'] / 1024:.0f} MB resident (most {after['VmHWM'] / 1024:.0f}), watching "
                  f"{len(why)} jobs (bar 65); {after['cpu'] - before['cpu']:.2f} s CPU in 30 s")  # fmt: skip
        finally:
            stop = [sys.executable, "-m", "aiflow_ext", "stop", "latest", "--project", str(home), "--grace", "1"]
            subprocess.run(stop, capture_output=True)
            driver.wait(300)


def _status(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return {**found, "cpu": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", default=["requests", "submit", "rate", "noticed", "memory"])
    parser.add_argument("--bed", default="bench", help="the bed's name; one that is up is used and left")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--many", type=int, default=500, help="jobs that are watched")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    bed = Bed(args.bed)
    ours = bed.up()
    os.environ["KUBECONFIG"] = str(bed.kubeconfig)
    try:
        for what in args.what:
            if what == "requests":
                requests(bed, args.jobs)
            elif what == "submit":
                submit(bed, args.jobs, args.rounds)
            elif what == "rate":
                rate(bed, args.jobs)
            elif what == "noticed":
                noticed(bed, min(args.jobs, 24))
            elif what == "memory":
                memory(bed, args.many)
            else:
                parser.error(f"nothing is called {what!r}")
    finally:
        if ours:
            bed.down()


if __name__ == "__main__":
    main()
