"""The public API and the hook specification change only together with CHANGELOG.md (docs/compatibility.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from public_api import entries

import aiflow_ext.plugin
from aiflow_ext.host import specs
from aiflow_ext.model.job import AbstractJobHandler

HERE = Path(__file__).parent


def released() -> set[str]:
    """The entries of the last release; before the first one, of the day from which on it was kept."""
    return {*(HERE / "public_api.txt").read_text(encoding="utf-8").splitlines()}


def changes() -> set[str]:
    """What differs from it, as CHANGELOG.md says it."""
    before, now = released(), {*entries()}
    return {f"- added `{each}`" for each in now - before} | {f"- removed `{each}`" for each in before - now}


def told() -> set[str]:
    """The lines of that kind in CHANGELOG.md, of the version that is not released yet."""
    newest = (HERE.parent / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## [")[1]
    return {*re.findall(r"^- (?:added|removed) `[^`]+`$", newest, re.M)}


def test_every_change_of_the_public_api_is_in_the_changelog() -> None:
    missing, stale = "\n".join(sorted(changes() - told())), "\n".join(sorted(told() - changes()))
    assert not missing, f"add these lines to CHANGELOG.md, under the heading 'Public API':\n{missing}"
    assert not stale, f"CHANGELOG.md has lines under 'Public API' that are not so any more; remove them:\n{stale}"


def test_a_name_a_member_an_argument_and_a_hook_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {*entries()}

    def wait(self: object, timeout: float | None = None, more: int = 1) -> None: ...

    monkeypatch.setattr(AbstractJobHandler, "wait", wait)
    monkeypatch.setattr(AbstractJobHandler, "pause", wait, raising=False)
    monkeypatch.setattr(specs.ExtensionSpec, "on_start", wait, raising=False)
    monkeypatch.setattr(
        aiflow_ext.plugin, "__all__", [each for each in aiflow_ext.plugin.__all__ if each != "safe_name"]
    )
    gone, new = before - {*entries()}, {*entries()} - before
    assert {each.partition("(")[0] for each in gone} == {"AbstractJobHandler.wait", "aiflow_ext.plugin.safe_name"}
    assert new == {
        "AbstractJobHandler.pause(self, timeout=None, more=1)",
        "AbstractJobHandler.wait(self, timeout=None, more=1)",
        "hook ExtensionSpec.on_start(self, timeout=None, more=1)",
    }
