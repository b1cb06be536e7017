"""A submission by Hadoop RPC, for what the REST API does not support: a container's resources besides memory and cores.

The ResourceManager's REST API accepts them and silently drops them (``RMWebAppUtil``, up to Hadoop 3.4.3 at least). The
same request goes as ``ApplicationClientProtocol.submitApplication`` then. Field numbers are those of Hadoop's
``yarn_protos.proto`` and ``yarn_service_protos.proto``; credentials are written as ``Credentials`` reads them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn import tokens
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.http_failures import Unreachable
from aiflow_ext_yarn.master import rpc
from aiflow_ext_yarn.master.credentials import Token
from aiflow_ext_yarn.master.wire import blob, integer

Json = dict[str, Any]
PROTOCOL = "org.apache.hadoop.yarn.api.ApplicationClientProtocolPB"
_ACCESS = {"VIEW_APP": 1, "MODIFY_APP": 2}
_TYPES = {"ARCHIVE": 1, "FILE": 2, "PATTERN": 3}
_VISIBILITIES = {"PUBLIC": 1, "PRIVATE": 2, "APPLICATION": 3}


def submit(cluster: Cluster, application: Json, token: str | None) -> None:
    """Start an application; an existing one is not changed.

    Args:
        cluster: where to submit.
        application: the body of the same request over REST.
        token: a delegation token of the ResourceManager, under Kerberos; else None.

    Raises Unreachable without an answer, PlatformError for a refusal.
    """
    client = rpc.Client(cluster.rpc, PROTOCOL, _token(token), cluster.user)
    try:
        client.call("submitApplication", blob(1, message(application)))
    except rpc.Unreachable as error:
        raise Unreachable(f"the ResourceManager cannot be reached by RPC: {error}",
                          hint="jobs that ask for resources: are submitted at yarn.resourcemanager.address (port 8032);"
                          " rpc: names another one") from error  # fmt: skip
    except rpc.RemoteError as error:
        words = f"the ResourceManager refuses application {application['application-id']}: {error}"
        raise PlatformError(
            words, hint="ask for what the cluster has: resources:, memory:, cpu:, gpu:, queue:"
        ) from error
    finally:
        client.close()


def _token(text: str | None) -> Token | None:
    if text is None:
        return None
    identifier, password, kind, _ = tokens.decoded(text)
    return Token(identifier, password, kind.decode("utf-8", "replace"))


def message(application: Json) -> bytes:
    """The request as an ``ApplicationSubmissionContextProto``."""
    found = re.fullmatch(r"application_(\d+)_(\d+)", application["application-id"])
    assert found is not None
    label = application.get("app-node-label-expression")
    fields = [
        blob(1, integer(1, int(found[2])) + integer(2, int(found[1]))),
        blob(2, application["application-name"]),
        blob(3, application["queue"]),
        blob(4, integer(1, application["priority"])) if "priority" in application else b"",
        blob(5, _container(application["am-container-spec"])),
        integer(7, application["unmanaged-AM"]),
        integer(8, application["max-app-attempts"]),
        blob(9, _resource(application["resource"])),
        blob(10, application["application-type"]),
        integer(11, application["keep-containers-across-application-attempts"]),
        *(blob(12, tag.lower()) for tag in application["application-tags"]["tag"]),
        blob(16, label) if label is not None else b"",
    ]
    return b"".join(fields)


def _resource(resource: Json) -> bytes:
    others = resource.get("resourceInformations", {}).get("resourceInformation", [])
    return integer(1, resource["memory"]) + integer(2, resource["vCores"]) + b"".join(
        blob(3, blob(1, each["name"]) + integer(2, each["value"]) + blob(3, each["units"]) + integer(4, 0))
        for each in others
    )  # fmt: skip


def _container(spec: Json) -> bytes:
    local = (
        blob(1, blob(1, each["key"]) + blob(2, _local(each["value"]))) for each in spec["local-resources"]["entry"]
    )
    env = (blob(4, blob(1, each["key"]) + blob(2, each["value"])) for each in spec["environment"]["entry"])
    acls = (
        blob(6, integer(1, _ACCESS[each["key"]]) + blob(2, each["value"]))
        for each in spec.get("application-acls", {}).get("entry", [])
    )
    commands = blob(5, spec["commands"]["command"])
    return b"".join([*local, blob(2, _credentials(spec["credentials"])), *env, commands, *acls])


def _local(value: Json) -> bytes:
    url = urlsplit(value["resource"])
    place = [blob(1, url.scheme), blob(2, url.hostname or "")]
    if url.port is not None:
        place.append(integer(3, url.port))
    place.append(blob(4, url.path))
    kind, visibility = _TYPES[value["type"]], _VISIBILITIES[value["visibility"]]
    numbers = integer(2, value["size"]) + integer(3, value["timestamp"]) + integer(4, kind) + integer(5, visibility)
    return blob(1, b"".join(place)) + numbers


def _credentials(credentials: Json) -> bytes:
    """As ``Credentials.writeTokenStorageToStream`` writes them, in Hadoop's Writables (version 0)."""
    held = credentials.get("tokens", {}).get("entry", [])
    secrets = credentials["secrets"]["entry"]
    return b"HDTS\0" + b"".join(
        [
            tokens.length(len(held)),
            *(part for each in held for part in _held(each)),
            tokens.length(len(secrets)),
            *(_sized(each["key"].encode()) + _sized(base64.b64decode(each["value"])) for each in secrets),
        ]
    )


def _held(entry: Json) -> Iterator[bytes]:
    yield _sized(entry["key"].encode())
    for field in tokens.decoded(entry["value"]):
        yield _sized(field)


def _sized(data: bytes) -> bytes:
    return tokens.length(len(data)) + data
