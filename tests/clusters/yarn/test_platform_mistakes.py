"""Bad input, and what it gets: a sentence, what to do, and an exit code."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yarn_bed import Bed
from yarn_refusal import ahead_of_time, answering
from yarn_runs import Workflow

PROJECT, PLATFORM = 3, 6


@pytest.fixture
def workflow(bed: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on the bed."""
    made = Workflow(tmp_path, bed)
    yield made
    made.close()


def _refused(workflow: Workflow, config: dict[str, Any], code: int, *words: str) -> None:
    """A run with this config ends with this code before anything starts, in these words."""
    record = workflow.write({"job": "true"}, config).run()
    said = record["said"]
    assert record["exit"] == code, said
    for each in words:
        assert each in said, said
    assert "Traceback" not in said
    assert workflow.count("start") == 0


def test_no_address(workflow: Workflow) -> None:
    del workflow.env["HADOOP_CONF_DIR"]
    _refused(workflow, {}, PROJECT, "no address of a ResourceManager: HADOOP_CONF_DIR is not set",
             "no address of WebHDFS", "resource_manager:")  # fmt: skip


def test_a_configuration_folder_that_is_none(workflow: Workflow) -> None:
    workflow.env["HADOOP_CONF_DIR"] = "/nonexistent/conf"
    _refused(workflow, {}, PROJECT, "/nonexistent/conf, which is no folder")


def test_the_resourcemanager_cannot_be_reached(workflow: Workflow) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        _refused(workflow, {"resource_manager": address}, PLATFORM, f"http://{address} cannot be reached",
                 "nothing listens there")  # fmt: skip


def test_a_host_that_is_not_known(workflow: Workflow) -> None:
    _refused(workflow, {"resource_manager": "http://no-such-host.invalid:8088"}, PLATFORM,
             "the host 'no-such-host.invalid' is not known")  # fmt: skip


def test_a_web_page_instead_of_json(workflow: Workflow, bed: Bed) -> None:
    """Another daemon's web port."""
    _refused(workflow, {"resource_manager": bed.webhdfs.partition("/webhdfs")[0]}, PLATFORM, "port is 8088")


def test_webhdfs_at_the_wrong_port(workflow: Workflow, bed: Bed) -> None:
    _refused(workflow, {"webhdfs": bed.rm}, PLATFORM, "no WebHDFS", "9870")


def test_a_port_of_hadoops_rpc(workflow: Workflow, bed: Bed) -> None:
    _refused(workflow, {"webhdfs": f"127.0.0.1:{bed.ports.nn}"}, PLATFORM, "does not answer in HTTP", "RPC", "9870")


def test_a_datanode_for_a_namenode(workflow: Workflow, bed: Bed) -> None:
    _refused(workflow, {"webhdfs": f"127.0.0.1:{bed.ports.dn_http}"}, PLATFORM, "is it a DataNode's port?")


def test_the_schedulers_port_is_another_one(workflow: Workflow, bed: Bed) -> None:
    """What nodes would never get through to, told by the ResourceManager's own word before anything waits for it."""
    _refused(workflow, {"scheduler": "127.0.0.1:9"}, PLATFORM, "look for the ResourceManager at 127.0.0.1:9",
             f"awaits them at port {bed.ports.rm_scheduler}", "scheduler:")  # fmt: skip


@pytest.mark.parametrize(
    ("code", "challenge", "words"),
    [(401, {}, "does not know who asks (401)"), (401, {"WWW-Authenticate": "Negotiate"}, "kerberos"),
     (403, {}, "forbids user 'root'")],
)  # fmt: skip
def test_refused_by_the_resourcemanager(workflow: Workflow, code: int, challenge: dict[str, str], words: str) -> None:
    with answering(code, challenge) as address:
        _refused(workflow, {"resource_manager": address}, PLATFORM, words)


def test_an_unknown_queue(workflow: Workflow) -> None:
    _refused(workflow, {"queue": "nope"}, PLATFORM, "no queue 'nope'")


def test_a_queue_that_holds_others(workflow: Workflow) -> None:
    _refused(workflow, {"queue": "root"}, PLATFORM, "the queue 'root' holds other queues")


@pytest.mark.parametrize(("key", "asks", "most"), [("memory", "99999Mi", "4096Mi"), ("cpu", 99999, "8")])
def test_more_than_the_cluster_has(workflow: Workflow, key: str, asks: str | int, most: str) -> None:
    _refused(workflow, {key: asks}, PLATFORM, f"{asks} of {key}", most)


def test_a_staging_folder_that_is_a_file(workflow: Workflow, bed: Bed) -> None:
    _put(bed, "/tmp/a-file", b"x")
    _refused(workflow, {"staging": "/tmp/a-file"}, PLATFORM, "/tmp/a-file")


def test_a_staging_folder_that_is_not_to_be_written_to(workflow: Workflow) -> None:
    """Who is not the superuser may not make a folder just anywhere."""
    _refused(workflow, {"user": "eve"}, PLATFORM, "user 'eve' may not", "the folder /user/eve ", "Permission denied",
             "staging: /path")  # fmt: skip


def test_artifacts_that_cannot_be_written(workflow: Workflow, bed: Bed) -> None:
    _webhdfs(bed, "PUT", "/roots", "MKDIRS&permission=755")
    _webhdfs(bed, "PUT", "/everybodys", "MKDIRS&permission=777")
    workflow.write_chain(user="eve", staging="/everybodys/eve")
    (workflow.project / "project.yaml").write_text('artifacts: "hdfs:///roots/kept"\n')
    record = workflow.run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "artifacts cannot be kept: user 'eve' may not write /roots/kept/.check-" in record["said"]
    assert workflow.bed.json(f"{bed.rm}/ws/v1/cluster/apps?user=eve")["apps"] in (None, {})


def test_a_staging_folder_out_of_quota(workflow: Workflow, bed: Bed) -> None:
    _webhdfs(bed, "PUT", "/quota/full", "MKDIRS")
    bed.admin("org.apache.hadoop.hdfs.tools.DFSAdmin", "-setQuota", "1", "/quota")
    try:
        _refused(workflow, {"staging": "/quota/full/here"}, PLATFORM, "quota is used up", "staging:")
    finally:
        bed.admin("org.apache.hadoop.hdfs.tools.DFSAdmin", "-clrQuota", "/quota")


def test_a_missing_local_file(workflow: Workflow) -> None:
    _refused(
        workflow, {"files": {"data.csv": "not-there.csv"}}, PROJECT, "not-there.csv for 'data.csv', which is not there"
    )


def test_an_archive_that_is_none(workflow: Workflow) -> None:
    (workflow.project / "env.tar.gz").write_text("no archive")
    _refused(workflow, {"archives": {"env": "env.tar.gz"}}, PROJECT, "which is no archive")


def test_an_archive_that_yarn_would_not_unpack(workflow: Workflow) -> None:
    (workflow.project / "env.rar").write_text("x")
    _refused(workflow, {"archives": {"env": "env.rar"}}, PROJECT, "YARN unpacks by the name's end")


def test_a_file_of_the_cluster_that_is_not_there(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"files": {"x": "hdfs:///not/there"}}).run()
    job = record["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "/not/there, which is to be 'x' in its folder, is not on the cluster" in job["reason"]


def test_an_archive_that_breaks_on_the_node(workflow: Workflow, bed: Bed) -> None:
    """One that is there already, and nobody here has looked into."""
    _put(bed, "/shared/broken.tar.gz", b"no archive")
    record = workflow.write({"job": "true"}, {"archives": {"env": "hdfs:///shared/broken.tar.gz"}}).run()
    reason = record["jobs"]["job"]["reason"]
    assert "broken.tar.gz cannot be unpacked on the node" in reason
    assert " at java" not in reason


def test_an_interpreter_that_is_none(workflow: Workflow) -> None:
    job = workflow.write({"job": "true"}, {"python": "/bin/true"}).run()["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "is what python: names a Python?" in job["reason"]


def test_an_interpreter_that_is_not_on_the_node(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"python": "/opt/no/such/python3"}).run()
    job = record["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "/opt/no/such/python3" in job["reason"]
    assert "No such file or directory" in job["reason"]


def test_a_python_in_an_archive_that_nobody_sends(workflow: Workflow) -> None:
    _refused(workflow, {"python": "env/bin/python3"}, PROJECT, "archives has no 'env'")


def test_values_that_cannot_be(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"memory": "much", "queue": "", "memroy": 3}).run()
    assert record["exit"] == PROJECT
    for words in ("memroy", "did you mean"):
        assert words in record["said"].replace("Did", "did"), record["said"]


def test_a_certificate_that_is_not_trusted(workflow: Workflow, tmp_path: Path) -> None:
    """A TLS server with a certificate of its own making: the bed speaks plain HTTP."""
    import ssl
    import subprocess

    made = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", made[0], "-out", made[1]]
    argv += ["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(argv, check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made[1], made[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        _refused(workflow, {"resource_manager": address}, PLATFORM, "its certificate is not trusted", "ca:")
    finally:
        server.shutdown()
        server.server_close()


def test_a_clock_far_off(workflow: Workflow) -> None:
    with ahead_of_time(3600) as address:
        _refused(workflow, {"resource_manager": address}, PLATFORM, "clock is 3", "ahead of this machine's")


def _webhdfs(bed: Bed, method: str, path: str, operation: str) -> Any:
    return bed.json(f"{bed.webhdfs}{path}?op={operation}&user.name=root", method)


def _put(bed: Bed, path: str, data: bytes) -> None:
    import urllib.request

    where = _webhdfs(bed, "PUT", path, "CREATE&overwrite=true&noredirect=true")["Location"]
    request = urllib.request.Request(where, data, {"Content-Type": "application/octet-stream"}, method="PUT")
    urllib.request.urlopen(request).close()
