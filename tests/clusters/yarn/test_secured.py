"""Clusters as operators secure them: TLS on every web port, and Kerberos: SPNEGO, delegation tokens, their renewal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yarn_flink
import yarn_hadoop
import yarn_settings as settings
from yarn_bed import Bed
from yarn_hadoop import BedError
from yarn_runs import Workflow

from tests.helpers import flink_example, flink_jvm

PROJECT, PLATFORM = 3, 6


def _up(bed: Bed, no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    kept = {name: os.environ.get(name) for name in ("KRB5_CONFIG", "KRB5CCNAME")}
    there = any(bed.status().values())
    try:
        bed.up(sites=settings.widgets())
        yield bed
    except BedError as error:
        no_cluster(f"the secured YARN bed does not come up: {error}")
    finally:
        if not there:
            bed.down()
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.fixture(scope="module")
def encrypted(no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    """A bed whose web ports speak HTTPS alone."""
    yield from _up(Bed("tls", 28500, tls=True), no_cluster)


@pytest.fixture(scope="module")
def secure(no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    """A bed with that and a realm of its own, and this process with a ticket of ada's."""
    pytest.importorskip("krb5", reason="pip install 'aiflow-ext-yarn[kerberos]', which builds against libkrb5-dev")
    yield from _up(Bed("kerberos", 28400, kerberos=True, tls=True), no_cluster)


class TestTls:
    @pytest.fixture
    def workflow(self, encrypted: Bed, tmp_path: Path) -> Iterator[Workflow]:
        """A project on the encrypted bed."""
        made = Workflow(tmp_path, encrypted)
        yield made
        made.close()

    def test_jobs(self, workflow: Workflow, encrypted: Bed) -> None:
        """Nodes read files by ``hdfs://``; application masters make their markers over HTTPS, and trust ``ca`` too."""
        assert encrypted.tls is not None
        workflow.write({"well": "echo out", "badly": "exit 3"}, {"ca": str(encrypted.tls.ca)})
        record = workflow.run()
        assert record["jobs"]["well"]["state"] == "FINISHED", record
        assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
        assert workflow.log(record, "well") == "out\n"

    def test_artifacts(self, workflow: Workflow, encrypted: Bed) -> None:
        assert encrypted.tls is not None
        record = workflow.write_chain(ca=str(encrypted.tls.ca)).run()
        assert record["exit"] == 0, record
        assert workflow.log(record, "read") == "499500\n"

    def test_mistrust(self, workflow: Workflow) -> None:
        record = workflow.write({"job": "true"}).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert "its certificate is not trusted" in record["said"]
        assert "ca:" in record["said"]
        assert "Traceback" not in record["said"]

    def test_mistrust_is_overcome(self, workflow: Workflow) -> None:
        assert workflow.write({"job": "true"}, {"tls_verify": False}).run()["exit"] == 0

    def test_no_such_ca(self, workflow: Workflow) -> None:
        record = workflow.write({"job": "true"}, {"ca": "/nonexistent/ca.pem"}).run()
        assert record["exit"] == PROJECT
        assert "ca names /nonexistent/ca.pem, which is no file" in record["said"]

    def test_http_to_a_port_that_speaks_https(self, workflow: Workflow, encrypted: Bed) -> None:
        address = encrypted.rm.replace("https:", "http:")
        record = workflow.write({"job": "true"}, {"resource_manager": address}).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert "Traceback" not in record["said"]

    def test_down_leaves_nothing(self, encrypted: Bed) -> None:
        """Of the bed, that is: here is one that may go."""
        pids = [pid for pid in encrypted.status().values() if pid]
        assert len(pids) == 5
        encrypted.down()
        assert not encrypted.folder.exists()
        assert not any(_is_of(encrypted, pid) for pid in pids)


def _is_of(bed: Bed, pid: int) -> bool:
    try:
        return str(bed.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@pytest.mark.thorough
class TestKerberos:
    @pytest.fixture
    def workflow(self, secure: Bed, tmp_path: Path) -> Iterator[Workflow]:
        """A project of ada's on the secured bed."""
        made = Workflow(tmp_path, secure)
        del made.env["HADOOP_USER_NAME"]
        made.env["USER"] = made.env["LOGNAME"] = "ada"
        yield made
        made.close()

    def test_jobs(self, workflow: Workflow, secure: Bed) -> None:
        """Files by SPNEGO, the start marker by a delegation token, which the ResourceManager has renewed as itself."""
        assert secure.tls is not None
        workflow.write({"well": "true", "badly": "exit 3"}, {"ca": str(secure.tls.ca)})
        record = workflow.run()
        assert record["jobs"]["well"]["state"] == "FINISHED", record["said"]
        assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
        assert workflow.each("start") == workflow.each("end") == {"well": 1, "badly": 1}
        apps = secure.json(f"{secure.rm}/ws/v1/cluster/apps")["apps"]["app"]
        assert {app["user"] for app in apps} == {"ada"}
        assert "Renewed delegation-token" in secure.log("rm")
        # This bed's NodeManager cannot read logs (yarn_settings.secured), which is told, and no harm to the run.
        assert "cannot be had" in record["said"]

    def test_artifacts(self, workflow: Workflow, secure: Bed) -> None:
        """Jobs read and write them as ada, by the delegation token."""
        assert secure.tls is not None
        record = workflow.write_chain(ca=str(secure.tls.ca)).run()
        assert record["exit"] == 0, record

    def test_flink_and_its_artifacts(self, workflow: Workflow, secure: Bed, tmp_path: Path) -> None:
        """Flink and Hadoop's client have the token of nodes, and what keeps artifacts the delegation token."""
        assert secure.tls is not None
        assert secure.realm is not None
        (tmp_path / "flink").mkdir()
        java = Path(yarn_hadoop.java()).resolve().parents[1]
        options = f"{flink_jvm.ENV['JAVA_TOOL_OPTIONS']} -Djava.security.krb5.conf={secure.realm.conf}"
        workflow.project = flink_example.copied(
            workflow.project.parent / "example",
            {"platform": "yarn", "python": sys.executable, "ca": str(secure.tls.ca)},
            flink_home=str(yarn_flink.flink(tmp_path / "flink")), java_home=str(java), jobmanager={"memory": "768Mi"},
            hadoop_classpath=f"{secure.conf}:{yarn_hadoop.install()}/lib/*", flink=flink_jvm.PATIENT,
            env={"JAVA_TOOL_OPTIONS": options},
        )  # fmt: skip
        (workflow.project / "project.yaml").write_text('artifacts: "hdfs:///flink/artifacts"\n')
        record = workflow.run(timeout=600)
        assert record["exit"] == 0, record["said"]
        app = secure.json(f"{secure.rm}/ws/v1/cluster/apps/{record['jobs']['totals']['attempts'][0]['native_id']}")
        assert app["app"]["user"] == "ada"

    def test_other_resources(self, workflow: Workflow, secure: Bed) -> None:
        """Submitted by RPC, with a delegation token of the ResourceManager's."""
        assert secure.tls is not None
        config = {"ca": str(secure.tls.ca), "resources": {"widget": 1}, "env": {"TOKEN": {"secret": "env:HOME"}}}
        record = workflow.write({"job": 'test -n "$TOKEN" && exit 4'}, config).run()
        assert record["jobs"]["job"]["attempts"][0]["exit_code"] == 4, record

    def test_no_ticket(self, workflow: Workflow, secure: Bed) -> None:
        assert secure.tls is not None
        workflow.env["KRB5CCNAME"] = "FILE:/nonexistent/tickets"
        record = workflow.write({"job": "true"}, {"ca": str(secure.tls.ca)}).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert "no Kerberos ticket" in record["said"]
        assert "kinit" in record["said"]

    def test_a_run_that_outlives_the_tickets_of_its_keytab(self, workflow: Workflow, secure: Bed) -> None:
        """Nobody runs kinit: the client logs in from the keytab, and again each time before its ticket expires."""
        assert secure.tls is not None
        assert secure.realm is not None
        workflow.env["KRB5CCNAME"] = "FILE:/nonexistent/tickets"
        config = {"ca": str(secure.tls.ca), "principal": "brief", "keytab": str(secure.realm.keytab)}
        run = workflow.write({"job": workflow.until("go")}, config).begin()
        workflow.wait(lambda: workflow.count("start") == 1)
        before, realm = secure.realm.logins("brief"), secure.realm
        # Each is made when half of a ticket's life is over: with the third one the first ticket has expired.
        workflow.wait(lambda: run.poll() is not None or realm.logins("brief") >= before + 3)
        workflow.put("go")
        record = workflow.finish(run)
        assert record["jobs"]["job"]["state"] == "FINISHED", record["said"]
        assert realm.logins("brief") >= before + 3
        app = secure.json(f"{secure.rm}/ws/v1/cluster/apps/{record['jobs']['job']['attempts'][0]['native_id']}")["app"]
        assert app["user"] == "brief"

    def test_a_user_who_acts_for_another_one(self, workflow: Workflow, secure: Bed) -> None:
        """Whoever is root here may: the services are. Files, application and the job's token are ada's."""
        assert secure.tls is not None
        assert secure.realm is not None
        workflow.env["KRB5CCNAME"] = "FILE:/nonexistent/tickets"
        config = {"ca": str(secure.tls.ca), "principal": "nm/localhost", "keytab": str(secure.realm.keytab)}
        record = workflow.write({"job": "exit 3"}, {**config, "proxy_user": "ada"}).run()
        attempt = record["jobs"]["job"]["attempts"][0]
        assert attempt["exit_code"] == 3, record["said"]
        app = secure.json(f"{secure.rm}/ws/v1/cluster/apps/{attempt['native_id']}")["app"]
        assert app["user"] == "ada"
        # ada may act for nobody.
        config |= {"principal": "ada", "proxy_user": "brief"}
        record = workflow.write({"job": "true"}, config).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert "does not let 'ada' act for 'brief' (proxy_user)" in record["said"]

    def test_a_keytab_without_the_principals_keys(self, workflow: Workflow, secure: Bed) -> None:
        assert secure.tls is not None
        assert secure.realm is not None
        config = {"ca": str(secure.tls.ca), "principal": "nobody", "keytab": str(secure.realm.keytab)}
        record = workflow.write({"job": "true"}, config).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert f"nobody cannot log in from the keytab {secure.realm.keytab}" in record["said"]
        assert "klist -kt" in record["said"]

    def test_other_web_services_that_ask_for_a_name_alone(self, workflow: Workflow, secure: Bed) -> None:
        """``hadoop.http.authentication.type`` is simple: whether WebHDFS wants a name or a ticket, its answer tells."""
        assert secure.tls is not None
        kind = {
            "hadoop.http.authentication.type": "simple",
            "hadoop.http.authentication.simple.anonymous.allowed": "true",
        }
        try:
            secure.kill("nn", signal.SIGTERM)
            secure.just(sites={**settings.widgets(), "core": kind})
            workflow.write({"well": "true", "badly": "exit 3"}, {"ca": str(secure.tls.ca)})
            record = workflow.run()
            assert record["jobs"]["well"]["state"] == "FINISHED", record["said"]
            assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
            app = f"/ws/v1/cluster/apps/{record['jobs']['well']['attempts'][0]['native_id']}"
            assert secure.json(f"{secure.rm}{app}?user.name=ada")["app"]["user"] == "ada"
        finally:
            secure.kill("nn", signal.SIGTERM)
            secure.just(sites=settings.widgets())

    def test_simple_authentication_is_not_enough(self, workflow: Workflow, secure: Bed) -> None:
        assert secure.tls is not None
        config = {"authentication": "simple", "ca": str(secure.tls.ca)}
        record = workflow.write({"job": "true"}, config).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert "asks for Kerberos: give authentication: kerberos" in record["said"]
