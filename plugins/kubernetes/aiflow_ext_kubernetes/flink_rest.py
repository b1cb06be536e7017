"""Flink's REST API behind a Service of the cluster."""

from __future__ import annotations

from typing import Any

from aiflow_ext_flink.rest import FlinkRest, Refused, Unreachable, said_in
from aiflow_ext_kubernetes.flink_objects import REST
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.target import Target


class ProxiedRest(FlinkRest):
    """Flink's REST API in a cluster, by way of the API server's proxy and its credentials.

    Args:
        target: where the cluster is.
        service: the name of the JobManager's Service.
        port: of it.
        namespace: of the Service; None: the target's.
    """

    def __init__(self, target: Target, service: str, port: int = REST, namespace: str | None = None) -> None:
        path = f"/api/v1/namespaces/{namespace or namespace_of(target)}/services/{service}:{port}/proxy"
        super().__init__(f"{server_of(target).url}{path}")
        self._target, self._path = target, path

    def _ask(self, method: str, path: str, body: Any = None, fields: Any = None) -> Any:
        try:
            return server_of(self._target).relay(method, self._path + path, body)
        except ApiError as error:
            # NotFound is the API server's word, not Flink's: there is no such Service.
            if error.status >= 500 or error.api_reason == "NotFound":
                raise Unreachable(f"Flink does not answer {method} {path}: {error.message}") from error
            if error.status in (401, 403):
                raise
            words = said_in(error.body) or error.message
            raise Refused(f"Flink refuses {method} {path}: {words}", error.status, words) from error
