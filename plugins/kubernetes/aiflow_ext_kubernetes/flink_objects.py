"""The objects of a Flink application cluster, as pure data: one Indexed Job, a Service and a ConfigMap that it owns.

Index 0 is the JobManager, each other index a TaskManager. The Service leads to the JobManager under an address that is
known before it starts, so that no DNS is needed; it leads there also while the pod is not ready (facts of Flink 2.3 and
Kubernetes 1.34, measured). The Job is complete when index 0 is, and the cluster ends the TaskManagers then, without a
client; a TaskManager that ends sooner is started again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from aiflow_ext_kubernetes import flink_shell, manifest
from aiflow_ext_kubernetes.objects import INDEX
from aiflow_ext_kubernetes.template import CONTAINER, merged

RPC, BLOB, REST = 6123, 6124, 8081  # ports of the JobManager
ARCHIVE = f"{manifest.WORK}/archive"
# Of jars at URLs. By default it is a folder of the image, which the pod's user may not make.
FETCHED = f"{manifest.WORK}/fetched"
RESTARTS = 6  # how often each TaskManager is started again before the attempt fails
_FAILED, _DISRUPTED = ("batch.kubernetes.io/job-index-failure-count",
                       "batch.kubernetes.io/job-index-ignored-failure-count")  # fmt: skip
_LOGGING = "log4j-console.properties"
_LOG = """\
rootLogger.level = ${env:ROOT_LOG_LEVEL:-INFO}
rootLogger.appenderRef.console.ref = ConsoleAppender
rootLogger.appenderRef.rolling.ref = RollingFileAppender
appender.console.name = ConsoleAppender
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.rolling.name = RollingFileAppender
appender.rolling.type = RollingFile
appender.rolling.fileName = ${sys:log.file}
appender.rolling.filePattern = ${sys:log.file}.%i
appender.rolling.layout.type = PatternLayout
appender.rolling.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.rolling.policies.type = Policies
appender.rolling.policies.size.type = SizeBasedTriggeringPolicy
appender.rolling.policies.size.size = 16MB
appender.rolling.strategy.type = DefaultRolloverStrategy
appender.rolling.strategy.max = 2
"""
# Of Flink's client: its failures are printed besides.
CLIENT_LOGGING = "log4j-cli.properties"
CLIENT_LOG = """\
rootLogger.level = ${env:ROOT_LOG_LEVEL:-WARN}
rootLogger.appenderRef.console.ref = ConsoleAppender
logger.cli.name = org.apache.flink.client.cli.CliFrontend
logger.cli.level = OFF
appender.console.name = ConsoleAppender
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
"""


def job_of(job: Mapping[str, Any], taskmanagers: int, probe: dict[str, Any] | None) -> dict[str, Any]:
    """The Job of an attempt, as ``manifest.job_of`` makes it, as that of a Flink cluster.

    Args:
        job: that.
        taskmanagers: how many it has.
        probe: of its pods, by which a task of it is found to run; None: it runs once its container does.
    """
    spec, name = dict(job["spec"]), job["metadata"]["name"]
    del spec["backoffLimit"]
    number = 1 + taskmanagers
    container = {
        "name": CONTAINER,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            _annotation("AIFLOW_FLINK_FAILED", _FAILED),
            _annotation("AIFLOW_FLINK_DISRUPTED", _DISRUPTED),
        ],
    }
    ends_it = {"operator": "NotIn", "values": [137, 143, flink_shell.LEFT]}  # in order; 128 + SIGKILL, SIGTERM
    return {
        **_shown(job, f"http://{name}:{REST}"),
        "spec": {
            **spec,
            "completionMode": "Indexed",
            "completions": number,
            "parallelism": number,
            "backoffLimitPerIndex": RESTARTS,
            "maxFailedIndexes": 0,
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            # What becomes of a JobManager that was killed: see flink_shell.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, **ends_it}},
                ]
            },
            "template": _configured(merged(spec["template"], {"spec": {"containers": [container]}}), name, probe),
        },
    }


def client_of(job: Mapping[str, Any], probe: dict[str, Any], page: str) -> dict[str, Any]:
    """The Job of an attempt, as ``manifest.job_of`` makes it, as that of a client of a session cluster.

    Args:
        job: that.
        probe: of its pod, by which a task of its Flink job is found to run.
        page: the address of that one's web page.
    """
    made = {**job["spec"], "template": _configured(job["spec"]["template"], job["metadata"]["name"], probe)}
    return {**_shown(job, page), "spec": made}


def _shown(job: Mapping[str, Any], page: str) -> dict[str, Any]:
    """A Job whose status is shown with a web page while it lives."""
    return merged(job, {"metadata": {"annotations": {manifest.PAGE: page}}})


def _configured(template: dict[str, Any], name: str, probe: dict[str, Any] | None) -> dict[str, Any]:
    """A pod's template with the ConfigMap of that name, and with a startup probe where it has none of its own."""
    mount = {"name": "aiflow-flink", "mountPath": flink_shell.CONFIG, "readOnly": True}
    container: dict[str, Any] = {"name": CONTAINER, "volumeMounts": [mount]}
    (own,) = (each for each in template["spec"]["containers"] if each["name"] == CONTAINER)
    if probe is not None and "startupProbe" not in own:
        container["startupProbe"] = probe
    volume = {"name": "aiflow-flink", "configMap": {"name": name}}
    return merged(template, {"spec": {"containers": [container], "volumes": [volume]}})


def service_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The Service that leads to the JobManager of a Job."""
    name = job["metadata"]["name"]
    ports = [{"name": what, "port": port} for what, port in (("rpc", RPC), ("blob", BLOB), ("rest", REST))]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job),
        "spec": {
            "selector": {"batch.kubernetes.io/job-name": name, INDEX: "0"},
            "publishNotReadyAddresses": True,
            "ports": ports,
        },
    }


def config_map_of(
    job: Mapping[str, Any], configuration: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, Any]:
    """The ConfigMap of a Job: Flink's configuration, and the files of its program.

    Args:
        job: the Job.
        configuration: Flink's.
        files: the program's files by name.
    """
    texts, binaries = {}, {}
    for name, data in files.items():
        try:
            texts[name] = data.decode()
        except UnicodeDecodeError:
            binaries[name] = base64.b64encode(data).decode()
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(job),
        "immutable": True,
        "data": {**texts, "config.yaml": json.dumps(configuration, indent=1, ensure_ascii=False), _LOGGING: _LOG},
    }
    if binaries:
        found["binaryData"] = binaries
    return found


def addresses(address: str) -> dict[str, str]:
    """What configures where the parts of a cluster find each other. ``address`` is the Service's."""
    return {
        "jobmanager.rpc.address": address,
        "jobmanager.rpc.port": str(RPC),
        "jobmanager.bind-host": "0.0.0.0",  # noqa: S104 - in the pod
        "taskmanager.bind-host": "0.0.0.0",  # noqa: S104
        "blob.server.port": str(BLOB),
        "rest.address": address,
        "rest.port": str(REST),
        "rest.bind-address": "0.0.0.0",  # noqa: S104
    }


def _annotation(variable: str, name: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}}


def _metadata(job: Mapping[str, Any]) -> dict[str, Any]:
    return {what: job["metadata"][what] for what in ("name", "labels", "annotations")}
