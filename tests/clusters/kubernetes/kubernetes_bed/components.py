"""The programs that make up a bed: how each is configured and started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kubernetes_bed import binaries, images, machine
from kubernetes_bed.cache import SYSTEM_PATH
from kubernetes_bed.credentials import SERVICE_IP
from kubernetes_bed.errors import BedError
from kubernetes_bed.layout import Layout

# Started at once, and as soon as the API server answers.
FIRST = ("etcd", "apiserver", "containerd", "s3")
SECOND = ("kcm", "scheduler", "kubelet", "proxy")
NAMES = FIRST + SECOND
BUCKET = "aiflow"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # a /run of the bed's own

_ETCD = "http://127.0.0.1:2379"
_PODS = "10.244.0.0/16"


def command(name: str, layout: Layout) -> tuple[list[str], dict[str, str]]:
    """A component's argv and environment."""
    builders = {
        "etcd": _etcd, "apiserver": _apiserver, "containerd": _containerd, "s3": _s3,
        "kcm": _kcm, "scheduler": _scheduler, "kubelet": _kubelet, "proxy": _proxy,
    }  # fmt: skip
    env = {"PATH": SYSTEM_PATH, "HOME": "/"}
    if name == "s3":
        env |= {"ROOT_ACCESS_KEY": layout.access_key, "ROOT_SECRET_KEY": layout.secret_key}
    return builders[known(name)](layout), env


def known(name: str) -> str:
    """The name itself.

    Raises:
        BedError: no component is called so.
    """
    if name not in NAMES:
        raise BedError(f"there is no component {name!r}; there are {', '.join(NAMES)}")
    return name


def configure(layout: Layout) -> None:
    """Write what the components read besides their credentials, and make the folders that they want."""
    for name in ("etcd", "audit", "pod-logs", "cni", f"s3/{BUCKET}"):
        (layout.folder / name).mkdir(parents=True)
    (layout.folder / "etcd").chmod(0o700)
    (layout.conf / "resolv.conf").touch()
    for name, value in {
        "audit-policy": _audit_policy(),
        "kubelet": _kubelet_configuration(layout),
        "proxy": _proxy_configuration(layout),
        "cni/10-bridge": _cni(layout),
    }.items():
        path = layout.conf / f"{name}.conflist" if name.startswith("cni") else layout.conf / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=1))
    (layout.conf / "containerd.toml").write_text(_containerd_configuration(layout))


def _kubernetes(name: str) -> str:
    return str(binaries.kubernetes() / name)


def _etcd(layout: Layout) -> list[str]:
    peer = "http://127.0.0.1:2380"
    return [
        _kubernetes("etcd"),
        f"--data-dir={layout.folder / 'etcd'}",
        "--unsafe-no-fsync",  # survives its own death, if not the machine's
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--logger=zap",
        "--log-level=warn",
    ]


def _apiserver(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        _kubernetes("kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        f"--bind-address={layout.node_ip}",
        f"--advertise-address={layout.node_ip}",
        "--secure-port=6443",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={SERVICE_IP}/16",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # Without these, the controllers and the scheduler complain every few seconds.
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=lease",
        f"--audit-policy-file={layout.conf}/audit-policy.yaml",
        f"--audit-log-path={layout.audit}",
        "--audit-log-maxsize=4096",  # megabytes: one file, never rotated
    ]


def _audit_policy() -> dict[str, Any]:
    """Every request, once, except what the cluster's own components say all day."""
    own = ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"]
    groups = ["system:nodes", "system:serviceaccounts:kube-system"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": own, "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": groups, "verbs": ["get", "list", "watch"]},
            {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {"level": "None", "nonResourceURLs": ["/readyz", "/livez", "/healthz"]},
            {"level": "Metadata"},
        ],
    }


def _containerd(layout: Layout) -> list[str]:
    return ["/usr/bin/containerd", "--config", f"{layout.conf}/containerd.toml", "--log-level", "warn"]


def _containerd_configuration(layout: Layout) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    unused = [f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "devmapper", "zfs")]
    return f"""\
version = 2
root = "{layout.folder}/containerd"
state = "/run/containerd"
disabled_plugins = [{", ".join(unused)}]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd-opt"
[{cri}]
  sandbox_image = "{images.PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true  # a machine may lack CAP_SYS_RESOURCE, and then nothing would start
  stream_server_address = "127.0.0.1"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
  [{cri}.cni]
    bin_dir = "{machine.CNI_PLUGINS}"
    conf_dir = "{layout.conf}/cni"
"""


def _cni(layout: Layout) -> dict[str, Any]:
    subnet = _PODS.replace("/16", "/24")
    addresses = {
        "type": "host-local",
        "dataDir": f"{layout.folder}/cni",
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{**bridge, "ipam": addresses}, ports]}


def _s3(layout: Layout) -> list[str]:
    address = layout.s3.removeprefix("http://")
    return [str(binaries.s3_server()), "--port", address, "--quiet", "posix", str(layout.folder / "s3")]


def _kcm(layout: Layout) -> list[str]:
    return [
        _kubernetes("kube-controller-manager"),
        *_kubeconfigs(layout.conf / "kcm.kubeconfig"),
        "--use-service-account-credentials=true",
        f"--root-ca-file={layout.pki}/ca.crt",
        f"--service-account-private-key-file={layout.pki}/sa.key",
        f"--cluster-signing-cert-file={layout.pki}/ca.crt",
        f"--cluster-signing-key-file={layout.pki}/ca.key",
    ]


def _scheduler(layout: Layout) -> list[str]:
    return [_kubernetes("kube-scheduler"), *_kubeconfigs(layout.conf / "scheduler.kubeconfig")]


def _kubeconfigs(path: Path) -> list[str]:
    # With the default of 20 requests a second the controllers need twice the time until the first pod may start.
    flags = ["--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
    return [*(f"--{kind}kubeconfig={path}" for kind in ("", "authentication-", "authorization-")), *flags]


def _kubelet(layout: Layout) -> list[str]:
    return [
        _kubernetes("kubelet"),
        f"--config={layout.conf}/kubelet.yaml",
        f"--kubeconfig={layout.conf}/kubelet.kubeconfig",
        f"--root-dir={layout.folder}/kubelet",
        f"--hostname-override={layout.node}",
        f"--node-ip={layout.node_ip}",
        "--node-labels=aiflow.test/pool=default",
    ]


def _kubelet_configuration(layout: Layout) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.node_ip,
        "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": f"{pki}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet-server.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "podLogsDir": f"{layout.folder}/pod-logs",
        "containerLogMonitorInterval": "3s",  # the shortest there is; logs are rotated at 10 MiB, as everywhere
        "clusterDomain": "cluster.local",
        # Nothing answers there: a look-up fails at once, where no address at all would warn at every pod.
        "clusterDNS": [layout.node_ip],
        "resolvConf": f"{layout.conf}/resolv.conf",
        "maxPods": 200,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        # Images come with the bed and from nowhere else.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _proxy(layout: Layout) -> list[str]:
    return [_kubernetes("kube-proxy"), f"--config={layout.conf}/proxy.yaml"]


def _proxy_configuration(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{layout.conf}/proxy.kubeconfig"},
        "clusterCIDR": _PODS,
        "hostnameOverride": layout.node,
        "bindAddress": layout.node_ip,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0},  # that limit is the whole machine's
        "nodePortAddresses": [f"{layout.node_ip}/32"],
    }
