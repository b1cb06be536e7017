"""The programs of a bed, built from the Go module proxy: Kubernetes with etcd in one, and the S3 server."""

from __future__ import annotations

from pathlib import Path

from kubernetes_bed import machine
from kubernetes_bed.cache import fingerprint, made, run

KUBERNETES = "1.34.4"
VERSITYGW = "1.8.0"

_SOURCE = Path(__file__).resolve().parent.parent / "hyperkube"


def kubernetes() -> Path:
    """The folder that holds ``hyperkube`` and, linked to it, every component, ``kubectl`` and ``etcd``."""
    sources = [_SOURCE / name for name in ("go.mod", "go.sum", "main.go")]
    return made(f"kubernetes-{KUBERNETES}-{fingerprint(*(path.read_bytes() for path in sources))}", _make_kubernetes)


def s3_server() -> Path:
    """The path of ``versitygw``."""
    return made(f"versitygw-{VERSITYGW}", _make_s3_server) / "versitygw"


def _make_kubernetes(folder: Path) -> None:
    stamp = "k8s.io/component-base/version"
    variables = {
        f"{stamp}.gitVersion": f"v{KUBERNETES}",
        f"{stamp}.gitMajor": KUBERNETES.split(".")[0],
        f"{stamp}.gitMinor": KUBERNETES.split(".")[1],
        f"{stamp}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES}",
    }
    link = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in variables.items())])
    run(
        [machine.go(), "build", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", link, "-o", folder, "."],
        cwd=_SOURCE,
        env={"CGO_ENABLED": "0"},
    )
    for name in (
        "etcd",
        "kubectl",
        "kubelet",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
    ):
        (folder / name).symlink_to("hyperkube")


def _make_s3_server(folder: Path) -> None:
    run(
        [machine.go(), "install", "-p", "2", "-trimpath", f"github.com/versity/versitygw/cmd/versitygw@v{VERSITYGW}"],
        env={"CGO_ENABLED": "0", "GOBIN": str(folder)},
    )
