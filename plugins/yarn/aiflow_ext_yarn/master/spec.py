"""The application master's specification: JSON from the client, completed with this container's paths and secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import urllib.parse

from aiflow_ext_yarn.master import SPEC_VARIABLE, SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

NO_RUNTIME = "default_container_executor.sh"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SpecError(Exception):
    """The specification, or something that it names, is missing or invalid."""


def read(file: str | None) -> dict[str, Any]:
    """The specification: of the file, else of the environment. Raises SpecError."""
    try:
        if file is not None:
            with open(file, "rb") as opened:
                text = opened.read()
        elif SPEC_VARIABLE in os.environ:
            text = base64.b64decode(os.environ[SPEC_VARIABLE])
        else:
            raise SpecError(f"no --spec and no {SPEC_VARIABLE} in the environment")
        found = json.loads(text.decode())
    except (OSError, ValueError) as error:
        raise SpecError(f"the specification cannot be read: {error}")
    if not isinstance(found, dict) or found.get("version") != SPEC_VERSION:
        raise SpecError(f"the specification is not of version {SPEC_VERSION}")
    missing = [key for key in ("scheduler", "argv", "mark", "staging") if not found.get(key)]
    if missing:
        raise SpecError("the specification lacks {}".format(", ".join(missing)))
    for address in found["scheduler"]:
        if not re.match(r".+:\d{1,5}$", str(address)):
            raise SpecError(f"{address!r} is no host:port")
    return found


def check_image(runtime: str | None) -> None:
    """Check that a container that is to be in an image, by this runtime, was not begun on the node itself.

    ``DefaultContainerExecutor`` ignores which runtime is asked for, and leaves its script in the container's folder.
    Raises SpecError.
    """
    if runtime is not None and os.path.exists(NO_RUNTIME):
        raise SpecError(
            f"this node runs no containers in images: its NodeManager has DefaultContainerExecutor, which ignores that "
            f"container: asks for {runtime}; take container: away, name nodes that have LinuxContainerExecutor "
            f"(node_label:), or have it set up there"
        )


def log_pages(given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, str]:
    """Where people find this container's logs while it runs, and once it has ended; empty where that is not known.

    Args:
        given: ``node``: whether the NodeManager's page can be shown through the ResourceManager's proxy.
            ``log_server``: the web page below which the history server has aggregated logs.
        environ: what the NodeManager tells of itself and of the container.
    """
    try:
        host, container, user = (environ[name] for name in ("NM_HOST", "CONTAINER_ID", "USER"))
        # Without a scheme, it is the one of yarn.http.policy.
        node = "{}:{}/node/containerlogs/{}/{}".format(host, environ["NM_HTTP_PORT"], container, user)
        kept = "{}/{}:{}/{}/{}/{}".format(given.get("log_server"), host, environ["NM_PORT"], container, container, user)
    except KeyError:
        return "", ""
    live = node if given.get("node") else ""
    return live, kept if given.get("log_server") else live


class Values:
    """Resolves references of the specification to the container's folder and the submission's secrets."""

    def __init__(self, folder: str, secrets: Mapping[str, bytes]) -> None:
        self._folder, self._secrets = folder, secrets

    def text(self, value: Any) -> str:
        """A value as text: itself, ``{"path": ...}`` or ``{"secret": ...}``. Raises SpecError."""
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and list(value) == ["path"]:
            return self.path(value["path"])
        if isinstance(value, dict) and list(value) == ["secret"]:
            if value["secret"] not in self._secrets:
                raise SpecError("the submission's credentials hold no secret {!r}".format(value["secret"]))
            return self._secrets[value["secret"]].decode("utf-8", "surrogateescape")
        raise SpecError("a value that is no text, path or secret")

    def path(self, relative: str) -> str:
        """A path below the container's folder, made absolute."""
        return os.path.normpath(os.path.join(self._folder, relative))


def _content(given: Any) -> bytes:
    """A file's bytes: ``{"text": ...}``, or base64."""
    return given["text"].encode("utf-8", "surrogateescape") if isinstance(given, dict) else base64.b64decode(given)


class Child:
    """The child to start: ``argv``, ``env``, ``cwd``, ``stdout``, ``stderr``, ``mark``, and the ``files`` it finds.

    Raises SpecError, and ValueError and the like for a malformed specification.
    """

    def __init__(self, spec: Mapping[str, Any], values: Values, logs: str) -> None:
        self.argv = [values.text(item) for item in spec["argv"]]
        self.cwd = values.path(spec.get("cwd", "."))
        self.files = {values.path(name): _content(given) for name, given in spec.get("files", {}).items()}
        self.stdout, self.stderr = os.path.join(logs, "stdout"), os.path.join(logs, "stderr")
        self.mark = str(spec["mark"])
        self.reason_file = values.path(spec["reason_file"]) if spec.get("reason_file") else None
        # The content of the reason file until the child has finished: exit code 0 is then too early an end, no success.
        self.unfinished = spec.get("unfinished")
        self.steps = max(1, int(spec.get("steps", 1)))
        self.progress_file = values.path(spec["progress_file"]) if spec.get("progress_file") else None
        env = {"PATH": PATH, **os.environ}
        env.pop(SPEC_VARIABLE, None)
        env.update((name, values.text(value)) for name, value in spec.get("env", {}).items())
        env["AIFLOW_MARK"] = self.mark
        if self.reason_file:
            env["AIFLOW_REASON_FILE"] = self.reason_file
        if self.progress_file:
            env["AIFLOW_PROGRESS_FILE"] = self.progress_file
        self._ran_with = os.path.join(logs, spec["ran_with"]) if spec.get("ran_with") else None
        if self._ran_with:
            env["AIFLOW_RAN_WITH_FILE"] = self._ran_with
        self.env = env

    def move(self, names: Sequence[str], host: str) -> None:
        """Have the URLs in these variables lead to ``host``, ``name:port``."""
        for name in names:
            parts = urllib.parse.urlsplit(self.env[name])
            user, at, _ = parts.netloc.rpartition("@")
            self.env[name] = parts._replace(netloc=user + at + host).geturl()

    def write_files(self) -> None:
        """Put its files in place. Raises OSError."""
        for path, data in self.files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)

    def result(self, code: int | None) -> tuple[int | None, str | None]:
        """The exit code to report, and the line that the child has left in its reason file."""
        reason = self._reason()
        if reason is None or reason != self.unfinished:
            return code, reason
        return (1, reason) if code == 0 else (code, None)

    def progress(self) -> float:
        """How much of it is done, from 0 to 1, both excluded: it has begun, and has not ended."""
        said = _line(self.progress_file) or ""
        done = int(said) if re.match(r"[0-9]{1,9}$", said) else 0
        return float(min(done + 0.5, self.steps - 0.1) / self.steps)

    def has_said_what_it_ran_with(self) -> bool:
        """Whether that is in its file, which is among the container's logs."""
        return self._ran_with is not None and os.path.isfile(self._ran_with)

    def _reason(self) -> str | None:
        return _line(self.reason_file)


def _line(path: str | None) -> str | None:
    """The first line of a file that the child may have written; None where there is none."""
    if path is None:
        return None
    try:
        # A FIFO or a device must not keep the master from reporting the end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            line = file.readline(8000).decode("utf-8", "replace").strip()
    except OSError:
        return None
    return line or None
