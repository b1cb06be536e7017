"""``aiflow-ext ui`` as a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from ui_page import served


def test_a_signal_ends_it_while_pages_look_and_it_ends_with_0(cli_env: dict[str, str]) -> None:
    with served(cli_env) as page:
        assert next(page.events("/api/events"))[0] == "runs"
        page.process.send_signal(signal.SIGINT)
        assert page.process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_named(cli_env: dict[str, str]) -> None:
    with served(cli_env) as page:
        port = str(page.port)
        with pytest.raises(AssertionError, match=f"port {port} of 127.0.0.1 cannot be had"):
            served(cli_env, "--port", port).__enter__()


def test_without_the_extra_it_says_what_to_install(cli_env: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "site" / "starlette"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text(
        'raise ModuleNotFoundError("No module named \'starlette\'", name="starlette")\n'
    )
    env = {**cli_env, "PYTHONPATH": os.pathsep.join([str(missing.parent), *filter(None, [cli_env.get("PYTHONPATH")])])}
    done = subprocess.run([sys.executable, "-m", "aiflow_ext", "ui"], env=env, capture_output=True, text=True)
    assert done.returncode == 4
    assert "pip install 'aiflow-ext[ui]'" in done.stderr
    assert "Traceback" not in done.stderr
