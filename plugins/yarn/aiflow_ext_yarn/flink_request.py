"""The submission of a Flink job: Flink's own application master, its files and the script that starts it, as pure data.

Formats are those of org.apache.flink.yarn (YarnClusterDescriptor, YarnConfigKeys, YarnLocalResourceDescriptor), 2.3.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from aiflow_ext.plugin.secrets import plain
from aiflow_ext_flink.configuration import QUICK
from aiflow_ext_yarn import flink_artifacts, flink_node_checks, master, request
from aiflow_ext_yarn.flink_job import RUN, YarnFlinkJob
from aiflow_ext_yarn.layout import BUNDLE, CA, MASTER, PAYLOAD
from aiflow_ext_yarn.request import APPLICATION_ID, Staged

Json = dict[str, Any]
START, CONFIG, LOG4J, READY = "aiflow-start.sh", "config.yaml", "log4j.properties", "ready"
ENTRY_POINT = "org.apache.flink.yarn.entrypoint.YarnApplicationClusterEntryPoint"
# Where the nodes' own Hadoop is: yarn.application.classpath in yarn-default.xml.
HADOOP = "$HADOOP_CONF_DIR," + ",".join(
    f"${home}/share/hadoop/{part}/{jars}"
    for home, part in (("HADOOP_COMMON_HOME", "common"), ("HADOOP_HDFS_HOME", "hdfs"), ("HADOOP_YARN_HOME", "yarn"))
    for jars in ("*", "lib/*")
)
LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n%throwable
"""


def content(job: YarnFlinkJob) -> Json:
    """The whole request of a job whose context is filled in."""
    native_id = job.context.native_id or APPLICATION_ID
    staged = files(job, native_id)
    ours = (START, RUN, BUNDLE, PAYLOAD, CA, MASTER, job.libraries.dist)
    shipped = [each for each in staged if each.brought and each.name not in ours
               and not each.name.startswith("opt/")]  # fmt: skip
    dist = next(each for each in staged if each.name == job.libraries.dist)
    environment = {
        "_FLINK_CLASSPATH": _class_path(staged),
        "_FLINK_DIST_JAR": _resource(job, dist),
        "_CLIENT_SHIP_FILES": ";".join(_resource(job, each) for each in shipped),
        "_FLINK_YARN_FILES": "",  # a folder that Flink would remove: this plugin removes its own
        "FLINK_OPT_DIR": "./opt",
        "HADOOP_USER_NAME": job.cluster.user,  # under Kerberos Hadoop leaves it aside, and Flink wants it all the same
    }
    told = [{"key": name, "value": value} for name, value in environment.items()]
    command = f"exec /bin/bash {START} 1><LOG_DIR>/stdout 2><LOG_DIR>/stderr"
    return {
        **request.request_of(job, native_id, staged, told, command),
        "configuration": configuration(job, native_id),
        "script": script(job, native_id).splitlines(),
        **({"run": flink_artifacts.command(job, native_id).splitlines()} if job.has_artifacts else {}),
    }


def files(job: YarnFlinkJob, native_id: str) -> list[Staged]:
    """The files of a job, those that are sent once a run first."""
    found = [*job.libraries.staged(job.cluster.staging, job.options()), *job.program_files(), *request.given_files(job)]
    found += flink_artifacts.files(job, native_id) if job.has_artifacts else ()
    own = {
        CONFIG: json.dumps(configuration(job, native_id), indent=1),
        LOG4J: LOGGING,
        START: script(job, native_id),
        READY: "",
    }
    shown = {CONFIG: "the configuration", LOG4J: "where Flink logs to: stderr", START: "the script",
             READY: "what the start marker is made from"}  # fmt: skip
    for name, text in own.items():
        found.append(Staged(name, f"{job.folder(native_id)}/{name}", source=text.encode(), shown=shown[name],
                            brought=name != READY))  # fmt: skip
    return found


def configuration(job: YarnFlinkJob, native_id: str) -> Json:
    """Flink's configuration of the application."""
    cluster = job.cluster
    found: Json = {
        "execution.target": "yarn-application",
        "execution.attached": True,
        "yarn.heartbeat.interval": 1,  # by default a task manager waits five seconds for its container
        "high-availability.cluster-id": native_id,
        "jobmanager.archive.fs.dir": cluster.uri(job.archive(native_id)),
        "flink.hadoop.fs.defaultFS": cluster.file_system,
        **job.configuration(native_id),
    }
    if len(cluster.schedulers) == 1:  # several have names of their own, which the nodes' own configuration has
        found["flink.yarn.resourcemanager.scheduler.address"] = cluster.schedulers[0]
    if job.config.hadoop_classpath is not None:
        found["flink.yarn.application.classpath"] = ",".join(_hadoop(job))
    if job.config.java_home is not None:
        found["containerized.taskmanager.env.JAVA_HOME"] = job.config.java_home
    for name, value in job.config.env.items():
        found[f"containerized.taskmanager.env.{name}"] = plain(value)
    return found


def script(job: YarnFlinkJob, native_id: str) -> str:
    """What the container runs.

    It makes the start marker first, which the application master of other engines makes: the file ``ready`` becomes
    ``started``. HDFS renames a file for one caller alone, and ``ready`` was made before the submission and is never
    made again, so that no second start of the application gets any further.
    """
    folder = job.cluster.uri(job.folder(native_id))
    variables = {name: plain(value) for name, value in job.config.env.items()}
    variables |= request.variables_of(job, native_id, "")[1]
    del variables["AIFLOW_WORK_FOLDER"]  # it is known there alone
    if job.config.java_home is not None:
        variables["JAVA_HOME"] = job.config.java_home
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    claim = " ".join(shlex.quote(f"{folder}/{name}") for name in (READY, master.STARTED))
    system = "".join(f" -D {shlex.quote(f'{key}={value}')}" for key, value in _hadoop_client(job).items())
    shell = f'"$JAVA_HOME/bin/java" -Xmx64m {" ".join(QUICK)} -cp "$HADOOP" org.apache.hadoop.fs.FsShell{system}'
    options = f"{shlex.join(job.java_options())} -Dlog4j.configurationFile=file:{LOG4J}"
    flink = f'"$JAVA_HOME/bin/java" {options} {ENTRY_POINT}'
    begun = [
        "export AIFLOW_WORK_FOLDER=$PWD",
        *lines,
        *flink_node_checks.script(job),
        f'export HADOOP="{":".join(_hadoop(job))}"',
        'export CLASSPATH="$_FLINK_CLASSPATH:$HADOOP"',
        f'hadoop() {{ {shell} "$@"; }}',
        f"hadoop -mv {claim} || {{ {flink_node_checks.without_hadoop()}; exit 1; }}",
    ]
    if not job.has_artifacts:
        return "\n".join([*begun, f"exec {flink}", ""])
    shared = [f"jobmanager() {{ {flink}; }}", "export -f hadoop jobmanager"]
    return "\n".join([*begun, *shared, *flink_artifacts.script(job, native_id), ""])


def _hadoop(job: YarnFlinkJob) -> list[str]:
    """The class path of Hadoop on the nodes."""
    said = job.config.hadoop_classpath or job.hadoop_classpath or HADOOP
    return [each.strip() for each in said.replace(":", ",").split(",") if each.strip()]


def _hadoop_client(job: YarnFlinkJob) -> dict[str, str]:
    """What Hadoop's client needs besides the nodes' own configuration."""
    return {"fs.defaultFS": job.cluster.file_system}


def _class_path(staged: list[Staged]) -> str:
    """Flink's class path: the current folder with its configuration, then the jars, flink-dist as the last one."""
    return ":".join([".", *(each.name for each in staged if each.name.startswith("lib/")), ""])


def _resource(job: YarnFlinkJob, staged: Staged) -> str:
    """A file for Flink, which has its task managers' containers bring it too.

    In single quotes, as the script that YARN makes has the variable's value in double ones.
    """
    uri = staged.uri if staged.path is None else job.cluster.uri(staged.path)
    return (
        f"{{'resourceKey':'{staged.name}','path':'{uri}','size':${{server:size:{staged.name}}},"
        f"'modificationTime':${{server:timestamp:{staged.name}}},'visibility':'"
        f"{'PRIVATE' if staged.once else 'APPLICATION'}','resourceType':'{'ARCHIVE' if staged.archive else 'FILE'}'}}"
    )
