"""The kit itself: each wrong plugin is caught by the right test, and the right ones by none.

With ``--aiflow-seed=N``, as ``make test-faults`` gives it, a third of the wrong plugins, drawn by N.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.thorough
HERE = Path(__file__).parent
FOUND = "test_it_is_found_and_is_what_it_says"
REPEATABLE = "test_generate_is_repeatable"
OFFLINE = "test_generate_is_offline_and_writes_nothing"
LOOKUP = "test_lookup_tells_what_was_started"
SENT = "test_render_is_what_is_sent"
SECRET = "test_a_secret_is_nowhere"
HANDLER = "test_the_handler_works_in_another_process"
KILLED = "test_killed_anywhere_it_runs_exactly_once"
LOGS = "test_logs_are_complete_and_in_order"
BYTES = "test_logs_are_bytes"
FOLLOWED = "test_logs_can_be_followed"
SIDE = "test_jobs_run_side_by_side"
MANY = "test_many_jobs_at_once"
OUTPUT = "test_standard_output_is_left_alone"
WAITING = "test_waiting_costs_nothing"
ELSEWHERE = "test_another_process_learns_of_a_failure"
COPIED = "test_a_config_is_copied_whole"
LOST = "test_what_is_lost_is_not_finished"
WHO = "test_a_job_sees_who_it_is"
WAITS = "test_a_job_that_waits_can_be_stopped"
TWICE = "test_the_same_attempt_submitted_twice_runs_once"
MEMORY = "test_hooks_need_no_earlier_call"
SERVES = "test_a_job_that_serves_is_ready_when_its_check_has_passed"
STREAM = "test_a_stream_job_runs_until_it_is_stopped"
LINES = "test_each_line_is_there_once"
OUTAGE = "test_an_outage_is_no_end"
RESOLVING = "test_resolving_imports_this_plugin_alone"

# Module, class, the test that must fail, and words that its author must read.
WRONG = [
    ("wrong_base", "WrongPlatformName", FOUND, "elsewhere"),
    ("wrong_base", "GivesInstances", FOUND, "job_type"),
    ("wrong_base", "LacksAMethod", FOUND, "cleanup_job"),
    ("wrong_import", "ImportsAnother", RESOLVING, "which is the job plugin"),
    ("wrong_output", "PrintsABanner", RESOLVING, "said:\n    a banner"),
    ("wrong_base", "GeneratesADict", REPEATABLE, "an object of the class that job_type returns"),
    ("wrong_base", "KnowsWhoAsks", REPEATABLE, "user"),
    ("wrong_base", "KnowsWhereItIs", REPEATABLE, "folder"),
    ("wrong_base", "AsksInAThread", OFFLINE, "127.0.0.1"),
    ("wrong_base", "AsksADaemon", OFFLINE, "connects to /run/docker.sock"),
    ("wrong_base", "SetsAVariable", OFFLINE, "SLURM_CONF"),
    ("wrong_base", "ReadsItsOwnConfig", OFFLINE, "reads /etc/hosts"),
    ("wrong_base", "PrintsItsProgress", OUTPUT, "generating"),
    ("wrong_base", "TakesSignalsForSuccess", "test_a_job_that_a_signal_ends_is_failed", "recorded as FINISHED"),
    ("wrong_base", "FillsAPipe", "test_a_job_may_print_much", "a run has not ended within"),
    ("wrong_base", "CleansTheFolder", "test_cleanup_leaves_nothing", "stdout and stderr"),
    ("wrong_durable", "SafeNames", "test_native_ids_name_one_attempt_each", "safe_name"),
    ("wrong_base", "OneAtATime", SIDE, "of 2 jobs at once 1 have begun"),
    ("wrong_base", "OneFolderForAll", SIDE, "runs in the same folder"),
    ("wrong_durable", "RunsAgainLater", "test_nothing_is_executed_later", "executed 2 times"),
    ("wrong_by_hand", "StopsItsGroup", "test_what_a_job_has_started_ends_with_it", "processes of it are left"),
    ("wrong_handlers", "StopsTheWholeRun", "test_a_stop_is_one_job_s", "recorded as"),
    ("wrong_handlers", "WaitsInSteps", FOLLOWED, "wait(0.2) takes 5."),
    ("wrong_handlers", "AttachesNothing", HANDLER, "attach: TypeError: it returned None"),
    ("wrong_handlers", "KnowsTheEndedOnly", LOOKUP, "lookup says UNKNOWN instead of FOUND"),
    ("wrong_base", "WaitsInStop", "test_stop_comes_twice", "no answer"),
    ("wrong_base", "ForgetsItsProperties", COPIED, "copy.deepcopy: properties['kit_text'] is there only the first"),
    ("wrong_base", "CopiesByHand", COPIED, "copy.deepcopy: properties['kit_text'] is there only the first"),
    ("wrong_base", "WritesALittle", COPIED, "af.dumps and af.loads: env['KIT_QUOTES']"),
    ("wrong_base", "HasAClock", REPEATABLE, "script"),
    ("wrong_durable", "ChangesItsGraph", REPEATABLE, "changed its sub_graph"),
    ("wrong_base", "WritesInTheProject", OFFLINE, "job.sh"),
    ("wrong_base", "AsksTheNetwork", OFFLINE, "127.0.0.1"),
    ("wrong_base", "RaisesWhenStoppedTwice", "test_stop_comes_twice", "stopped already"),
    ("wrong_base", "RaisesWhenStoppedEarly", "test_stop_comes_before_the_start", "before generate_job_resource"),
    ("wrong_base", "RaisesWhenStoppedLate", "test_stop_comes_after_the_end", "ProcessLookupError"),
    ("wrong_base", "RaisesWhenCleanedTwice", "test_cleanup_comes_twice", "second time"),
    ("wrong_base", "LeavesAFile", "test_cleanup_leaves_nothing", "left-over-"),
    ("wrong_base", "ForgetsTheExitCode", "test_a_job_that_fails_is_failed", "recorded as FINISHED"),
    ("wrong_base", "RunsTwice", "test_a_job_that_succeeds_is_finished", "executed 2 times"),
    ("wrong_base", "NamesAreFiles", "test_odd_job_names", "a/b"),
    ("wrong_base", "JoinsWithSpaces", "test_odd_arguments", "recorded as FAILED"),
    ("wrong_base", "DropsTheEnvironment", "test_odd_environment", "KIT_QUOTES"),
    ("wrong_base", "SharesAFile", "test_many_jobs_at_once", "job 0"),
    ("wrong_durable", "LooksUpFound", LOOKUP, "FOUND instead of NEVER_STARTED"),
    ("wrong_durable", "LooksUpNeverStarted", LOOKUP, "NEVER_STARTED instead of FOUND"),
    ("wrong_durable", "ForgetsWithCleanup", LOOKUP, "cleanup_job was called; lookup says NEVER_STARTED"),
    ("wrong_durable", "ForgetsWithTheRun", LOOKUP, "cleanup_run was called; lookup says NEVER_STARTED"),
    ("wrong_durable", "StartsAgain", TWICE, "executed 4 times"),
    ("wrong_durable", "DoublesAfterACrash", KILLED, "begun 2 times"),
    ("wrong_durable", "RendersAnother", SENT, "EXTRA"),
    ("wrong_durable", "RenderWrites", "test_render_is_offline_and_writes_nothing", "request.json"),
    ("wrong_durable", "RendersSecrets", SECRET, "what render shows"),
    ("wrong_durable", "WritesSecrets", SECRET, "environment"),
    ("wrong_handlers", "CutsLogs", LOGS, "2048 bytes instead of"),
    ("wrong_handlers", "RepeatsLogs", LOGS, "they part at byte"),
    ("wrong_handlers", "HandlerIsNoData", HANDLER, "lock"),
    ("wrong_handlers", "HandlerStaysAtHome", HANDLER, "KeyError"),
    ("wrong_handlers", "StopsTheFirstOnly", "test_a_job_that_forked_is_gone_after_stop", "still there"),
    ("wrong_durable", "ExitCodesAreZero", "test_exit_codes_are_true", "exit code 0"),
    ("wrong_durable", "SignalsAreLost", "test_signals_are_true", "SIGKILL"),
    ("wrong_durable", "WatchBeginsLate", "test_a_watch_tells_what_was_missed", "a watch that begins now"),
    ("wrong_durable", "OneIdForAll", "test_native_ids_name_one_attempt_each", "7 attempts"),
    ("wrong_durable", "OneIdForAllRuns", "test_native_ids_name_one_attempt_each", "one of another run"),
    ("wrong_handlers", "LogsAreText", LOGS, "logs gives str"),
    ("wrong_handlers", "WaitsForEver", FOLLOWED, "no answer"),
    ("wrong_handlers", "EndsAtOnce", "test_a_job_is_asked_before_it_is_ended", "received no SIGTERM"),
    ("wrong_durable", "RemovesLogs", "test_logs_stay", "its log in the run's folder is b''"),
    ("wrong_durable", "NeverTellsRunning", "test_a_watch_tells_that_a_job_runs", "tells"),
    ("wrong_handlers", "WaitsBusily", WAITING, "the handler's wait kept a processor busy"),
    ("wrong_durable", "WatchesBusily", WAITING, "the watch kept a processor busy"),
    ("wrong_handlers", "GoesBack", ELSEWHERE, "RUNNING"),
    ("wrong_handlers", "ForgetsFailures", ELSEWHERE, "FINISHED"),
    ("wrong_durable", "WatchesTheFirst", MANY, "a run has not ended within"),
    ("wrong_durable", "TellsEndsEarly", "test_a_watch_tells_that_a_job_runs", "FINISHED"),
    ("wrong_handlers", "DecodesLogs", BYTES, "they part at byte 0"),
    ("wrong_handlers", "WantsWholeLines", BYTES, "they part at byte"),
    ("wrong_handlers", "TextModeLogs", BYTES, "they part at byte"),
    ("wrong_handlers", "OneBufferOfLogs", BYTES, "65536 bytes instead of"),
    ("wrong_handlers", "LogsAtTheEnd", FOLLOWED, "they do not come"),
    ("wrong_durable", "SecretInItsCommand", SECRET, "command line"),
    ("wrong_handlers", "SecretInItsHandler", SECRET, "stands in the handler"),
    ("wrong_durable", "RenderAsksADaemon", "test_render_is_offline_and_writes_nothing", "/run/docker.sock"),
    ("wrong_durable", "PrintsInSubmit", OUTPUT, "submitting"),
    ("wrong_durable", "StartsWhenAllocated", "test_native_ids_name_one_attempt_each", "a job has begun"),
    ("wrong_durable", "SubmitsAndWaits", FOLLOWED, "submit_job: no answer"),
    ("wrong_durable", "DropsIt", LOOKUP, "NEVER_STARTED instead of FOUND"),
    ("wrong_by_hand", "NotesAfterTheStart", KILLED, "begun 2 times"),
    ("wrong_by_hand", "NotesBeforeTheStart", KILLED, "begun 0 times"),
    ("wrong_by_hand", "QueuesAgain", KILLED, "begun 2 times"),
    ("wrong_by_hand", "StartsWhatWaits", TWICE, "executed 2 times"),
    ("wrong_durable", "ServesItsFirst", "test_a_watch_follows_all_attempts", "'between' has ended; they are"),
    ("wrong_durable", "TellsLostAsFinished", LOST, "the run records FINISHED"),
    ("wrong_by_hand", "TakesAbsenceForSuccess", LOST, "the run records FINISHED"),
    ("wrong_durable", "UnknownIsFinished", "test_what_is_not_known_is_not_finished", "an id that was never allocated"),
    ("wrong_by_hand", "StopsNothingThatWaits", WAITS, "'side3': 'QUEUED'"),
    ("wrong_base", "AgentGoesOn", WAITS, "executed later all the same"),
    ("wrong_by_hand", "SaysItRuns", WAITS, "are recorded as RUNNING"),
    ("wrong_by_hand", "StopJobDoesNothing", "test_stop_comes_twice", "its handler says RUNNING afterwards"),
    ("wrong_base", "CleansEveryFolder", "test_a_stop_is_one_job_s", "recorded as"),
    ("wrong_base", "HidesWhoItIs", WHO, "see as AIFLOW_JOB and AIFLOW_ATTEMPT"),
    ("wrong_durable", "TellsNobody", WHO, "see as AIFLOW_JOB and AIFLOW_ATTEMPT"),
    ("wrong_base", "KnowsItsConfigOnly", WHO, "has added it to the job's environment"),
    ("wrong_durable", "TakesEnvWhileGenerating", WHO, "sees KIT_ADDED=(unset)"),
    ("wrong_base", "OneFolderForRetries", WHO, "a file that an earlier attempt"),
    ("wrong_base", "CheckpointsForEachAttempt", WHO, "one for all attempts of a job"),
    ("wrong_base", "TakesCommandsAsTheyAre", "test_a_job_gets_its_properties", "and the job sees"),
    ("wrong_durable", "IgnoresPython", "test_python_is_the_one_asked_for", "was not run by it"),
    ("wrong_base", "LeavesAFileInTmp", "test_no_attempt_leaves_more", "/tmp/kit-left-over-"),
    ("wrong_base", "LeavesAFileOfFailures", "test_cleanup_leaves_nothing_of_other_ends", "left-over-"),
    ("wrong_base", "LeavesAnotherS", "test_cleanup_leaves_nothing", "/dev/shm/kit-left-over"),
    ("wrong_durable", "KeepsFilesOpen", "test_no_attempt_leaves_more", "has open files or sockets left of each"),
    ("wrong_durable", "KeepsThreads", "test_no_attempt_leaves_more", "has threads left of each"),
    ("wrong_durable", "AttachStarts", "test_asking_starts_nothing", "it has begun"),
    (
        "wrong_durable",
        "RemembersItsJobs",
        MEMORY,
        "in a process in which the plugin has generated nothing, raises",
    ),
    ("wrong_durable", "StopsWhatItGenerated", MEMORY, "the handler of attach says RUNNING afterwards"),
    ("wrong_durable", "TakesStreamsForDone", STREAM, "was not stopped, and is recorded as FINISHED"),
    ("wrong_durable", "TakesItForReady", SERVES, "'never': 'FINISHED'"),
    ("wrong_durable", "TellsItsEndOnly", STREAM, "runs, and a job that follows it; after"),
    ("wrong_base", "IgnoresTheOffset", LINES, "'line 1' is there 2 times"),
    ("wrong_away", "SilenceIsNoJob", OUTAGE, "lookup says NEVER_STARTED"),
    ("wrong_away", "SilenceIsALoss", OUTAGE, "the handler's state says LOST"),
    ("wrong_away", "WatchTellsALoss", OUTAGE, "watch says LOST"),
    ("wrong_away", "StopsNobody", OUTAGE, "its stop says that all is done"),
    ("wrong_away", "CleansWithAnotherError", OUTAGE, "cleanup_job raises ConnectionError: connection refused"),
    ("wrong_handlers", "MergesStreams", LOGS, "they part at byte"),
    ("wrong_handlers", "TakesATimeoutForAnEnd", FOLLOWED, "wait(0.2) returns FAILED"),
    ("wrong_base", "StartsInResources", "test_stop_comes_after_the_end", "executed 3 times"),
]
# They use up the patience that there is.
HANGING = ("WaitsForEver", "FillsAPipe", "OneAtATime", "WatchesTheFirst", "LogsAtTheEnd", "SubmitsAndWaits",
           "WaitsInStop", "NotesBeforeTheStart", "StopsNothingThatWaits", "StopJobDoesNothing",
           "TellsItsEndOnly")  # fmt: skip
RIGHT = [("wrong_base", "RightBase"), ("wrong_base", "RightSlotted"), ("wrong_durable", "RightDurable"),
         ("wrong_by_hand", "RightByHand"), ("wrong_by_hand", "RightQueue"),
         ("wrong_durable", "RightSlowly"), ("wrong_away", "RightAway")]  # fmt: skip
# Of the test classes whose platform can be away.
AWAY = """
    env = {{"KIT_AWAY": {path!r}}}

    @contextlib.contextmanager
    def away(self):
        open(self.env["KIT_AWAY"], "w").close()
        yield
        os.unlink(self.env["KIT_AWAY"])
"""


def kebab(name: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "-", name).lower()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "words" in metafunc.fixturenames:
        seed = metafunc.config.getoption("--aiflow-seed")
        drawn = WRONG if seed is None else random.Random(seed).sample(WRONG, len(WRONG) // 3)
        metafunc.parametrize(("name", "test", "words"), [case[1:] for case in drawn], ids=[case[1] for case in drawn])


@pytest.fixture(scope="module")
def kit(kit_runner: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """What the kit says of the right plugins, and of those wrong ones that are chosen."""
    chosen = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    plugins = [(module, name) for module, name, *_ in WRONG] + RIGHT
    folder = tmp_path_factory.mktemp("kit")
    classes = ["import contextlib, os\nfrom aiflow_ext.testing import JobPluginConformance\n"]
    classes += [
        f"class Test{name}(JobPluginConformance):\n    platform, engine = {kebab(name)!r}, 'cmd_line'\n"
        f"    patience, kills, at_once = {6.0 if name in HANGING else 12.0}, 12, 4\n"
        + (AWAY.format(path=str(folder / f"{name}.away")) if module == "wrong_away" else "")
        for module, name in plugins
    ]
    tests = dict.fromkeys(test for _, _, test, _ in WRONG if test != KILLED)
    ours = ("wrong_durable", "wrong_handlers", "wrong_by_hand", "wrong_away")
    durable = {test for module, _, test, _ in WRONG if module in ours} - {REPEATABLE}
    asked = [f"Test{name}::{test}" for _, name, test, _ in WRONG if name in chosen]
    asked += [f"TestRightBase::{test}" for test in tests if test not in durable or test == LOOKUP]
    asked += [f"TestRightSlotted::{test}" for test in (COPIED, REPEATABLE, "test_odd_environment")]
    asked += [f"TestRightDurable::{test}" for test in tests if test in durable]
    asked += [f"TestRight{name}::{test}" for name in ("ByHand", "Slowly") for test in (KILLED, LOOKUP, MANY, HANDLER)]
    asked += [f"TestRightAway::{OUTAGE}"]
    asked += [f"TestRightQueue::{test}" for test in (WAITS, "test_stop_comes_twice", TWICE, LOST)]
    yield kit_runner(
        folder,
        sorted(HERE.glob("wrong/*.py")),
        {f"{kebab(name)}.cmd_line": f"{module}:{name}" for module, name in plugins},
        "\n".join(classes),
        [f"test_all.py::{test}" for test in asked],
    )
    for left in [*Path("/tmp").glob("kit-left-over-*"), *Path("/dev/shm").glob("kit-left-over-*")]:
        left.rmdir() if left.is_dir() else left.unlink()


def test_a_wrong_plugin_is_caught_by_name(kit: Any, name: str, test: str, words: str) -> None:
    outcome, said = kit.told[f"Test{name}::{test}"]
    assert outcome == "failed"
    assert words in said
    assert "what to do: " in said
    ((page, anchor),) = re.findall(r"read on: +docs/(\S+)\.md#(\S+)", said)
    headings = re.findall(r"^#+ (.*)$", (HERE.parents[1] / "docs" / f"{page}.md").read_text(), re.M)
    assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_right_plugins_pass(kit: Any) -> None:
    assert len([test for test in kit.told if test.startswith("TestRight")]) > 20
    assert kit.failed("TestRight") == {}


def test_what_is_not_offered_is_reported_and_no_silent_skip(kit: Any) -> None:
    outcome, said = kit.told[f"TestRightBase::{LOOKUP}"]
    assert outcome == "skipped"
    assert "not offered: lookup, attach" in said
    assert "1 not offered" in kit.printed
    assert "    not offered: attach, lookup, render, watch (1 tests)" in kit.printed
    assert "skipped" not in kit.printed.splitlines()[-1]
