"""Whether this machine can hold a bed, and what it needs for one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import debian

from kubernetes_bed.cache import run, say
from kubernetes_bed.errors import BedError

CGROUPS = Path("/sys/fs/cgroup")
CNI_PLUGINS = Path("/usr/lib/cni")
GO_VERSION = (1, 24)

# Debian packages by the file that shows that one is there.
_PACKAGES = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    f"{CNI_PLUGINS}/bridge": "containernetworking-plugins",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/conntrack": "conntrack",
    "/usr/sbin/ethtool": "ethtool",
    "/usr/bin/socat": "socat",
    "/bin/busybox": "busybox-static",  # also where /bin is no link to /usr/bin
    "/usr/sbin/debootstrap": "debootstrap",
    "/usr/bin/gcc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/bin/openssl": "openssl",
    "/usr/bin/unshare": "util-linux",
}


def architecture() -> str:
    """This machine's name in images and Go: ``amd64`` or ``arm64``."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    if platform.machine() not in names:
        raise BedError(f"this machine is {platform.machine()}; a bed needs one of {', '.join(names)}")
    return names[platform.machine()]


def cgroup_version() -> int:
    """1 or 2: how this machine mounts its control groups; both will do (a hybrid counts as 1).

    Raises:
        BedError: there are none that a kubelet could use.
    """
    if (CGROUPS / "cgroup.controllers").exists():
        needed, found = {"cpu", "memory", "pids"}, set((CGROUPS / "cgroup.controllers").read_text().split())
        if not needed <= found:
            raise BedError(
                f"cgroup v2 is mounted at {CGROUPS}, without {', '.join(sorted(needed - found))}: the kubelet needs "
                "them. In a container, start it with --privileged --cgroupns=host; on a machine, enable them at boot"
            )
        return 2
    missing = [name for name in ("cpu", "cpuset", "memory", "pids", "devices") if not (CGROUPS / name).is_dir()]
    if missing:
        raise BedError(
            f"no cgroup v2 at {CGROUPS}, and of v1 {', '.join(missing)} is not mounted there. In a container, start it "
            "with --privileged and -v /sys/fs/cgroup:/sys/fs/cgroup"
        )
    return 1


def check() -> None:
    """Whether a bed can run here.

    Raises:
        BedError: it cannot; with what to do about it.
    """
    if platform.system() != "Linux":
        raise BedError(f"a bed needs Linux, and this is {platform.system()}")
    if os.geteuid() != 0:
        raise BedError("a bed needs root, for control groups, mounts and a network namespace: run this with sudo")
    architecture()
    cgroup_version()
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        raise BedError(
            "this machine refuses new namespaces (unshare --mount --net --pid). In a container, start it with "
            "--privileged; else look at /proc/sys/user/max_*_namespaces"
        )
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        subprocess.run(["modprobe", "overlay"], capture_output=True)
        if "\toverlay\n" not in Path("/proc/filesystems").read_text():
            raise BedError("this kernel has no overlayfs, which containerd needs: modprobe overlay")


def install_packages() -> None:
    """Install the Debian packages that are missing.

    Raises:
        BedError: there is no apt-get, or it fails.
    """
    if missing := debian.missing(_PACKAGES):
        say(f"installing {' '.join(missing)}")
    try:
        debian.install(_PACKAGES)
    except debian.PackagesMissing as error:
        raise BedError(str(error)) from error


def go() -> str:
    """The Go compiler's path.

    Raises:
        BedError: there is none, or it is too old.
    """
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    wanted = ".".join(map(str, GO_VERSION))
    if not found:
        raise BedError(f"Kubernetes is built with Go, and there is none on the PATH: install Go {wanted} or newer")
    version = re.search(r"go(\d+)\.(\d+)", run([found, "version"]))
    if not version or (int(version[1]), int(version[2])) < GO_VERSION:
        raise BedError(f"{found} is older than Go {wanted}: install a newer one, first on the PATH")
    return found
