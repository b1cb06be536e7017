"""Loaded by pytest wherever aiflow-ext is installed: cheap, and silent if neither the kit nor the fixture is used."""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from aiflow_ext.testing.project import ProjectMaker

_report: Any = None


@pytest.fixture
def aiflow_project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProjectMaker]:
    """Copies the test's own project, or writes one, in a folder for this test, and runs its workflow in process.

    project = aiflow_project(files={"data.csv": "1"}); project.run().jobs["fit"].result
    """
    from aiflow_ext.testing.project import maker

    monkeypatch.delenv("AIFLOW_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # not into the user's own list of projects
    with maker(tmp_path / "projects", request.path) as made:
        yield made


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aiflow-ext", "conformance of job plugins (aiflow_ext.testing)")
    group.addoption("--aiflow-kills", metavar="N", default=None, help="How often the kill loop kills the client; "
                    "'all': at every line from intent to acknowledgement [default: the class's kills].")  # fmt: skip
    group.addoption("--aiflow-seed", metavar="N", type=int, default=None, help="Which lines the kill loop draws.")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _report
    if any(name == "aiflow_ext.conformance" for name, _ in report.user_properties):
        if _report is None:
            from aiflow_ext.testing.report import Report

            _report = Report()
        _report.take(report)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.outcome != "skipped" or not any(name == "aiflow_ext.conformance" for name, _ in report.user_properties):
        return None
    from aiflow_ext.testing.report import word

    words = word(report)
    return None if words is None else (words, words[0], words.upper())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _report is not None:
        terminalreporter.section("conformance of job plugins")
        for line in _report.lines():
            terminalreporter.line(line)
