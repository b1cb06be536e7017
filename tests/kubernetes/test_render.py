"""What would be sent: offline, complete, and refused where it cannot be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.model.errors import AiflowError, ConfigError
from aiflow_ext.model.job import JobContext
from aiflow_ext.run import render_project
from aiflow_ext.run.operations.render import permissions
from aiflow_ext_kubernetes import sizes
from aiflow_ext_kubernetes.manifest import labels_of, literal

STEPS = "def one():\n    return 1\n\ndef two(x):\n    print(x)\n"
PYTHON = "with af.job('a'):\n    af.python(one)"
COMMAND = "with af.job('a'):\n    af.cmd('echo hello')"


def rendered(project: Any, body: str = COMMAND, engine: str = "cmd_line", **keys: Any) -> dict[str, Any]:
    config: dict[str, Any] = dict.fromkeys(re.findall(r"af.job\('(.)'\)", body))
    config["*"] = {"platform": "kubernetes", "engine": engine, "image": "team/ml:1", **keys}
    project.jobs(body, json.dumps(config), STEPS)
    found: dict[str, Any] = render_project(project.root)[0]["content"]
    return found


def pod(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["job"]["spec"]["template"]["spec"]
    return found


def container(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod(content)["containers"][0]
    return found


def refused(project: Any, *args: Any, **keys: Any) -> str:
    with pytest.raises(AiflowError) as caught:
        rendered(project, *args, **keys)
    return str(caught.value)


def test_a_command_needs_no_secret_and_no_archive(project: Any) -> None:
    content = rendered(project)
    assert content["secret"] is None
    assert container(content)["command"][-3:] == ["/bin/sh", "-c", "echo hello"]
    assert content["job"]["spec"]["suspend"] is True
    assert content["start"]["spec"] == {"suspend": False}
    assert "project" not in content


@pytest.mark.parametrize(
    ("name", "label"),
    [("train_model", r"train_model"), ("Train", "Train"), ("v1.2", r"v1\.2"), ("été", "t-[0-9a-f]{8}"),
     ("x" * 63, "x{63}"), ("x" * 64, "x+-[0-9a-f]{8}"), ("_a", "a-[0-9a-f]{8}")],
)  # fmt: skip
def test_a_jobs_name_is_its_label_where_it_can_be_one(name: str, label: str) -> None:
    labels = labels_of(JobContext("run", name, 1))
    assert re.fullmatch(label, labels["aiflow-ext/job"])


def test_a_python_job_has_payload_and_project(project: Any) -> None:
    content = rendered(project, PYTHON, "python")
    assert set(content["secret"]["stringData"]) == {"payload.json", "start.py"}
    assert content["project"]["at"].endswith("-project")
    assert container(content)["command"][-2:] == ["python3", "/aiflow/in/start.py"]


def test_no_client_is_imported_and_nothing_is_asked(project: Any) -> None:
    rendered(project, PYTHON, "python")
    script = (
        "import sys, aiflow_ext as af\nfrom aiflow_ext.run import render_project\naf.plugins()\n"
        "listed = set(sys.modules)\nrender_project(sys.argv[1])\n"
        "heavy = {'kubernetes', 'urllib3', 'requests', 'http.client'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(name for name in listed if name.startswith('aiflow_ext_k')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(project.root)], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


def test_the_restricted_standard_is_met_by_default(project: Any) -> None:
    content = rendered(project)
    assert pod(content)["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container(content)["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod(content)["automountServiceAccountToken"] is False


def test_resources_secrets_and_places_reach_the_pod(project: Any) -> None:
    content = rendered(
        project, cpu=0.5, memory="1.5G", gpu=2, limits={"cpu": 2}, namespace="ml", pull_secrets=["regcred"],
        service_account="trainer", node_selector={"disk": "ssd"},
        env={"A": "$(HOME) $$ $x", "B": {"secret": "kubernetes:s/k"}},
        env_from=[{"secret": "s3"}, {"config_map": "c", "prefix": "C_"}], timeout=60,
        volumes=[{"mount": "/data", "claim": "data", "read_only": True}, {"mount": "/scratch", "empty_dir": True}],
    )  # fmt: skip
    spec, main = pod(content), container(content)
    assert main["resources"] == {
        "requests": {"cpu": "500m", "memory": "1500M", "nvidia.com/gpu": "2"},
        "limits": {"memory": "1500M", "nvidia.com/gpu": "2", "cpu": "2"},
    }
    env = {each["name"]: each for each in main["env"]}
    assert env["A"]["value"] == "$$(HOME) $$$ $x"
    assert env["B"]["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert main["envFrom"] == [{"secretRef": {"name": "s3"}}, {"prefix": "C_", "configMapRef": {"name": "c"}}]
    assert {"name": "aiflow-volume-0", "mountPath": "/data", "readOnly": True} in main["volumeMounts"]
    assert {"name": "aiflow-volume-1", "emptyDir": {}} in spec["volumes"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("trainer", True)
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["activeDeadlineSeconds"] > 60  # on the pod: a Job's own would take the log along
    assert "activeDeadlineSeconds" not in content["job"]["spec"]


def test_scheduling_and_shared_memory_reach_the_pod(project: Any) -> None:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": []}]}}
    rule = {"topologyKey": "rack", "maxSkew": 9, "minDomains": 2}
    template = {"spec": {"priorityClassName": "low", "affinity": {"podAffinity": {"x": []}},
                         "topologySpreadConstraints": [rule]}}  # fmt: skip
    spread = [{"over": "topology.kubernetes.io/zone"},
              {"over": "rack", "skew": 2, "required": True, "labels": {"team": "ml"}}]  # fmt: skip
    content = rendered(project, priority_class="high", affinity={"nodeAffinity": node}, spread=spread, shm="2Gi",
                       pod_template=template)  # fmt: skip
    spec, main = pod(content), container(content)
    assert spec["priorityClassName"] == "high"
    assert spec["affinity"] == {"podAffinity": {"x": []}, "nodeAffinity": node}
    rack, zone = sorted(spec["topologySpreadConstraints"], key=lambda each: len(each["topologyKey"]))
    run = content["job"]["metadata"]["labels"]["aiflow-ext/run"]
    assert zone == {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"aiflow-ext/run": run}}}  # fmt: skip
    assert rack == {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2,
                    "labelSelector": {"matchLabels": {"team": "ml"}}}  # fmt: skip
    assert {"name": "aiflow-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in spec["volumes"]
    assert {"name": "aiflow-shm", "mountPath": "/dev/shm"} in main["volumeMounts"]


def test_a_job_of_a_queue_is_handed_to_kueue_and_not_resumed(project: Any) -> None:
    content = rendered(project, queue="team-a")
    assert content["job"]["spec"]["suspend"] is True
    label = "kueue.x-k8s.io/queue-name"
    assert label not in content["job"]["metadata"]["labels"]  # Kueue might start it before all is there that it needs
    assert content["start"] == {
        "metadata": {"annotations": {"aiflow-ext/resumed": "true"}, "labels": {label: "team-a"}},
    }


def test_a_command_for_an_image_without_a_shell_is_sent_as_it_is(project: Any) -> None:
    content = rendered(project, "with af.job('a'):\n    af.cmd(['/app', '$(X)'])", distroless=True)
    assert container(content)["command"] == ["/app", "$$(X)"]
    assert content["job"]["spec"]["template"]["metadata"]["annotations"]["aiflow-ext/one-stream"] == "true"
    assert "a shell runs its command" in refused(project, distroless=True)
    assert "needs a python" in refused(project, PYTHON, "python", distroless=True)


def test_a_secret_of_this_machine_travels_in_a_secret(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF", "hidden value")
    content = rendered(project, env={"TOKEN": {"secret": "env:HF"}})
    assert content["secret"]["stringData"] == {"env.TOKEN": "${secret:env:HF}"}
    assert "hidden value" not in json.dumps(content)


def test_the_role_names_each_verb(project: Any) -> None:
    rendered(project, namespace="ml")
    text = permissions(project.root)["kubernetes"]
    assert 'resources: ["jobs"], verbs: [create, get, list, watch, patch, delete]' in text
    assert "namespace: ml" in text
    assert "*" not in text


def test_a_template_lies_under_what_we_say(project: Any) -> None:
    template = {
        "metadata": {"labels": {"team": "ml"}},
        "spec": {
            "priorityClassName": "low",
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "securityContext": {"runAsUser": 7},
            "volumes": [{"name": "tools", "emptyDir": {}}],
            "containers": [
                {"name": "job", "env": [{"name": "HOME", "value": "/h"}, {"name": "X", "value": "1"}],
                 "volumeMounts": [{"name": "tools", "mountPath": "/tools"}]},
                {"name": "sidecar", "image": "proxy:1"},
            ],
        },
    }  # fmt: skip
    content = rendered(project, pod_template=template, tolerations=[{"key": "b", "operator": "Exists"}], env={"X": "2"})
    spec, main = pod(content), container(content)
    assert [each["name"] for each in spec["containers"]] == ["job", "sidecar"]
    assert spec["securityContext"]["runAsUser"] == 7
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert [each["key"] for each in spec["tolerations"]] == ["a", "b"]
    env = {each["name"]: each.get("value") for each in main["env"]}
    assert (env["HOME"], env["X"]) == ("/h", "2")
    assert {"name": "tools", "mountPath": "/tools"} in main["volumeMounts"]
    assert content["job"]["spec"]["template"]["metadata"]["labels"]["team"] == "ml"


def test_of_a_variable_that_both_name_ours_is_sent(project: Any) -> None:
    both = [{"name": "A", "value": "theirs"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    template = {"spec": {"containers": [{"name": "job", "env": both}]}}
    content = rendered(project, pod_template=template, env={"A": {"secret": "kubernetes:s/k"}, "B": "ours"})
    env = {each["name"]: each for each in container(content)["env"]}
    assert env["A"] == {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert env["B"] == {"name": "B", "value": "ours"}


def test_a_template_can_be_a_file(project: Any) -> None:
    (project.root / "pod.yaml").write_text("kind: Pod\nspec: {priorityClassName: low}\n")
    assert pod(rendered(project, pod_template="pod.yaml"))["priorityClassName"] == "low"
    assert "pod_template" in refused(project, pod_template="none.yaml")
    for text in ("a: 2026-99-99", "- " * 100_000, "a: &a [*a]"):
        project.write(pod_yaml=text)
        assert "the pod template cannot be read" in refused(project, pod_template="pod.yaml")


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ({"spec": {"restartPolicy": "Always"}}, "restartPolicy Always contradicts"),
        ({"spec": {"containers": [{"name": "job", "command": ["x"]}]}}, "command of container job"),
        ({"spec": {"containers": [{"image": "x"}]}}, "has no name"),
        ({"spec": {"containers": [{"name": "main"}]}}, "if it is meant to be the job's own, call it job"),
        ({"spec": {"initContainers": [{"name": "main"}]}}, "container main has no image"),
        ({"spec": {"containers": [{"name": "base", "image": "team/ml:1"}]}}, "container base has the job's image"),
        ({"specc": {}}, "specc is no key of a pod"),
        ({"kind": "Deployment", "spec": {}}, "is a Deployment"),
        ({"metadata": {"labels": {"aiflow-ext/run": "x"}}}, "aiflow-ext's own"),
        ({"spec": {"securityContext": {"runAsUser": 0}}}, "runAsUser 0 contradicts runAsNonRoot"),
        ({"spec": {"volumes": [{"name": "aiflow-work", "emptyDir": {}}]}}, "called aiflow-work, as aiflow-ext's own"),
        (
            {"spec": {"containers": [{"name": "job", "volumeMounts": [{"name": "x", "mountPath": "/aiflow/in"}]}]}},
            "/aiflow/in is where aiflow-ext puts its own files",
        ),
    ],
)
def test_a_template_that_contradicts_us_is_reported(project: Any, template: dict[str, Any], named: str) -> None:
    assert named in refused(project, pod_template=template)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"memory": "1 Gb"}, "'memory' must be a size with its unit, such as 1Gi"),
        ({"limits": {"memory": "1 Gb"}}, "limits: memory '1 Gb' is no quantity"),
        ({"limits": {"Bad Key": 1}}, "'Bad Key' is no key of Kubernetes"),
        ({"namespace": "My_Space"}, "'My_Space' is no name"),
        ({"labels": {"team": "a b"}}, "'a b' is no value of a label"),
        ({"labels": {"aiflow-ext/run": "x"}}, "aiflow-ext's own"),
        ({"pull_policy": "Sometimes"}, "'Sometimes' is none of"),
        ({"image": ""}, "is no image"),
        ({"imagee": "x"}, "imagee"),
        ({"volumes": [{"mount": "data", "claim": "c"}]}, "'data' is no absolute path"),
        ({"volumes": [{"mount": "/data"}]}, "say exactly one of"),
        ({"volumes": [{"mount": "/aiflow/in", "claim": "c"}]}, "its own files"),
        ({"priority_class": "Very High"}, "priority_class 'Very High' is no name"),
        ({"affinity": {"nodeAffinty": {}}}, "'nodeAffinty' is none of nodeAffinity, podAffinity, podAntiAffinity"),
        ({"affinity": {"podAffinity": []}}, "podAffinity is no mapping"),
        ({"spread": [{"over": "a zone"}]}, "spread: over: 'a zone' is no key"),
        ({"spread": [{"over": "zone", "skew": 0}]}, "skew 0 is less than 1"),
        ({"spread": [{"over": "zone"}, {"over": "zone"}]}, "two rules are over zone"),
        ({"spread": [{"over": "zone", "maxSkew": 2}]}, "maxSkew"),
        ({"shm": "1 Gb"}, "shm must be a size with its unit, such as 1Gi"),
        ({"queue": "Team A"}, "queue 'Team A' is no name"),
        ({"queue": "$(id)"}, "queue '$(id)' is no name"),
        ({"queue": "a\n\x1b]0;x\x07"}, r"queue 'a\n\x1b]0;x\x07' is no name"),
        ({"queue": ["a"]}, "'queue' must be text, not a list"),
        ({"keep": "failed\n"}, r"must be true, false or failed, not the text 'failed\n'"),
        ({"keep": 1}, "'keep' must be true, false or failed"),
        ({"affinity": {"\x1b[2J": {}}}, r"'\x1b[2J' is none of"),
        ({"labels": {"kueue.x-k8s.io/queue-name": "q"}}, "is given by the key queue: say queue: q"),
        ({"keep": "always"}, "'keep' must be true, false or failed, not the text 'always'"),
        ({"shm": 64}, "shm must be a size with its unit, such as 64Mi"),
        ({"shm": "1Gi", "volumes": [{"mount": "/dev/shm", "empty_dir": True}]}, "both mounted at /dev/shm"),
        ({"env": {"A B": "1"}}, "'A B' is no name of a variable"),
        ({"env": {"A": {"secret": "kubernetes:My_Secret/x"}}}, "not of the form kubernetes:NAME/KEY"),
    ],
)
def test_what_kubernetes_would_not_take_is_reported_at_render(project: Any, keys: dict[str, Any], named: str) -> None:
    assert named in refused(project, **keys)


def test_an_image_must_be_named(project: Any) -> None:
    project.jobs(COMMAND, "a: {platform: kubernetes, engine: cmd_line}")
    with pytest.raises(AiflowError, match="image"):
        render_project(project.root)


EDGE = "with af.job('a'):\n    x = af.python(one)\nwith af.job('b'):\n    af.python(two, x)"


def test_artifacts_that_no_pod_reaches_are_reported_at_render(project: Any) -> None:
    words = refused(project, EDGE, "python")
    assert "a/one" in words
    assert str(project.root) in words
    assert "artifacts:" in words


def test_artifacts_on_a_mounted_folder_are_reached(project: Any, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    project.write(project_yaml=f"artifacts: {shared}\n")
    content = rendered(project, EDGE, "python", volumes=[{"mount": str(shared), "claim": "shared"}])
    env = {each["name"]: each.get("value") for each in container(content)["env"]}
    assert env["AIFLOW_CHECKPOINT_DIR"] == f"{shared}/${{run}}/checkpoints/a"


def test_a_project_that_no_secret_holds_needs_a_url(project: Any) -> None:
    (project.root / "big.bin").write_bytes(os.urandom(2 << 20))
    assert "artifacts URL" in refused(project, PYTHON, "python")
    project.write(project_yaml="artifacts: s3://bucket/path\n")
    content = rendered(project, PYTHON, "python")
    assert content["project"]["at"] == "s3://bucket/path/${run}/.project/project.tar.gz"
    env = {each["name"]: each.get("value") for each in container(content)["env"]}
    assert env["AIFLOW_ARCHIVE"] == content["project"]["at"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [("$HOME", "$HOME"), ("$(x)", "$$(x)"), ("$$", "$$$"), ("a$", "a$"), ("$$(x)", "$$$$(x)"), ("100%", "100%")],
)
def test_the_kubelet_gives_the_text_back(text: str, sent: str) -> None:
    assert literal(text) == sent


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"BIG": "x" * (128 << 10)}, "the variable BIG has 131,077 bytes; Linux takes 131,072 (128 KiB)"),
        ({f"V{i}": "ä" * 60_000 for i in range(13)}, "its environment and command have 1,560,"),
    ],
)
def test_an_environment_that_is_too_large_is_told(project: Any, env: dict[str, str], words: str) -> None:
    said = refused(project, env=env)
    assert f"job 'a': {words}" in said
    assert "put it into a file" in said


def test_an_environment_as_large_as_may_be_is_taken(project: Any) -> None:
    env = {"BIG": "x" * ((128 << 10) - len("BIG=") - 1), "MORE": "y" * 100_000}
    assert {"name": "BIG", "value": env["BIG"]} in container(rendered(project, env=env))["env"]


@pytest.mark.parametrize(
    ("secret", "more", "words"),
    [
        ({"env.BIG": "x" * 200_000}, "", "the variable BIG has 200,005 bytes"),
        ({"payload.json": "x" * (1 << 20), "env.A": "y"}, "", "have 1,048,577 bytes, and a Secret holds 1,048,576"),
        ({}, "x" * 1_600_000, "its Job has 1,60"),
    ],
)
def test_what_is_too_large_is_told_before_it_is_sent(
    project: Any, secret: dict[str, str], more: str, words: str
) -> None:
    template = {"metadata": {"annotations": {"team/notes": more}}}
    job = rendered(project, pod_template=template)["job"]
    values = {name.removeprefix("env."): value for name, value in secret.items() if name.startswith("env.")}
    with pytest.raises(ConfigError, match=words):
        sizes.check("a", job, {"stringData": secret}, values)


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        (8080, {"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
        ({"command": "test -e $(pwd)/x", "every": 2.5},
         {"exec": {"command": ["bash", "-c", "test -e $(pwd)/x"]}, "periodSeconds": 3}),
        (["ls", "x"], {"exec": {"command": ["ls", "x"]}, "periodSeconds": 1}),
    ],
)  # fmt: skip
def test_a_job_that_serves_others_has_a_readiness_probe(project: Any, ready: Any, probe: Any) -> None:
    found = container(rendered(project, exec_mode="STREAM", shell="bash", ready=ready))["readinessProbe"]
    assert found == {**probe, "timeoutSeconds": 10, "failureThreshold": 1}
