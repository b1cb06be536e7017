"""The images of a bed, made without a registry, and a containerd store that holds them ready to run.

=================================  ==================================================================================
``localhost/pause:1``              what holds a pod's namespaces
``localhost/busybox:1``            a shell and little else
``localhost/aiflow-python:3.11``   Debian's python3, nothing installed
``localhost/aiflow-python:3.11-s3``  the same with fsspec and s3fs
``localhost/aiflow-digits:3.11``   the same with what examples/digits needs
``localhost/aiflow-driver:3.11``   the one for S3 with what a driver needs, but for aiflow-ext itself
``localhost/aiflow-python:3.13``   a later Debian's python3, nothing installed
``localhost/aiflow-flink:2.3.0``   Flink in /opt/flink with PyFlink for python3, and this machine's Java
=================================  ==================================================================================

A name without its host part would be looked for at Docker's registry. Any user can run them; the default is root.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes_bed import machine
from kubernetes_bed.cache import fingerprint, made, run
from kubernetes_bed.errors import BedError

PAUSE = "localhost/pause:1"
BUSYBOX = "localhost/busybox:1"
PYTHON = "localhost/aiflow-python:3.11"
PYTHON_S3 = "localhost/aiflow-python:3.11-s3"
DIGITS = "localhost/aiflow-digits:3.11"
DRIVER = "localhost/aiflow-driver:3.11"
PYTHON_LATER = "localhost/aiflow-python:3.13"
FLINK = "localhost/aiflow-flink:2.3.0"

NAMES = {
    "pause": PAUSE,
    "busybox": BUSYBOX,
    "python": PYTHON,
    "python_s3": PYTHON_S3,
    "digits": DIGITS,
    "driver": DRIVER,
    "python_later": PYTHON_LATER,
    "flink": FLINK,
}

_SUITE, _PYTHON, _LATER_SUITE = "bookworm", "3.11", "trixie"
_PACKAGES = f"usr/local/lib/python{_PYTHON}/dist-packages"
_FOLDER = Path(__file__).resolve().parent.parent / "images"
_S3 = _FOLDER / "s3.txt"
_DRIVER = _FOLDER / "driver.txt"
_FLINK = _FOLDER / "flink.txt"
_SQL_GATEWAY = "org.apache.flink:flink-sql-gateway:2.3.0"  # runs SQL scripts; the one jar that no wheel has
_DIGITS = Path(__file__).resolve().parents[4] / "examples" / "digits" / "requirements.txt"
_BLOBS = "io.containerd.content.v1.content/blobs"
_SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_JAVA = "/opt/java"
_FLINK_ENV = [f"{_PATH}:{_JAVA}/bin:/opt/flink/bin", "LANG=C.UTF-8", f"JAVA_HOME={_JAVA}", "FLINK_HOME=/opt/flink"]


def store() -> Path:
    """A containerd root folder that holds all images, but for what stands beside it. To be copied."""
    recipe = [path.read_bytes() for path in (Path(__file__), _FOLDER / "pause.c", _S3, _DIGITS, _DRIVER, _FLINK)]
    return made(f"images-{fingerprint(*recipe)}", _make_store) / "containerd"


def copy_store(source: Path, target: Path) -> list[tuple[str, str]]:
    """A store of one's own, but for what never changes: pairs of where that is, and where it is to be mounted."""
    run(["cp", "--archive", source, target])
    shared = source.parent / "shared"
    return [(str(path), str(target / path.relative_to(shared))) for path in _unchanging(shared)]


def _unchanging(store: Path) -> list[Path]:
    """The folders of a store that hold blobs and unpacked layers."""
    return [store / _BLOBS, *(store / _SNAPSHOTS).iterdir()]


def _make_store(folder: Path) -> None:
    rootfs, later = _rootfs(_SUITE), _rootfs(_LATER_SUITE)
    layers = folder / "layers"
    pause, busybox, s3, digits, driver = (layers / name for name in ("pause", "busybox", "s3", "digits", "driver"))
    flink = layers / "flink"
    pause.mkdir(parents=True)
    run(["gcc", "-static", "-Os", "-s", "-o", pause / "pause", _FOLDER / "pause.c"])
    _make_busybox(busybox)
    _pip_install(s3, rootfs, _S3)
    _pip_install(digits, rootfs, _DIGITS)
    _pip_install(driver, rootfs, _DRIVER)
    _make_flink(flink, rootfs)
    tars = {path: _tar(path) for path in (pause, busybox, rootfs, later, s3, digits, driver, flink)}
    python: dict[str, Any] = {"Cmd": ["python3"], "Env": [_PATH, "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"]}
    archive = folder / "images.tar"
    _write_archive(
        archive,
        [
            _Image(PAUSE, {"Entrypoint": ["/pause"], "Env": [_PATH]}, [tars[pause]]),
            _Image(BUSYBOX, {"Cmd": ["sh"], "Env": [_PATH]}, [tars[busybox]]),
            _Image(PYTHON, python, [tars[rootfs]]),
            _Image(PYTHON_S3, python, [tars[rootfs], tars[s3]]),
            _Image(DIGITS, python, [tars[rootfs], tars[s3], tars[digits]]),
            _Image(DRIVER, python, [tars[rootfs], tars[s3], tars[driver]]),
            _Image(PYTHON_LATER, python, [tars[later]]),
            _Image(FLINK, {"Cmd": ["bash"], "Env": _FLINK_ENV}, [tars[rootfs], tars[flink]]),
        ],
    )
    _import(archive, folder)
    own, shared = folder / "containerd", folder / "shared"
    for path in _unchanging(own):
        target = shared / path.relative_to(own)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        path.mkdir(mode=0o700)
    for tar in tars.values():
        tar.unlink()
    archive.unlink()
    shutil.rmtree(layers)


def _rootfs(suite: str) -> Path:
    """Debian with python3, without what no job reads."""

    def make(folder: Path) -> None:
        run(["debootstrap", "--variant=minbase", "--include=python3", suite, folder / "rootfs"])
        root = folder / "rootfs"
        run(["chroot", root, "apt-get", "clean"])
        unwanted = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"]
        for name in [*unwanted, "var/lib/apt/lists", "var/cache/apt", "var/log", "dev"]:
            shutil.rmtree(root / name)
            (root / name).mkdir()

    return made(f"debian-{suite}-python-{fingerprint('1', machine.architecture())}", make) / "rootfs"


def _make_busybox(folder: Path) -> None:
    for name in ("bin", "etc", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    shutil.copy2(next(path for path in ("/usr/bin/busybox", "/bin/busybox") if Path(path).exists()), folder / "bin")
    for applet in run([folder / "bin" / "busybox", "--list"]).split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")


def _make_flink(layer: Path, rootfs: Path) -> None:
    """Flink as its Python's wheels have it, a jar from Maven, and a Java that is there already, without its sources."""
    _pip_install(layer, rootfs, _FLINK, "--no-deps")
    home = layer / _PACKAGES / "pyflink"
    for unneeded in ("plugins", "opt/flink-sql-client-2.3.0.jar", "log", "examples"):
        path = home / unneeded
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    (home / "plugins").mkdir()
    for script in (home / "bin").glob("*.sh"):
        script.chmod(0o755)
    (layer / "opt").mkdir()
    (layer / "opt" / "flink").symlink_to(f"/{_PACKAGES}/pyflink")
    maven = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    _need("mvn", "maven")
    run(["mvn", "-q", "-B", maven, f"-Dartifact={_SQL_GATEWAY}", f"-DoutputDirectory={home / 'opt'}"], cwd=layer)
    java = Path(_need("java", "openjdk-17-jre-headless")).resolve().parents[1]
    unneeded = shutil.ignore_patterns("jmods", "docs", "man", "legal", "include", "src.zip", "ct.sym", "demo")
    shutil.copytree(java, layer / _JAVA.lstrip("/"), ignore=unneeded, ignore_dangling_symlinks=True)


def _need(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise BedError(f"the image with Flink needs {program}, and there is none on the PATH: install {package}")
    return found


def _pip_install(layer: Path, rootfs: Path, requirements: Path, *more: str) -> None:
    """Packages for the image's python (not for the one that runs this), compiled, since a job's user may not write."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode:
        raise BedError(f"{sys.executable} has no pip, which makes the images: run this with a python that has it")
    cpu = {"amd64": "x86_64", "arm64": "aarch64"}[machine.architecture()]
    platforms = [f"--platform=manylinux_2_{minor}_{cpu}" for minor in (36, 34, 31, 28, 27, 17, 5)]
    run(
        [
            *(*pip, "install", "--quiet", "--no-compile", "--root-user-action=ignore", "--only-binary=:all:"),
            *(f"--python-version={_PYTHON}", "--implementation=cp", *platforms, f"--platform=manylinux2014_{cpu}"),
            *(f"--target={layer / _PACKAGES}", f"--requirement={requirements}", *more),
        ]
    )
    inside = f'mount --bind "$1/usr/local" "$2/usr/local" && chroot "$2" python3 -m compileall -q "/{_PACKAGES}"'
    run(["unshare", "--mount", "sh", "-c", inside, "sh", layer, rootfs])


@dataclass(frozen=True)
class _Image:
    name: str
    config: Mapping[str, Any]
    layers: Sequence[Path]


def _tar(folder: Path) -> Path:
    tar = Path(f"{folder}.tar")
    run(["tar", "--create", "--numeric-owner", "--sort=name", "--one-file-system", f"--file={tar}", "-C", folder, "."])
    return tar


def _write_archive(path: Path, images: Iterable[_Image]) -> None:
    """Write images as ``docker save`` does: layers, a config for each image and a manifest of all."""
    digests: dict[Path, str] = {}
    manifest = []
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        for image in images:
            for layer in image.layers:
                if layer not in digests:
                    digests[layer] = _sha256(layer)
                    archive.add(layer, f"{digests[layer]}.tar")
            rootfs = {"type": "layers", "diff_ids": [f"sha256:{digests[layer]}" for layer in image.layers]}
            config = {"architecture": machine.architecture(), "os": "linux", "config": image.config, "rootfs": rootfs}
            data = json.dumps({**config, "created": "1970-01-01T00:00:00Z"}).encode()
            name = f"{hashlib.sha256(data).hexdigest()}.json"
            add(name, data)
            layers = [f"{digests[layer]}.tar" for layer in image.layers]
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": layers})
        add("manifest.json", json.dumps(manifest).encode())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_IMPORT = """
set -eu
mount -t tmpfs none /run
containerd --root "$1/containerd" --state /run/containerd --address /run/containerd.sock --config "$1/config" \
    >"$1/log" 2>&1 &
containerd=$!
tries=0
until ctr --address /run/containerd.sock version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $containerd 2>/dev/null; then tail "$1/log" >&2; exit 1; fi
    sleep 0.1
done
ctr --address /run/containerd.sock --namespace k8s.io images import "$2" >&2
kill $containerd
wait $containerd || true
"""


def _import(archive: Path, folder: Path) -> None:
    """Let a containerd of its own unpack the archive into ``folder/containerd``; its mounts end with it."""
    (folder / "config").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    # In a pid namespace, so that an interrupted one leaves no daemon either.
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    run([*unshare, "sh", "-c", _IMPORT, "sh", folder, archive], env={"TMPDIR": str(folder)})
