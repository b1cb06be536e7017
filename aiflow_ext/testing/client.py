"""A process that calls the plugin: it loads it, and makes the calls that tests request, one after the other."""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import aiflow_ext as af
from aiflow_ext.host.host import PluginHost
from aiflow_ext.model.errors import UnreachableError
from aiflow_ext.testing import crash
from aiflow_ext.testing.client_generate import GenerateCalls
from aiflow_ext.testing.client_run import RunCalls


def hello(platform: str, engine: str) -> dict[str, Any]:
    """Load the plugin and report facts about it, or why it cannot be loaded."""
    try:
        found = PluginHost().resolve(platform, engine)
    except af.AiflowError as error:
        return {"error": f"{type(error).__name__}: {error}{_trace(error.__cause__)}", "facts": {}}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}{_trace(error)}", "facts": {}}
    record = found.record
    module = record.entry_point.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    facts = {"offers": sorted(found.offers), "durable": found.durable, "files": crash.files_of(found.plugin),
             "distribution": record.distribution, "version": record.version, "module": module,
             "file": file and os.path.abspath(file)}  # fmt: skip
    return {"error": None, "facts": facts}


def serve(channel: socket.socket, root: str) -> None:
    """Serve requests until EOF."""
    client = ClientSide(Path(root))
    with channel.makefile("rb") as lines:
        for line in lines:
            asked = json.loads(line)
            try:
                value = getattr(client, f"do_{asked['call']}")(**asked["arguments"])
                answer: dict[str, Any] = {"value": _plain(value)}
            except BaseException as error:
                kind = UnreachableError if isinstance(error, UnreachableError) else type(error)
                answer = {"raised": [kind.__name__, str(error), _trace(error)]}
            channel.sendall(json.dumps(answer).encode() + b"\n")


class ClientSide(GenerateCalls, RunCalls):
    """The calls; a test requests the method ``do_NAME`` by NAME."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        os.environ["TMPDIR"] = str(root / "tmp")
        tempfile.tempdir = None

    def do_printed(self) -> str:
        """The standard output of all clients of the trial."""
        sys.stdout.flush()
        return (self.root / "client.out").read_text(encoding="utf-8", errors="replace")

    def do_environ(self, variables: dict[str, str]) -> None:
        """Set variables of this process."""
        os.environ.update(variables)

    def do_listed(self, url: str) -> list[str]:
        """The files below a URL."""
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
        return [str(each) for each in fs.find(path)]


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    return value


_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def _trace(error: BaseException | None) -> str:
    """The traceback, without this package's frames."""
    if error is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    cause = _trace(error.__cause__) if error.__cause__ is not None else ""
    last = traceback.format_exception_only(type(error), error)
    return cause + "\nTraceback:\n" + "".join([*traceback.format_list(frames), *last])
