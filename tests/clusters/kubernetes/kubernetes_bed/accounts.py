"""Service accounts that may do just so much, and their kubeconfigs."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes_bed import credentials
from kubernetes_bed.api import Api
from kubernetes_bed.layout import Layout

_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SHORTEST = 600  # seconds; the API server issues no token for less
_LEEWAY = 60  # seconds; it takes a token for so much longer than the token says (and remembers its word for ten more)


def make(
    api: Api, layout: Layout, namespace: str, rules: Sequence[Mapping[str, Any]], folder: Path, name: str, seconds: int
) -> Path:
    """See ``Bed.service_account``."""
    core, rbac = f"/api/v1/namespaces/{namespace}", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    account = api.create(f"{core}/serviceaccounts", {"metadata": {"name": name}})
    api.create(f"{rbac}/roles", {"metadata": {"name": name}, "rules": [dict(rule) for rule in rules]})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    api.create(f"{rbac}/rolebindings", binding)
    if seconds < _SHORTEST:
        token = _signed(layout, namespace, name, account["metadata"]["uid"], seconds)
    else:
        answer = api.create(f"{core}/serviceaccounts/{name}/token", {"spec": {"expirationSeconds": seconds}})
        token = answer["status"]["token"]
    path = folder / f"{name}.kubeconfig"
    return credentials.write_kubeconfig(layout, path, name, {"token": token}, namespace)


def _signed(layout: Layout, namespace: str, name: str, uid: str, seconds: int) -> str:
    """A token as the API server would make one, signed with its key, which it takes for ``seconds`` from now."""
    now = int(time.time()) - _LEEWAY
    claims = {
        "iss": _ISSUER,
        "aud": [_ISSUER],
        "iat": now,
        "nbf": now,
        "exp": now + seconds,
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
    }
    text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    sign = ["openssl", "dgst", "-sha256", "-sign", str(layout.pki / "sa.key")]
    signature = subprocess.run(sign, input=text.encode(), capture_output=True, check=True).stdout
    return f"{text}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
