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
_certified = ""  # what became of the certificate, if one was asked for


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
    group.addoption("--aiflow-certificate", metavar="FILE", default=None, help="Write the certificate of the tested "
                    "distribution to FILE, if all tests pass.")  # fmt: skip


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _report
    if any(name == "aiflow_ext.conformance" for name, _ in report.user_properties):
        if _report is None:
            from aiflow_ext.testing.report import Report

            _report = Report()
        _report.take(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    global _certified
    asked = session.config.getoption("--aiflow-certificate", default=None)
    if asked is None or hasattr(session.config, "workerinput"):  # with pytest-xdist the controller knows all results
        return
    wrong = "tests failed, or none was run" if exitstatus != 0 or _report is None else ""
    if not wrong:
        from pathlib import Path

        from aiflow_ext.host.proof import UnprovableError
        from aiflow_ext.testing.certificate import write_certificate

        try:
            write_certificate(_report, Path(session.config.invocation_params.dir, asked))
        except (OSError, UnprovableError) as error:
            wrong = str(error)
    _certified = f"no certificate was written: {wrong}" if wrong else f"certificate: {asked}"
    if wrong and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
    if _certified:
        terminalreporter.line(_certified)
