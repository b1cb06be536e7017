"""The summary at the session's end: the level that each job plugin has reached, and what it does not offer."""

from __future__ import annotations

from typing import Any

PROPERTY = "aiflow_ext.conformance"
LEVELS = ("base", "durable", "cluster", "flink")
NOT_OFFERED = "not offered"
LEFT_OUT = "left out"
NOT_TESTED = "not tested"  # by what an author may add for the kit: does not change the level


class Tested:
    """The results of one test class.

    Attributes:
        outcomes: by level, the outcome of each test by its name.
        facts: ``plugin``, ``distribution``, ``tests`` (how many each level has), ``offers``, ``missing``.
        kills: ``kills`` and ``seed`` of the kill loop, where it was run.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, str]] = {level: {} for level in LEVELS}
        self.facts: dict[str, Any] = {}
        self.notes: list[str] = []
        self.kills: dict[str, int] = {}

    def take(self, facts: dict[str, Any], outcome: str) -> None:
        """Record the outcome of one phase of a test; the worst one counts."""
        self.facts |= facts
        self.notes += facts["notes"]
        self.kills |= facts["kill_loop"]
        known = self.outcomes[facts["level"]]
        if known.get(facts["test"]) != "failed":
            known[facts["test"]] = outcome

    def reached(self) -> str:
        """The level that was reached; ``none`` where none was."""
        return self.level().partition(" ")[0]

    def ended(self, words: str) -> list[str]:
        """The tests with this outcome, such as LEFT_OUT."""
        return [test for ends in self.outcomes.values() for test, outcome in ends.items() if outcome == words]

    def level(self) -> str:
        """The level that was reached, as text."""
        reached, left_out = "none", 0
        for level in LEVELS:
            outcomes, wanted = self.outcomes[level], self.facts.get("tests", {}).get(level, 0)
            failed = sum(outcome == "failed" for outcome in outcomes.values())
            missing = sum(outcome == NOT_OFFERED for outcome in outcomes.values())
            without = sum(outcome == LEFT_OUT for outcome in outcomes.values())
            if not wanted:
                continue
            if level != "base" and self.facts.get("missing"):
                break
            if failed:
                return f"{reached} ({failed} of {wanted} tests of level {level} failed)"
            if len(outcomes) < wanted:
                return f"{reached} (only {len(outcomes)} of {wanted} tests of level {level} were run)"
            if missing or any(outcome == "skipped" for outcome in outcomes.values()):
                return f"{reached} (tests of level {level} were skipped)"
            if without == wanted:
                return f"{reached} (all tests of level {level} were left out)"
            reached, left_out = level, left_out + without
        return f"{reached} (without the {left_out} tests left out)" if left_out else reached

    def lines(self, name: str) -> list[str]:
        """The lines of the summary."""
        home = self.facts.get("distribution") or "not loaded"
        found = [f"{self.facts['plugin']} ({home}; {name}): level {self.level()}"]
        if self.facts.get("file"):
            found.append(f"    tested: {self.facts['file']}")
        for words in (NOT_OFFERED, LEFT_OUT, NOT_TESTED):
            tests = self.ended(words)
            if words == NOT_OFFERED and self.facts.get("missing"):
                found.append(f"    not offered: {', '.join(self.facts['missing'])} ({len(tests)} tests)")
            elif tests:
                found.append(f"    {words}: {', '.join(tests)}")
        if self.facts.get("defaults"):
            found.append(f"    left at their defaults: {', '.join(self.facts['defaults'])}")
        return found + [f"    {note}" for note in self.notes]


class Report:
    """The session's test classes, by the place where they are written."""

    def __init__(self) -> None:
        self.tested: dict[str, Tested] = {}

    def take(self, report: Any) -> None:
        """Record a phase of any test; tests outside of the kit are ignored."""
        facts = dict(report.user_properties).get(PROPERTY)
        if facts is None or (report.when != "call" and report.outcome == "passed"):
            return
        outcome = word(report) or report.outcome
        self.tested.setdefault(report.nodeid.rpartition("::")[0], Tested()).take(facts, outcome)

    def lines(self) -> list[str]:
        """The summary."""
        return [line for name, tested in self.tested.items() for line in tested.lines(name)]


def word(report: Any) -> str | None:
    """``not offered``, ``left out`` or ``not tested`` for a skip by the kit."""
    if report.outcome != "skipped" or not isinstance(report.longrepr, (tuple, list)):
        return None
    reason = str(report.longrepr[2])
    return next(
        (words for words in (NOT_OFFERED, LEFT_OUT, NOT_TESTED) if reason.startswith(f"Skipped: {words}")), None
    )
