"""A real Kubernetes for a session's tests, and a namespace of its own for each of them.

The bed is the one called ``$AIFLOW_BED`` (default ``test``): one that is up already is used and left running, else it
is started and stopped.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gated_run import Run
from kubernetes_bed import Bed, BedError


@pytest.fixture(scope="session")
def bed_session(no_cluster: Callable[[str], NoReturn]) -> Iterator[Bed]:
    """The bed of all tests. Ask for :func:`bed` instead."""
    bed = Bed(os.environ.get("AIFLOW_BED") or "test")
    ours, reason = False, None
    try:
        ours = bed.up()
    except BedError as error:
        reason = str(error)
    if reason:
        no_cluster(f"no Kubernetes to test with: {reason}")
    yield bed
    if ours:
        bed.down()


@pytest.fixture
def bed(bed_session: Bed) -> Iterator[Bed]:
    """A working bed: components that a test breaks are repaired after it."""
    yield bed_session
    bed_session.mend()


@pytest.fixture
def namespace(bed: Bed) -> Iterator[str]:
    """A fresh Kubernetes namespace, deleted after the test."""
    with bed.namespace() as name:
        yield name
        bed.mend()


@pytest.fixture
def restricted_namespace(bed: Bed) -> Iterator[str]:
    """A fresh namespace that enforces the Pod Security Standard ``restricted``."""
    with bed.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name
        bed.mend()


@pytest.fixture
def kubeconfig(bed: Bed) -> Path:
    """An administrator's kubeconfig."""
    return bed.kubeconfig


@pytest.fixture
def allowed(bed: Bed, namespace: str, tmp_path: Path) -> Callable[..., Path]:
    """``allowed(rules, seconds=3600)``: a service account's kubeconfig.

    It may do in the test's namespace what these rules of a Role allow, for so many seconds.
    """

    def make(rules: Sequence[Mapping[str, Any]], seconds: int = 3600, name: str = "tester") -> Path:
        return bed.service_account(namespace, rules, tmp_path, name, seconds)

    return make


@pytest.fixture
def artifacts(bed: Bed, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An artifacts URL of the test's own, which client and pods reach alike; the client's environment is set for it."""
    for name, value in bed.s3_environment.items():
        monkeypatch.setenv(name, value)
    yield f"{bed.artifacts}/{namespace}"
    shutil.rmtree(bed.s3_folder / namespace, ignore_errors=True)


@pytest.fixture
def run(project: Any, cli_env: dict[str, str], tmp_path: Path, namespace: str) -> Iterator[Run]:
    """A run of jobs that wait at a gate; it has not begun."""
    made = Run(project, {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path, namespace)
    yield made
    if made.driver is not None and made.driver.poll() is None:
        made.driver.kill()
        made.driver.wait()
    made.release()
