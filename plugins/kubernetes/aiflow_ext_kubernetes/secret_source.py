"""Source ``kubernetes`` of secrets: a key of a Secret of the cluster, which the container gets without the client."""

from __future__ import annotations

from typing import Any

from aiflow_ext.plugin import AbstractSecretSource, SecretError
from aiflow_ext_kubernetes import fields


class KubernetesSecretSource(AbstractSecretSource):
    """``kubernetes:NAME/KEY``: a key of a Secret in the job's namespace."""

    platforms = ("kubernetes",)

    def problem(self, rest: str) -> str | None:
        return None if fields.is_secret_key(*rest.partition("/")[::2]) else "is not of the form kubernetes:NAME/KEY"

    def read(self, rest: str) -> str:
        raise SecretError("the cluster gives it to the container alone")


def secret_key_of(value: Any) -> tuple[str, str] | None:
    """Name and key of the Secret that a value under ``env`` refers to; None where it refers to none."""
    from aiflow_ext.plugin.secrets import is_secret

    source, _, rest = str(value["secret"]).partition(":") if is_secret(value) else ("", "", "")
    if source != "kubernetes":
        return None
    name, _, key = rest.partition("/")
    return name, key
