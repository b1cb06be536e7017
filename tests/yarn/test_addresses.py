"""What a Hadoop configuration folder and a job's config say of addresses."""

from __future__ import annotations

from pathlib import Path

import hadoop_folders
import pytest

from aiflow_ext.model.errors import ConfigError
from aiflow_ext_yarn.cluster import cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.hadoop import hadoop_conf


def test_a_plain_cluster(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://nn.example:8020"}, yarn={"yarn.resourcemanager.hostname": "rm.example"})
    found = cluster_of(YarnJobConfig())
    assert found.resource_managers == ["http://rm.example:8088"]
    assert found.schedulers == ["rm.example:8030"]
    assert found.namenodes == ["http://nn.example:9870/webhdfs/v1"]
    assert found.file_system == "hdfs://nn.example:8020"
    assert (found.user, found.staging, found.kerberos) == ("ada", "/user/ada/.aiflow", False)
    assert found.history is None


def test_high_availability(hadoop) -> None:
    hadoop.write(
        core={"fs.defaultFS": "hdfs://ns"},
        hdfs={
            "dfs.nameservices": "ns",
            "dfs.ha.namenodes.ns": "a, b",
            "dfs.namenode.http-address.ns.a": "nn1.example:50070",
            "dfs.namenode.rpc-address.ns.b": "nn2.example:8020",
        },
        yarn={
            "yarn.resourcemanager.ha.enabled": "true",
            "yarn.resourcemanager.ha.rm-ids": "rm1,rm2",
            "yarn.resourcemanager.hostname.rm1": "one.example",
            "yarn.resourcemanager.webapp.address.rm2": "two.example:18088",
            "yarn.resourcemanager.hostname.rm2": "two.example",
            "yarn.log.server.web-service.url": "http://jhs.example:19888/ws/v1/history",
        },
    )
    found = cluster_of(YarnJobConfig())
    assert found.resource_managers == ["http://one.example:8088", "http://two.example:18088"]
    assert found.schedulers == ["one.example:8030", "two.example:8030"]
    assert found.namenodes == ["http://nn1.example:50070/webhdfs/v1", "http://nn2.example:9870/webhdfs/v1"]
    assert found.file_system == "hdfs://ns"
    assert found.history == "http://jhs.example:19888/ws/v1/history"


def test_https_references_and_kerberos(hadoop) -> None:
    hadoop.write(
        core={"fs.defaultFS": "hdfs://nn.example:8020", "hadoop.security.authentication": "kerberos"},
        hdfs={"dfs.http.policy": "HTTPS_ONLY"},
        yarn={
            "yarn.http.policy": "HTTPS_ONLY",
            "yarn.resourcemanager.hostname": "rm.${domain}",
            "domain": "example",
            "yarn.resourcemanager.webapp.https.address": "${yarn.resourcemanager.hostname}:8190",
            "yarn.resourcemanager.principal": "rmuser/_HOST@EXAMPLE",
        },
    )
    found = cluster_of(YarnJobConfig())
    assert found.resource_managers == ["https://rm.example:8190"]
    assert found.namenodes == ["https://nn.example:9871/webhdfs/v1"]
    assert (found.kerberos, found.renewer) == (True, "rmuser/rm.example@EXAMPLE")


@pytest.mark.parametrize(
    ("security", "web", "wanted"),
    [("kerberos", "simple", (True, True)), ("kerberos", "kerberos", (True, False)), ("kerberos", "", (True, False)),
     ("simple", "kerberos", (True, False)), ("simple", "simple", (False, False))],
)  # fmt: skip
def test_kerberos_of_the_cluster_and_of_its_web_pages(hadoop, security: str, web: str, wanted: tuple) -> None:
    said = {"hadoop.security.authentication": security, "hadoop.http.authentication.type": web}
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020", **said}, yarn={"yarn.resourcemanager.hostname": "rm"})
    found = cluster_of(YarnJobConfig())
    assert (found.kerberos, found.simple_web) == wanted


def test_an_address_that_a_server_binds_to_is_none(hadoop) -> None:
    hadoop.write(
        core={"fs.defaultFS": "hdfs://nn.example:8020"},
        hdfs={"dfs.namenode.http-address": "0.0.0.0:19870"},
        yarn={"yarn.resourcemanager.webapp.address": "0.0.0.0:8088", "yarn.resourcemanager.hostname": "rm.example"},
    )
    found = cluster_of(YarnJobConfig())
    assert found.namenodes == ["http://nn.example:19870/webhdfs/v1"]
    assert found.resource_managers == ["http://rm.example:8088"]


def test_files_as_operators_write_them(hadoop, monkeypatch) -> None:
    """Values as attributes, files that include others, variables of the environment: all that Hadoop reads."""
    monkeypatch.setenv("RM_HOST", "rm.example")
    (hadoop.folder / "hosts.xml").write_text(
        '<configuration><property name="nn" value="nn.example"/><property name="port" value="1"/></configuration>'
    )
    xi = 'xmlns:xi="http://www.w3.org/2001/XInclude"'
    (hadoop.folder / "core-site.xml").write_text(
        f'<configuration {xi}><xi:include href="hosts.xml"/><xi:include href="gone.xml"><xi:fallback/></xi:include>'
        "<property><name>fs.defaultFS</name><value>hdfs://${nn}:${port}</value><final>true</final></property>"
        "<property><name>port</name><value>${env.NN_PORT:-9000}</value></property></configuration>"
    )
    hadoop.write(
        yarn={"yarn.resourcemanager.hostname": "${env.RM_HOST}", "yarn.resourcemanager.address": "${env.NONE}"}
    )
    found = cluster_of(YarnJobConfig())
    assert (found.file_system, found.namenodes) == ("hdfs://nn.example:9000", ["http://nn.example:9870/webhdfs/v1"])
    assert found.resource_managers == ["http://rm.example:8088"]


@pytest.mark.parametrize("case", hadoop_folders.CASES)
def test_properties_are_read_as_hadoop_reads_them(hadoop, monkeypatch, case: str) -> None:
    """What Hadoop's own GetConf answers is compared in tests/clusters/yarn/test_getconf.py."""
    files, name, wanted = hadoop_folders.CASES[case]
    hadoop_folders.write(hadoop.folder, files)
    for variable, value in hadoop_folders.VARIABLES.items():
        monkeypatch.setenv(variable, value)
    assert hadoop_conf().get(name) == wanted


RM = {"yarn.resourcemanager.hostname": "rm"}


def test_a_federation_of_name_nodes(hadoop) -> None:
    """Its NameNode is found by its RPC address: the web address is that of its nameservice."""
    hadoop.write(core={"fs.defaultFS": "hdfs://nn2:8020"}, yarn=RM, hdfs={
        "dfs.nameservices": "a,b", "dfs.namenode.rpc-address.a": "nn1:8020", "dfs.namenode.rpc-address.b": "nn2",
        "dfs.namenode.http-address.a": "nn1:1", "dfs.namenode.http-address.b": "nn2:2"})  # fmt: skip
    assert cluster_of(YarnJobConfig()).namenodes == ["http://nn2:2/webhdfs/v1"]


def test_a_nameservice_without_web_addresses(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://ns"}, yarn=RM, hdfs={
        "dfs.nameservices": "ns", "dfs.ha.namenodes.ns": "a,b", "dfs.namenode.rpc-address.ns.a": "nn1:8020",
        "dfs.namenode.rpc-address.ns.b": "nn2:8020"})  # fmt: skip
    assert cluster_of(YarnJobConfig()).namenodes == ["http://nn1:9870/webhdfs/v1", "http://nn2:9870/webhdfs/v1"]


def test_a_nameservice_of_one_name_node(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://ns"}, yarn=RM,
                 hdfs={"dfs.nameservices": "ns", "dfs.namenode.rpc-address.ns": "nn1:8020"})  # fmt: skip
    assert cluster_of(YarnJobConfig()).namenodes == ["http://nn1:9870/webhdfs/v1"]


def test_view_fs_leads_to_the_file_system_that_has_the_staging_folder(hadoop) -> None:
    table = "fs.viewfs.mounttable.all"
    hadoop.write(yarn=RM, core={"fs.defaultFS": "viewfs://all", f"{table}.link./user": "hdfs://ns/home",
                 f"{table}.link./user/eve": "hdfs://nn9:8020/eve"}, hdfs={
        "dfs.nameservices": "ns", "dfs.ha.namenodes.ns": "a,b", "dfs.namenode.http-address.ns.a": "nn1:1",
        "dfs.namenode.http-address.ns.b": "nn2:2"})  # fmt: skip
    found = cluster_of(YarnJobConfig())
    assert (found.file_system, found.staging) == ("hdfs://ns", "/home/ada/.aiflow")
    assert found.namenodes == ["http://nn1:1/webhdfs/v1", "http://nn2:2/webhdfs/v1"]
    other = cluster_of(YarnJobConfig(user="eve"))
    assert (other.file_system, other.staging) == ("hdfs://nn9:8020", "/eve/.aiflow")
    with pytest.raises(ConfigError, match=r"/tmp/x is on no HDFS by the mount table of its fs.defaultFS, viewfs://all"):
        cluster_of(YarnJobConfig(staging="/tmp/x"))


def test_an_included_file_that_is_not_there_is_named(hadoop) -> None:
    (hadoop.folder / "core-site.xml").write_text(
        '<configuration xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="gone.xml"/></configuration>'
    )
    with pytest.raises(ConfigError, match=r"gone\.xml"):
        cluster_of(YarnJobConfig())


@pytest.mark.parametrize(
    ("given", "found"),
    [("http://jhs:19888/jobhistory/logs", "http://jhs:19888/ws/v1/history"),
     ("https://ats:8190/applicationhistory/logs/", "https://ats:8190/ws/v1/applicationhistory"),
     ("http://somewhere/else", None), ("http://0.0.0.0:19888/jobhistory/logs", None)],
)  # fmt: skip
def test_history_by_its_web_pages_alone(hadoop, given: str, found: str | None) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020"},
                 yarn={"yarn.resourcemanager.hostname": "rm", "yarn.log.server.url": given})  # fmt: skip
    assert cluster_of(YarnJobConfig()).history == found


def test_the_config_wins(hadoop) -> None:
    """A job on another cluster: nothing of the first one's addresses is mixed in."""
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020"}, yarn={"yarn.resourcemanager.hostname": "rm"},
                 mapred={"mapreduce.jobhistory.webapp.address": "jhs:19888"})  # fmt: skip
    config = YarnJobConfig(resource_manager=["a:8088", "https://b:8090"], webhdfs="httpfs:14000", user="bob",
                           history="http://other:19888")  # fmt: skip
    found = cluster_of(config)
    assert found.resource_managers == ["http://a:8088", "https://b:8090"]
    assert found.schedulers == ["a:8030", "b:8030"]
    assert found.namenodes == ["http://httpfs:14000/webhdfs/v1"]
    assert found.file_system == "webhdfs://httpfs:14000"
    assert found.history == "http://other:19888/ws/v1/history"
    assert found.staging == "/user/bob/.aiflow"


def test_what_is_missing_is_named_together(hadoop) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster_of(YarnJobConfig())
    words = str(caught.value)
    assert f"no address of a ResourceManager: HADOOP_CONF_DIR ({hadoop.folder}) does not say it" in words
    assert "no address of WebHDFS" in words


def test_another_file_system_than_hdfs(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "s3a://bucket"}, yarn={"yarn.resourcemanager.hostname": "rm"})
    with pytest.raises(ConfigError, match=r"its fs\.defaultFS, s3a://bucket, is no HDFS"):
        cluster_of(YarnJobConfig())


def test_a_damaged_file_is_named(hadoop, tmp_path: Path) -> None:
    (hadoop.folder / "core-site.xml").write_text("<configuration><prop")
    with pytest.raises(ConfigError) as caught:
        cluster_of(YarnJobConfig())
    assert str(hadoop.folder / "core-site.xml") in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resource_manager": "not an address"}, "must be a web address"),
        ({"resource_manager": "rm1"}, "must say the port"),
        ({"scheduler": "rm1"}, "must be host:port"),
        ({"staging": "here"}, "must be an absolute path"),
        ({"queue": " "}, "must be a queue's name"),
        ({"tags": ["a,b"]}, "without a comma"),
        ({"tags": ["ü"]}, "ASCII"),
        ({"files": {"work": "x"}}, "cannot have the name 'work'"),
        ({"files": {"a/b": "x"}}, "cannot have the name 'a/b'"),
        ({"files": {"a": "x"}, "archives": {"a": "y.zip"}}, "both have a"),
        ({"resources": {"memory-mb": 1}}, "are keys of their own"),
        ({"resources": {"yarn.io/gpu": 1}}, "are keys of their own"),
        ({"am_attempts": 0}, "at least 1"),
        ({"file_system": "/path"}, "must be a URI"),
    ],
)
def test_values_that_cannot_be(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        YarnJobConfig(**given)


def test_whoever_logs_in_from_a_keytab_is_the_user_and_the_cluster_has_kerberos(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020"}, yarn={"yarn.resourcemanager.hostname": "rm"})
    found = cluster_of(YarnJobConfig(principal="batch/gateway@EXAMPLE.COM", keytab="/etc/batch.keytab"))
    assert (found.kerberos, found.user, found.staging) == (True, "batch", "/user/batch/.aiflow")
    assert (found.principal, found.keytab) == ("batch/gateway@EXAMPLE.COM", "/etc/batch.keytab")


def test_files_and_applications_are_of_the_user_acted_for(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020"}, yarn={"yarn.resourcemanager.hostname": "rm"})
    found = cluster_of(YarnJobConfig(proxy_user="grace"))
    assert (found.user, found.staging, found.real_user) == ("grace", "/user/grace/.aiflow", "ada")


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"principal": "ada"}, "belong together"), ({"keytab": "/k"}, "belong together"),
     ({"principal": "ada", "keytab": "k"}, "absolute path"), ({"principal": "a b", "keytab": "/k"}, "NAME"),
     ({"principal": "ada", "keytab": "/k", "authentication": "simple"}, "for Kerberos")],
)  # fmt: skip
def test_a_login_that_cannot_be(keys: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        YarnJobConfig(**keys)


KNOX = {
    "resource_manager": "https://knox:8443/gateway/default/resourcemanager",
    "webhdfs": "https://knox:8443/gateway/default/webhdfs",
    "gateway": {"user": "ada", "password": {"secret": "env:KNOX"}},
}


def test_behind_a_gateway_nodes_use_what_the_cluster_says(hadoop) -> None:
    hadoop.write(core={"fs.defaultFS": "hdfs://nn:8020"}, yarn={"yarn.resourcemanager.hostname": "rm"})
    found = cluster_of(YarnJobConfig(**KNOX))
    assert found.resource_managers == ["https://knox:8443/gateway/default/resourcemanager"]
    assert found.namenodes == ["https://knox:8443/gateway/default/webhdfs/v1"]
    assert (found.schedulers, found.node_namenodes) == (["rm:8030"], ["http://nn:9870/webhdfs/v1"])
    assert (found.file_system, found.history) == ("hdfs://nn:8020", None)


def test_a_gateway_without_the_nodes_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "HADOOP_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as told:
        cluster_of(YarnJobConfig(**KNOX))
    assert "give scheduler:" in str(told.value)
    assert "give node_webhdfs:" in str(told.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"gateway": {"user": "ada", "password": "plain"}}, "plain text"), ({"gateway": {"user": "ada"}}, "must be"),
     ({"gateway": {"token": "plain"}}, "plain text"), ({"webhdfs": "http://knox:8443"}, "https alone"),
     ({"webhdfs": None}, "needs resource_manager and webhdfs"), ({"proxy_user": "grace"}, "proxy_user")],
)  # fmt: skip
def test_a_gateway_that_cannot_be(keys: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        YarnJobConfig(**{**KNOX, **keys})
