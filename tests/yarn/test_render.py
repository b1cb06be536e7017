"""The request as it is shown: offline, whole, and with nothing in it that must not be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from aiflow_ext_yarn import rpc_submission
from aiflow_ext_yarn.master.wire import Message

CLUSTER = {"resource_manager": "http://rm.invalid:8088", "webhdfs": "http://nn.invalid:9870", "user": "ada"}


@pytest.fixture
def rendered(project, cli) -> Callable[..., dict[str, Any]]:
    """The rendered request of a project's only job, which has these keys."""

    def call(body: str, engine: str = "cmd_line", steps: str = "", **config: Any) -> dict[str, Any]:
        (project.root / "project.yaml").write_text('{"artifacts": "hdfs:///shared/artifacts"}')
        told = {"job": {"platform": "yarn", "engine": engine, **CLUSTER, **config}}
        project.jobs(f"with af.job('job'):\n    {body}", json.dumps(told), steps)
        done = cli("render", project.root, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found[0]["kind"] == "yarn"
        content: dict[str, Any] = found[0]["content"]
        return content

    return call


def test_a_command(rendered) -> None:
    found = rendered("af.cmd(['echo', '$HOME', 'a b'])", queue="batch", memory="2Gi", cpu=2.5, gpu=2, priority=4,
                     tags=["t"], node_label="gpu", resources={"yarn.io/fpga": 1}, lifetime="2h",
                     insecure_nodes=["dn.invalid"])  # fmt: skip
    submission = found["submission"]
    assert submission["application-id"] == "${server:application_id}"
    assert submission["queue"] == "batch"
    assert submission["priority"] == 4
    assert submission["resource"] == {
        "memory": 2048, "vCores": 3, "resourceInformations": {"resourceInformation": [
            {"name": "yarn.io/fpga", "value": 1, "units": "", "resourceType": "COUNTABLE"},
            {"name": "yarn.io/gpu", "value": 2, "units": "", "resourceType": "COUNTABLE"}]},
    }  # fmt: skip
    assert submission["application-tags"] == {"tag": ["aiflow", "aiflow-${run}", "t"]}
    assert submission["app-node-label-expression"] == submission["am-container-node-label-expression"] == "gpu"
    assert submission["max-app-attempts"] == 1
    assert found["lifetime"] == 7200
    assert found["rpc"] == ["rm.invalid:8032"]  # the REST API drops other resources
    assert found["spec"]["argv"] == ["echo", "$HOME", "a b"]
    assert found["spec"]["staging"]["insecure_nodes"] == ["dn.invalid"]
    assert found["spec"]["mark"] == "${run}:${server:application_id}"
    container = submission["am-container-spec"]
    assert container["environment"]["entry"] == [{"key": "AIFLOW_AM_SPEC", "value": "${base64:spec}"}]
    assert "$HOME" not in container["commands"]["command"]  # nothing of the user's meets launch_container.sh


@pytest.mark.parametrize(
    ("told", "variables"),
    [
        (
            {"image": "team/ml:1"},
            {"YARN_CONTAINER_RUNTIME_TYPE": "docker", "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": "team/ml:1"},
        ),
        (
            {"image": "hub:5000/team/ml@sha256:0a", "mounts": ["/data:/data:ro", "env:/opt/env"], "network": "host"},
            {
                "YARN_CONTAINER_RUNTIME_TYPE": "docker",
                "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE": "hub:5000/team/ml@sha256:0a",
                "YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS": "/data:/data:ro,env:/opt/env:rw",
                "YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK": "host",
            },
        ),
        (
            {"image": "ml", "runtime": "runc", "mounts": ["/data:/data"]},
            {
                "YARN_CONTAINER_RUNTIME_TYPE": "runc",
                "YARN_CONTAINER_RUNTIME_RUNC_IMAGE": "ml",
                "YARN_CONTAINER_RUNTIME_RUNC_MOUNTS": "/data:/data:rw",
            },
        ),
    ],
)
def test_the_image_of_a_container(rendered, told: dict[str, Any], variables: dict[str, str]) -> None:
    """In the launch environment, where the NodeManager reads it; the application master is told which runtime."""
    found = rendered("af.cmd('true')", container=told, archives={"env": "hdfs:///env.tgz"})
    entries = found["submission"]["am-container-spec"]["environment"]["entry"]
    assert {each["key"]: each["value"] for each in entries if each["key"] != "AIFLOW_AM_SPEC"} == variables
    assert found["spec"]["container"] == variables["YARN_CONTAINER_RUNTIME_TYPE"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("{}", "image"),
        ("{image: 'team/$(id):1'}", "image must be an image's name such as team/ml:1, not 'team/$(id):1'"),
        ("{image: ml, mounts: ['/data']}", "mounts must each be SOURCE:DESTINATION or SOURCE:DESTINATION:MODE"),
        ("{image: ml, mounts: ['/data:/data:rx']}", "mounts must each be SOURCE:DESTINATION"),
        ("{image: ml, mounts: ['env:/opt']}", "container mounts env, which is neither an absolute path nor in files"),
        ("{image: ml, runtime: runc, network: host}", "network is a key of runtime docker; runtime runc has none"),
        ("{image: ml, network: none}", "network cannot be none: the application master"),
        ("{image: ml, runtime: podman}", "podman"),
        ("{image: ml, mount: []}", "mounts"),
    ],
)
def test_an_image_that_cannot_be(project, cli, told: str, words: str) -> None:
    config = f"job:\n  platform: yarn\n  engine: cmd_line\n  container: {told}\n"
    done = cli("render", project.jobs("with af.job('job'):\n    af.cmd('true')", config).root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow.yaml:" in done.stderr


@pytest.mark.parametrize(
    ("told", "acls"),
    [
        (
            {"view_acls": {"users": ["eve", "bob"], "groups": ["ml"]}, "modify_acls": "eve"},
            {"VIEW_APP": "eve,bob ml", "MODIFY_APP": "eve"},
        ),
        ({"view_acls": {"groups": ["ml", "ops"]}}, {"VIEW_APP": " ml,ops"}),
        ({"modify_acls": "*"}, {"MODIFY_APP": "*"}),
    ],
)
def test_access_lists(rendered, told: dict[str, Any], acls: dict[str, str]) -> None:
    """They are sent by RPC too, where a job has a GPU."""
    submission = rendered("af.cmd('true')", **told)["submission"]
    entries = submission["am-container-spec"]["application-acls"]["entry"]
    assert {each["key"]: each["value"] for each in entries} == acls
    submission = {**submission, "application-id": "application_1_0001"}
    for entry in submission["am-container-spec"]["local-resources"]["entry"]:
        entry["value"] |= {"size": 1, "timestamp": 1}
    sent = Message(rpc_submission.message(submission)).message(5).blobs(6)
    numbers = {"VIEW_APP": 1, "MODIFY_APP": 2}
    assert [(each.integer(1), each.text(2)) for each in map(Message, sent)] == [
        (numbers[kind], text) for kind, text in acls.items()
    ]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("view_acls: {}", "say users, groups or both"),
        ("view_acls: {user: [eve]}", "users"),
        ("modify_acls: {users: ['eve bob']}", "must be names without spaces and commas, not 'eve bob'"),
        ("modify_acls: 'eve bob mallory'", "modify_acls must be Hadoop's 'user,user group,group'"),
        ("view_acls: ''", "view_acls must be Hadoop's 'user,user group,group'"),
    ],
)
def test_access_lists_that_cannot_be(project, cli, told: str, words: str) -> None:
    config = f"job:\n  platform: yarn\n  engine: cmd_line\n  {told}\n"
    done = cli("render", project.jobs("with af.job('job'):\n    af.cmd('true')", config).root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow.yaml:" in done.stderr


def test_a_secret_is_a_reference_in_the_credentials(rendered, cli_env) -> None:
    cli_env["THE_TOKEN"] = "not to be seen"
    found = rendered("af.cmd('true')", env={"TOKEN": {"secret": "env:THE_TOKEN"}, "PLAIN": "x"})
    assert "not to be seen" not in json.dumps(found)
    assert found["spec"]["env"]["TOKEN"] == {"secret": "aiflow.env.TOKEN"}
    assert found["spec"]["env"]["PLAIN"] == "x"
    entries = found["submission"]["am-container-spec"]["credentials"]["secrets"]["entry"]
    assert entries == [{"key": "aiflow.env.TOKEN", "value": "${secret:env:THE_TOKEN}"}]


def test_a_python_job_and_its_archive(rendered, project) -> None:
    (project.root / "env.tar.gz").write_bytes(_targz())
    found = rendered("af.python(hello)", "python", "def hello():\n    pass\n", archives={"env": "env.tar.gz"},
                     python="env/bin/python3")  # fmt: skip
    resources = {entry["key"]: entry["value"] for entry in _resources(found)}
    assert set(resources) == {"aiflow-am.pyz", "bundle", "env"}  # what is the job's own is in the submission
    assert resources["bundle"]["type"] == resources["env"]["type"] == "ARCHIVE"
    assert resources["env"]["resource"].endswith("/env.tar.gz")  # YARN unpacks by the name's end
    assert {each["size"] for each in resources.values()} == {"${server:size}"}
    assert found["spec"]["argv"] == [
        {"path": "env/bin/python3"}, {"path": "bundle/runtime/run_job.py"}, {"path": "payload.json"}
    ]  # fmt: skip
    assert found["submission"]["am-container-spec"]["commands"]["command"].startswith("exec env/bin/python3 -S -E ")


def test_a_home_that_there_is_not_is_a_path_like_any_other(project, cli) -> None:
    config = {"platform": "yarn", "engine": "cmd_line", "resource_manager": "http://rm", "webhdfs": "http://nn",
              "user": "ada", "files": {"x": "~nosuchuser/x"}}  # fmt: skip
    project.jobs("with af.job('c'): af.cmd('true')", json.dumps({"*": config}))
    done = cli("run", project.root)
    assert "~nosuchuser/x" in done.stderr
    assert "RuntimeError" not in done.stderr


def test_progress_is_counted_in_steps(rendered) -> None:
    two = rendered("af.python(hello)\n    af.python(hello)", "python", "def hello():\n    pass\n")["spec"]
    assert (two["steps"], two["progress_file"]) == (2, "progress")
    one = rendered("af.python(hello)", "python", "def hello():\n    pass\n")["spec"]
    assert not {"steps", "progress_file"} & set(one)


@pytest.mark.parametrize(
    ("config", "pages"),
    [
        ({}, {"node": True}),
        ({"history": "http://jhs:19888"}, {"node": True, "log_server": "http://jhs:19888/jobhistory/logs"}),
        (
            {"history": "http://ahs:8188/ws/v1/applicationhistory", "authentication": "kerberos"},
            {"log_server": "http://ahs:8188/applicationhistory/logs"},
        ),
        ({"resource_manager": "https://rm.invalid:8090"}, None),
    ],
)
def test_pages_that_show_the_logs(rendered, config: dict[str, Any], pages: dict[str, Any] | None) -> None:
    """The ResourceManager's proxy can show a NodeManager's page only where that is plain HTTP without Kerberos."""
    assert rendered("af.cmd('true')", **config)["spec"].get("log_pages") == pages


def test_artifacts_on_hdfs_are_reached_by_webhdfs(rendered) -> None:
    """``hdfs://`` in fsspec needs a Java and a Hadoop on the node; ``webhdfs://`` needs neither."""
    found = rendered("af.python(hello)", "python", "def hello():\n    pass\n")
    payload = found["spec"]["files"]["payload.json"]["text"]
    assert "webhdfs://ada@nn.invalid:9870/shared/artifacts/${run}" in payload
    assert "hdfs:///" not in payload
    assert found["spec"]["env"]["AIFLOW_CHECKPOINT_DIR"].startswith("webhdfs://ada@nn.invalid:9870/shared/artifacts")
    assert not {"AIFLOW_CHECKPOINT_HDFS", "at_active"} & {*found["spec"], *found["spec"]["env"]}


def test_checkpoints_on_a_pair_of_name_nodes(rendered) -> None:
    """By WebHDFS at the one that is active as the job starts; for Hadoop's own client, at the nameservice."""
    pair = ["http://nn1.invalid:9870", "http://nn2.invalid:9870"]
    spec = rendered("af.cmd('true')", webhdfs=pair, file_system="hdfs://pair")["spec"]
    assert spec["env"]["AIFLOW_CHECKPOINT_DIR"].startswith("webhdfs://ada@nn1.invalid:9870/shared/artifacts/")
    assert spec["env"]["AIFLOW_CHECKPOINT_HDFS"].startswith("hdfs://pair/shared/artifacts/")
    assert spec["at_active"] == ["AIFLOW_CHECKPOINT_DIR"]


def test_a_long_command_travels_as_a_file(rendered) -> None:
    found = rendered(f"af.cmd(['echo', {'x' * 60_000!r}])")
    assert "spec.json" in {entry["key"] for entry in _resources(found)}
    assert "--spec spec.json" in found["submission"]["am-container-spec"]["commands"]["command"]
    assert found["submission"]["am-container-spec"]["environment"]["entry"] == []


def test_a_large_payload_travels_as_a_file(rendered) -> None:
    found = rendered(f"af.python(hello, {'x' * 60_000!r})", "python", "def hello(text):\n    pass\n")
    assert "spec.json" in {entry["key"] for entry in _resources(found)}
    assert found["submission"]["am-container-spec"]["environment"]["entry"] == []


def test_kerberos_has_a_token_for_the_file_system(rendered) -> None:
    found = rendered("af.cmd('true')", authentication="kerberos")
    credentials = found["submission"]["am-container-spec"]["credentials"]
    assert credentials["tokens"]["entry"][0]["value"] == "${server:delegation_token:nodes}"
    assert found["spec"]["staging"]["delegation"] == {"secret": "aiflow.delegation"}
    assert found["spec"]["staging"]["user"] is None


def test_artifacts_that_the_nodes_do_not_see(project, cli) -> None:
    config = {"*": {"platform": "yarn", "engine": "python", **CLUSTER}, "a": {}, "b": {}}
    body = "with af.job('a'):\n    made = af.python(make)\nwith af.job('b'):\n    af.python(read, made)"
    project.jobs(body, json.dumps(config), "def make():\n    return 1\n\ndef read(value):\n    pass\n")
    done = cli("render", project.root)
    assert done.returncode == 3
    assert "nodes of platform yarn cannot reach that" in done.stderr
    assert "shared_folders" in done.stderr
    config["*"]["shared_folders"] = [str(project.root)]
    project.jobs(body, json.dumps(config), "def make():\n    return 1\n\ndef read(value):\n    pass\n")
    assert cli("render", project.root).returncode == 0


def test_neither_listing_nor_rendering_imports_a_client(project) -> None:
    project.jobs("with af.job('job'):\n    af.cmd('true')",
                 json.dumps({"job": {"platform": "yarn", "engine": "cmd_line", **CLUSTER}}))  # fmt: skip
    script = f"""
import sys
import aiflow_ext as af
af.plugins()
assert not [name for name in sys.modules if name.startswith("aiflow_ext_yarn")], "listing"
af.render_project({str(project.root)!r})
print([name for name in ("urllib3", "requests", "httpx", "spnego", "http.client", "ssl") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr + done.stdout


def _resources(found: dict[str, Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = found["submission"]["am-container-spec"]["local-resources"]["entry"]
    return entries


def _targz() -> bytes:
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("bin"))
    return made.getvalue()
