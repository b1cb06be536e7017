"""What jobs go through on a real cluster is told in the cluster's own words, and their end as it was.

Most of them are jobs of one run: what takes long takes long beside the others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from kubernetes_bed.waiting import until
from relay import relaying

from aiflow_ext import BaseJob, JobContext
from aiflow_ext.host.defaults import allocate_id
from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext_kubernetes import handler
from aiflow_ext_kubernetes.access import RULES

BUSYBOX = {"image": NAMES["busybox"], "securityContext": {"allowPrivilegeEscalation": False}}
BESIDE = {
    "spec": {
        "initContainers": [{"name": "first", "command": ["true"], **BUSYBOX}],
        "containers": [{"name": "sidecar", "command": ["sh", "-c", "sleep 600"], **BUSYBOX}],
    }
}
FETCHING = "echo fetching; echo no data >&2; echo no such host >/dev/termination-log; exit 3"
FAILING = {"name": "fetch", "command": ["sh", "-c", FETCHING], **BUSYBOX}
LINES = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; printf end; printf 'a\\nb' >&2; exit 3"
EATS = "python3 -c 'x = bytearray(400 << 20); print(len(x))'"
FROM_CLUSTER = 'echo "$PASSWORD"; echo $C_MODE; cat /mnt/db/password; echo; echo "$LITERAL"'
AWKWARD = b"".join(b"a\0b\xff %d\n" % number for number in range(20_000)) + b"\0\n\n" + b"\r5%" * 100_000
WRITES = (
    "import os, sys\ndata = b''.join(b'a\\0b\\xff %d\\n' % number for number in range(20_000)) + b'\\0\\n\\n'\n"
    "sys.stderr.buffer.write(data + b'\\r5%' * 100_000)"
)
LATE = 20  # seconds in which a container has certainly printed its first line, on a busy machine too
LEAVES = "trap '{}echo bye; exit 1' TERM; echo hello; while :; do sleep 0.1; done"
JOBS: dict[str, tuple[str | list[str], dict[str, Any]]] = {
    "eats": (EATS, {"image": NAMES["python"], "memory": "64Mi", "retries": 2, "grow": {"memory": 2}}),
    "says": ("echo no more data > $AIFLOW_REASON_FILE; exit 4", {}),
    "none": (["/no/such/program"], {}),
    "fails_beside": ("exit 6", {"pod_template": BESIDE}),
    "ends_beside": ("exit 0", {"pod_template": BESIDE}),
    "after_init": ("true", {"pod_template": {"spec": {"initContainers": [FAILING]}}}),
    "no_image": ("true", {"image": "localhost/no-such-image:1", "image_patience": 3}),
    "too_large": ("true", {"cpu": 1000, "start_within": 3}),
    "late": (LEAVES.format(""), {"timeout": LATE}),
    # It takes its time to go: longer than a log is waited for that has come to its end.
    "late_and_slow": (LEAVES.format("echo saving; sleep 4; "), {"timeout": LATE, "grace": 30}),
    "prints": (LINES, {}),
    "writes": (["python3", "-c", WRITES], {"image": NAMES["python"]}),
    "large": ("true", {"env_from": [{"config_map": "large"}]}),
    "modest": ("id -u; cat /proc/self/status | grep NoNewPrivs", {}),  # where pods have to be so
    "reads": (FROM_CLUSTER, {
        "env": {"PASSWORD": {"secret": "kubernetes:db/password"}, "LITERAL": "$(PASSWORD) $$ $x"},
        "env_from": [{"config_map": "c", "prefix": "C_"}], "volumes": [{"mount": "/mnt/db", "secret": "db"}],
    }),
}  # fmt: skip


def config(namespace: str, **keys: Any) -> dict[str, Any]:
    return {"platform": "kubernetes", "engine": "cmd_line", "image": NAMES["busybox"], "namespace": namespace,
            "pull_policy": "IfNotPresent", "grace": 1, **keys}  # fmt: skip


class Ended:
    """How each of :data:`JOBS` has ended."""

    def __init__(self, bed: Bed, namespace: str, record: RunRecord) -> None:
        self.bed, self.namespace, self.record = bed, namespace, record

    def __getitem__(self, job: str) -> AttemptRecord:
        last = self.record.jobs[job].last
        assert last is not None
        return last

    def log(self, job: str, stream: str = "stdout") -> str:
        return Path(self[job].folder, stream).read_text()


@pytest.fixture(scope="module")
def ended(bed_session: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    bed, root, restricted = bed_session, tmp_path_factory.mktemp("states"), "pod-security.kubernetes.io/enforce"
    with (
        pytest.MonkeyPatch.context() as patch,
        bed.namespace() as name,
        bed.namespace({restricted: "restricted"}) as other,
    ):
        patch.setenv("KUBECONFIG", str(bed.kubeconfig))
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        core = f"/api/v1/namespaces/{name}"
        bed.api.create(f"{core}/secrets", {"metadata": {"name": "db"}, "stringData": {"password": "p $(x) w"}})
        bed.api.create(f"{core}/configmaps", {"metadata": {"name": "c"}, "data": {"MODE": "fast"}})
        bed.api.create(f"{core}/configmaps", {"metadata": {"name": "large"}, "data": {"LARGE": "x" * 200_000}})
        keys = {job: config(other if job == "modest" else name, **own) for job, (_, own) in JOBS.items()}
        body = "".join(f"    with af.job({job!r}):\n        af.cmd({what!r})\n" for job, (what, _) in JOBS.items())
        (root / "workflow.py").write_text(f"import aiflow_ext as af\n\n@af.workflow\ndef states():\n{body}")
        (root / "workflow.yaml").write_text(json.dumps(keys))
        yield Ended(bed, name, prepare_run(root, jobs=len(JOBS)).driver.run())


def told(attempt: AttemptRecord) -> tuple[str, int | None, str]:
    return str(attempt.state), attempt.exit_code, str(attempt.reason)


def test_out_of_memory_is_reported_and_the_next_attempt_gets_more(ended: Ended) -> None:
    """Of three attempts, because containerd may not know of one that it was the kernel that ended it: it says so only
    where the event of that comes before the container's end."""
    attempts = ended.record.jobs["eats"].attempts
    assert [(str(each.state), each.exit_code) for each in attempts] == [("FAILED", 137)] * 3
    reasons = [each.reason or "" for each in attempts if each.out_of_memory]
    for limit in ("64Mi", "128Mi"):
        assert [each for each in reasons if f"out of memory (OOMKilled), at its limit of {limit}" in each], reasons


def test_the_jobs_own_reason_is_reported(ended: Ended) -> None:
    assert told(ended["says"]) == ("FAILED", 4, "no more data")


def test_a_program_that_is_not_there_is_127(ended: Ended) -> None:
    state, code, reason = told(ended["none"])
    assert (state, code) == ("FAILED", 127)
    assert "no such program" in reason


def test_stderr_has_every_byte_where_the_image_has_a_python(ended: Ended) -> None:
    assert told(ended["writes"])[0] == "FINISHED"
    found = Path(ended["writes"].folder, "stderr").read_bytes()
    assert (len(found), found == AWKWARD) == (len(AWKWARD), True)
    assert ended.log("writes") == ""


def test_an_environment_that_the_node_does_not_take_is_told(ended: Ended) -> None:
    assert told(ended["large"])[0] == "FAILED"
    assert (ended.log("large"), ended.log("large", "stderr")) == ("", "exec /bin/sh: argument list too long\n")


def test_other_containers_do_not_decide(ended: Ended) -> None:
    assert told(ended["fails_beside"])[:2] == ("FAILED", 6)
    assert told(ended["ends_beside"])[0] == "FINISHED"


def test_an_init_container_that_fails_is_named(ended: Ended) -> None:
    words = "init container fetch has failed, and the job was not started: no such host"
    assert told(ended["after_init"]) == ("FAILED", None, words)
    assert sorted(ended.log("after_init", "container-fetch.log").splitlines()) == ["fetching", "no data"]
    assert ended.log("after_init") == ""


def test_the_pod_and_its_node_are_told(ended: Ended) -> None:
    for job in ("says", "ends_beside", "after_init", "no_image", "late"):
        attempt = ended[job]
        assert str(attempt.instance).startswith(f"{attempt.native_id}-")
        assert attempt.node == ended.bed.layout.node
    assert str(ended["too_large"].instance).startswith(f"{ended['too_large'].native_id}-")
    assert ended["too_large"].node is None


def test_an_image_that_does_not_exist_is_given_up(ended: Ended) -> None:
    state, code, reason = told(ended["no_image"])
    assert (state, code) == ("FAILED", None)
    assert "no-such-image" in reason
    assert "Image" in reason
    assert ended.log("no_image", "stderr") == ""  # there was no log to keep, and none is missed


def test_what_does_not_start_in_time_has_failed(ended: Ended) -> None:
    state, _, reason = told(ended["too_large"])
    assert state == "FAILED"
    assert "not started within 3 s" in reason
    assert "Insufficient cpu" in reason


@pytest.mark.parametrize(("job", "wanted"), [("late", "hello\nbye\n"), ("late_and_slow", "hello\nsaving\nbye\n")])
def test_a_time_out_keeps_the_log(ended: Ended, job: str, wanted: str) -> None:
    state, _, reason = told(ended[job])
    assert state == "FAILED"
    assert "timeout" in reason
    assert ended.log(job) == wanted
    assert "aiflow-ext" not in ended.log(job, "stderr")


def test_the_log_outlives_the_pod(ended: Ended) -> None:
    assert ended.log("prints") == "".join(f"line {number}\n" for number in range(1, 3001)) + "end"
    assert ended.log("prints", "stderr") == "a\nb"
    jobs = f"/apis/batch/v1/namespaces/{ended.namespace}/jobs"
    assert until(lambda: ended.bed.api.get(jobs)["items"] == [], 30)


def test_restricted_pods_are_let_in(ended: Ended) -> None:
    assert told(ended["modest"])[0] == "FINISHED", ended["modest"].reason
    assert ended.log("modest") == "1000\nNoNewPrivs:\t1\n"


def test_secrets_and_config_maps_of_the_cluster_reach_the_job(ended: Ended) -> None:
    assert ended.log("reads") == "p $(x) w\nfast\np $(x) w\n$(PASSWORD) $$ $x\n"


# -- with a run of their own ------------------------------------------------------------------------------------------


@pytest.fixture
def there(
    project: Any, bed: Bed, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """``there(command, **keys)``: a project with one command job in the test's namespace."""
    monkeypatch.setenv("KUBECONFIG", str(bed.kubeconfig))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def make(command: str | list[str], **keys: Any) -> Path:
        project.jobs(f"with af.job('job'):\n    af.cmd({command!r})", json.dumps({"job": config(namespace, **keys)}))
        root: Path = project.root
        return root

    return make


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cpu": 1000}, ["Insufficient cpu"]),
        ({"volumes": [{"mount": "/settings", "config_map": "nobody-made"}]},
         ["FailedMount: ", 'configmap "nobody-made" not found']),
    ],
    ids=["the scheduler's", "the node's"],
)  # fmt: skip
def test_what_cannot_start_waits_with_the_clusters_words(
    there: Callable[..., Path], keys: dict[str, Any], words: list[str]
) -> None:
    run = prepare_run(there("true", **keys))
    thread = threading.Thread(target=run.driver.run)
    thread.start()

    def waits() -> bool:
        last = run.record.jobs["job"].last
        return last is not None and str(last.state) == "QUEUED" and all(each in str(last.reason) for each in words)

    try:
        assert until(waits, 300), run.record.summary()
    finally:
        run.driver.stop(1.0)
        thread.join(60)
    assert str(run.record.jobs["job"].state) == "STOPPED"


def test_jobs_whose_events_come_late_are_not_lost(
    project: Any, bed: Bed, namespace: str, allowed: Callable[..., Path], cli: Callable[..., Any],
    cli_env: dict[str, str],
) -> None:  # fmt: skip
    """Pods' events come at once, and those of Jobs not before the run has ended: a Job is asked for by its name."""
    rules = [{"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)} for rule in RULES]
    kubeconfig = allowed(rules)
    content = json.loads(kubeconfig.read_text())
    keys = config(namespace)
    bad = {**keys, "pod_template": {"spec": {"initContainers": [FAILING]}}}
    project.jobs("with af.job('good'): af.cmd('true')\nwith af.job('bad'): af.cmd('true')",
                 json.dumps({"good": keys, "bad": bad}))  # fmt: skip
    with relaying(bed) as relay:
        content["clusters"][0]["cluster"] = {"server": relay.url}
        kubeconfig.write_text(json.dumps(content))
        done = cli("run", project.root, "--jobs", "2", "--json", env={**cli_env, "KUBECONFIG": str(kubeconfig)})
        assert (relay.late.is_set(), relay.open.is_set()) == (True, False)
    jobs = {job["name"]: job["attempts"] for job in json.loads(done.stdout)["jobs"]}
    assert [attempt["state"] for attempt in jobs["good"]] == ["FINISHED"]
    assert [(attempt["state"], attempt["reason"]) for attempt in jobs["bad"]] == [
        ("FAILED", "init container fetch has failed, and the job was not started: no such host")
    ]


def test_a_stop_whose_node_is_gone_names_node_and_pod_and_is_tried_again_by_a_later_driver_too(
    there: Callable[..., Path], bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PATIENCE", 2.0)
    root = there("sleep 600")
    run = prepare_run(root)
    thread = threading.Thread(target=run.driver.run)
    thread.start()

    def running() -> str | None:
        attempt = run.record.jobs["job"].last
        return str(attempt.reason) if attempt is not None and str(attempt.state) == "RUNNING" else None

    def told() -> bool:
        attempt = run.record.jobs["job"].last
        assert attempt is not None
        words = f"node {bed.layout.node} has not confirmed that pod {attempt.instance} is gone"
        return "stopping it failed, and is tried again" in str(running()) and words in str(running())

    assert until(lambda: running() is not None, 300)
    bed.kill("kubelet")
    run.driver.stop(1.0)
    assert until(told, 300), run.record.summary()
    run.driver.leave()
    thread.join(300)
    run.close()
    run = prepare_resume(run.record.run_id, project=str(root))
    assert told()  # it is on record
    thread = threading.Thread(target=run.driver.run)
    thread.start()
    assert until(lambda: "it is being stopped" in str(running()), 300), run.record.summary()
    assert until(told, 300), run.record.summary()
    bed.start("kubelet")
    thread.join(300)
    run.close()
    assert str(run.record.jobs["job"].state) == "STOPPED"


@pytest.mark.parametrize("kind", ["job", "secret"])
def test_a_name_that_another_object_has_is_reported_and_not_changed(
    there: Callable[..., Path], bed: Bed, namespace: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("HIDDEN", "x")
    run = prepare_run(there("true", env={"TOKEN": {"secret": "env:HIDDEN"}}))
    name = allocate_id(BaseJob(JobContext(run.record.run_id, "job", 1)))
    if kind == "job":
        image = {"name": "theirs", "image": "localhost/busybox:1", "command": ["sleep", "1000"]}
        theirs = {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [image]}}}
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        bed.api.create(path, {"metadata": {"name": name}, "spec": theirs})
    else:
        path = f"/api/v1/namespaces/{namespace}/secrets"
        bed.api.create(path, {"metadata": {"name": name}, "stringData": {"env.TOKEN": "theirs"}})
    last = run.driver.run().jobs["job"].last
    assert last is not None
    state, _, reason = told(last)
    assert state == "FAILED"
    assert f"there is a {kind.title()} {name} in namespace {namespace} already, and it is not ours" in reason
    left = bed.api.get(f"{path}/{name}")["metadata"]
    assert ("deletionTimestamp" in left, left.get("ownerReferences")) == (False, None)
    if kind == "secret":
        assert bed.api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"] == []
