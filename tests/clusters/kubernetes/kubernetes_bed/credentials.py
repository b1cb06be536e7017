"""Certificates of a bed, all from one authority of its own, and the kubeconfigs that hold them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from kubernetes_bed.cache import run
from kubernetes_bed.layout import Layout

SERVICE_IP = "10.96.0.1"
CLUSTER_NAMES = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]

_CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kcm": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}
_DAYS = "30"


def make(layout: Layout) -> None:
    """Make authority, certificates, the key that signs service accounts' tokens, and kubeconfigs."""
    layout.pki.mkdir(mode=0o700)
    _authority(layout.pki)
    names = [f"DNS:{name}" for name in ["localhost", *CLUSTER_NAMES]]
    addresses = [f"IP:{address}" for address in (layout.node_ip, "127.0.0.1", SERVICE_IP)]
    _certificate(layout.pki, "apiserver", "/CN=kube-apiserver", [*addresses, *names])
    _certificate(layout.pki, "apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    node = f"/O=system:nodes/CN=system:node:{layout.node}"
    _certificate(layout.pki, "kubelet-server", node, [f"IP:{layout.node_ip}", f"DNS:{layout.node}"])
    _certificate(layout.pki, "kubelet", node)
    for name, subject in _CLIENTS.items():
        _certificate(layout.pki, name, subject)
    run(["openssl", "genrsa", "-out", layout.pki / "sa.key", "2048"])
    run(["openssl", "rsa", "-in", layout.pki / "sa.key", "-pubout", "-out", layout.pki / "sa.pub"])
    for name in [*_CLIENTS, "kubelet"]:
        target = layout.kubeconfig if name == "admin" else layout.conf / f"{name}.kubeconfig"
        pair = {"client-certificate-data": f"{name}.crt", "client-key-data": f"{name}.key"}
        write_kubeconfig(layout, target, name, {key: _base64(layout.pki / file) for key, file in pair.items()})


def write_kubeconfig(layout: Layout, path: Path, user: str, credentials: dict[str, str], namespace: str = "") -> Path:
    """Write a kubeconfig (as JSON, which is YAML) with one context, ``bed``; only its owner may read it."""
    authority = _base64(layout.pki / "ca.crt")
    context = {"cluster": "bed", "user": user, **({"namespace": namespace} if namespace else {})}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": {"server": layout.server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "bed", "context": context}],
        "current-context": "bed",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1) + "\n")
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _key(path: Path) -> None:
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])


def _authority(folder: Path) -> None:
    _key(folder / "ca.key")
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature,cRLSign"]
    subject = ["-subj", "/CN=aiflow-bed", *(part for extension in extensions for part in ("-addext", extension))]
    files = ["-key", str(folder / "ca.key"), "-out", str(folder / "ca.crt")]
    run(["openssl", "req", "-x509", "-new", "-sha256", "-days", _DAYS, *files, *subject])


def _certificate(folder: Path, name: str, subject: str, alternatives: list[str] | None = None) -> None:
    """A client's certificate, or a server's where it has alternative names."""
    key, request, extensions = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.ext"
    usage = "serverAuth" if alternatives else "clientAuth"
    lines = ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={usage}"]
    if alternatives:
        lines.append(f"subjectAltName={','.join(alternatives)}")
    extensions.write_text("\n".join(lines))
    _key(key)
    run(["openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request])
    authority = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"]
    files = ["-in", str(request), "-out", str(folder / f"{name}.crt"), "-extfile", str(extensions)]
    run(["openssl", "x509", "-req", "-sha256", "-days", _DAYS, *authority, *files])
    request.unlink()
    extensions.unlink()
