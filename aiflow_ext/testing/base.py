"""Level base: the nine methods, however the plugin is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiflow_ext.testing import remains
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.support import LONG, Support
from aiflow_ext.testing.works import Work
from aiflow_ext.testing.zygote import Client

NAMES = ("with space", "a/b", "../up", 'it\'s "q" `id` $HOME', "🙂 ü", "x" * 200, "-rf")
ARGUMENTS = ("a  b", "$HOME", "`id`", "it's", '"', "*", "\\", "\\n", "new\nline", "", "-n", "a;b", "&&", "%s", "{x}",
             "~", "#", "é🙂", "\t", "!", "${HOME:-x}", "<in", "a=b")  # fmt: skip
VARIABLES = {"KIT_QUOTES": "it's \"q\" `id` $HOME \\ %s", "KIT_LINES": "one\ntwo\n", "KIT_EMPTY": "",
             "KIT_SPACES": "  a  b ", "KIT_UNICODE": "é🙂", "KIT_PERCENT": "%d {x} ${HOME} $$ !"}  # fmt: skip


class BaseLevel(Support):
    """What every job plugin must do."""

    # -- found and loaded -------------------------------------------------------------------------------------------

    @base
    def test_it_is_found_and_is_what_it_says(self) -> None:
        """It is advertised, can be imported, and its nine methods are there and return the types they must."""
        if self.zygote.error is not None:
            complain(f"{self.name} cannot be used.\n{self.zygote.error}", _cure_of(self.zygote.error), "declaring-it")

    @base
    def test_listing_imports_no_plugin(self) -> None:
        """An inventory of plugins is made from metadata."""
        found = self._probe()
        theirs = {record["entry_point"].partition(":")[0] for record in found["records"] if record["kind"] != "engine"}
        imported = sorted(theirs & set(found["listed"]))
        if imported:
            complain(
                f"listing plugins has imported {', '.join(imported)}",
                "look for a .pth file or sitecustomize that imports it: no list of ours does",
                "declaring-it",
            )

    @base
    def test_resolving_imports_this_plugin_alone(self) -> None:
        """Who asks for one job plugin gets no other one imported, with the clients that it needs."""
        found = self._probe()
        own = next((record["entry_point"].partition(":")[0] for record in found["records"]
                    if record["kind"] == "job_plugin" and record["name"] == self.name), "")  # fmt: skip
        parents = {own, *(own[:place] for place, char in enumerate(own) if char == ".")}
        for record in found["records"]:
            module = record["entry_point"].partition(":")[0]
            other = record["kind"] in ("job_plugin", "extension") and record["name"] != self.name
            if other and module not in parents and module in found["resolved"]:
                complain(
                    f"resolving {self.name} has imported {module}, which is the {record['kind'].replace('_', ' ')} "
                    f"{record['name']} of {record['distribution']}",
                    f"do not import it from {own}; put what both need into a module that is nobody's entry point",
                    "declaring-it",
                )

    def _probe(self) -> dict[str, Any]:
        script = str(Path(__file__).with_name("probe.py"))
        asked = json.dumps([sys.path, self.platform, self.engine])
        done = subprocess.run([sys.executable, script, asked], env=self.zygote.env, cwd=self.root, capture_output=True,
                              text=True, timeout=self.patience)  # fmt: skip
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            complain(
                f"a fresh interpreter that lists and resolves plugins said:\n{done.stdout}{done.stderr}",
                "a plugin's module must print nothing and end nothing when it is imported",
                "declaring-it",
            )
        return found

    # -- generate ---------------------------------------------------------------------------------------------------

    @base
    def test_generate_is_repeatable(self) -> None:
        """The same subgraph gives an equal job, today and from the store; and is left as it was."""
        differences = self.trial.write({"job": self.jobs.sleeps(LONG)}).attempt()("generate_differences")
        if differences:
            complain(
                f"{self.name}: generate is not repeatable.\n    " + "\n    ".join(differences),
                "make the job of sub_graph and project_desc alone, without clocks, random numbers or counters, and "
                "change neither of them; what an attempt needs of its own goes into generate_job_resource",
                "the-nine-methods",
            )

    @base
    def test_generate_is_offline_and_writes_nothing(self) -> None:
        """Making a job opens no connection, starts no process and writes no file."""
        self.offline("generate", "make in generate_job_resource what the job needs outside of this process",
                     "the-nine-methods")  # fmt: skip

    def offline(self, call: str, cure: str, anchor: str) -> None:
        """Complain where ``generate`` or ``render`` reaches out of its process."""
        client = self.trial.write({"job": self.jobs.sleeps(LONG)}).attempt()
        if call == "render":
            client("take_id", native_id=client("allocate_id"))
        before = self.trial.files()
        seen = list(dict.fromkeys(client("watched", call=call)))
        new = sorted(self.trial.files() - before)
        if seen or new:
            what = "; ".join([f"it {words}" for words in seen] or [f"{path} is new" for path in new])
            complain(f"{self.name}: {call} is not offline: {what}", cure, anchor)

    # -- ends -------------------------------------------------------------------------------------------------------

    @base
    def test_a_job_that_succeeds_is_finished(self) -> None:
        """Exit code 0 is FINISHED, and the job has run once."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 0)})
        self.must_be(
            self.trial.run(), "FINISHED", "the job exits with 0",
            "return from submit_job, or let the handler tell FINISHED", "the-nine-methods",
        )  # fmt: skip
        self._ran_once("")

    @base
    def test_a_job_that_fails_is_failed(self) -> None:
        """Another exit code is FAILED."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 3)})
        self.must_be(
            self.trial.run(), "FAILED", "the job exits with 3",
            "look at the exit code: raise subprocess.CalledProcessError(code, ...) from submit_job, or let the handler "
            "tell FAILED", "how-nine-methods-run",
        )  # fmt: skip
        self._ran_once("")

    def _ran_once(self, kind: str, name: str = "job") -> None:
        starts = self.trial.marks.count(f"start{kind}")
        if starts != 1:
            complain(
                f"{self.name}: the job {name!r} is recorded as ended, and was executed {starts} times",
                "start the job once, in submit_job, and wait for the end of that one",
                "the-nine-methods",
            )

    # -- stop -------------------------------------------------------------------------------------------------------

    @base
    def test_a_running_job_can_be_stopped(self) -> None:
        """A run that is stopped ends its job, and the record says STOPPED."""
        self._stopped_run(self.jobs.sleeps(LONG), 10.0)

    @base
    def test_a_job_that_ignores_the_signal_is_ended(self) -> None:
        """After the grace period, what has not gone is killed."""
        self._stopped_run(self.jobs.ignores_sigterm(LONG), 0.3)
        for stat in self.trial.marks.contents("start"):
            if not remains.gone_within(stat, 5.0):
                remains.kill_stat(stat)
                complain(
                    f"{self.name}: the job ignores SIGTERM, and goes on after it was stopped",
                    "after the grace period send SIGKILL", "stopping-and-cleaning-up",
                )  # fmt: skip

    def _stopped_run(self, work: Work, grace: float) -> None:
        client = self.trial.write({"job": work}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        self.trial.marks.wait("start", self.patience)
        record = client("stop_run", grace=grace)
        state = record["jobs"][0]["state"]
        if state != "STOPPED":
            complain(
                f"{self.name}: the run was stopped while its job ran; the job is recorded as {state}: "
                f"{record['jobs'][0]['reason']}",
                "let stop_job, or the handler's stop, end the job", "stopping-and-cleaning-up",
            )  # fmt: skip
        if self.trial.marks.count("end"):
            complain(f"{self.name}: the job was stopped, and ran to its end", "let stop_job end the job",
                     "stopping-and-cleaning-up")  # fmt: skip
        self._nothing_left("the job was stopped")

    @base
    def test_stop_comes_twice(self) -> None:
        """The second stop_job finds the job ended, or ending."""
        client = self._bare(self.jobs.sleeps(LONG))
        client("bare_submit")
        self.trial.marks.wait("start", self.patience)
        self._bare_call(client, "stop_job", "raises while the job runs")
        self._bare_call(client, "stop_job", "raises when it comes a second time")
        client("bare_submitted", seconds=self.patience / 2)

    @base
    def test_stop_comes_before_the_start(self) -> None:
        """Somebody stops a job of which nothing is there yet, or only its resources."""
        client = self._bare(self.jobs.sleeps(LONG), resources=False)
        self._bare_call(client, "stop_job", "raises before generate_job_resource")
        client = self._bare(self.jobs.sleeps(LONG))
        self._bare_call(client, "stop_job", "raises between generate_job_resource and submit_job")

    @base
    def test_stop_comes_after_the_end(self) -> None:
        """A stop that was under way when the job ended."""
        client = self._ended_bare()
        self._bare_call(client, "stop_job", "raises when the job has ended")
        self._bare_call(client, "cleanup_job", "raises after a stop that came too late")
        self._bare_call(client, "stop_job", "raises when the job has been cleaned up")

    def _bare(self, work: Work, *, resources: bool = True) -> Client:
        """A client that calls the nine methods themselves."""
        client = self.trial.write({"job": work}).attempt()
        client("enter")
        if resources:
            self._bare_call(client, "generate_job_resource", "raises")
            self._bare_call(client, "generate_job_resource", "raises when it comes a second time, as after a crash")
        return client

    def _ended_bare(self) -> Client:
        client = self._bare(self.jobs.prints_and_exits("hello", 0))
        client("bare_submit")
        self.trial.marks.wait("end", self.patience)
        raised = client("bare_submitted", seconds=self.patience / 2)
        if raised is not None:
            complain(f"{self.name}: submit_job raises for a job that exits with 0: {raised}",
                     "raise for a job that failed, and for nothing else", "the-nine-methods")  # fmt: skip
        if (starts := self.trial.marks.count("start")) != 1:
            complain(
                f"{self.name}: generate_job_resource came twice, as after a crash, and submit_job once; the job was "
                f"executed {starts} times",
                "start the job in submit_job and nowhere else",
                "the-nine-methods",
            )
        if "attach" in self.zygote.facts["offers"]:
            client("attach")
            self.ended(client)
        return client

    def _bare_call(self, client: Client, method: str, words: str) -> None:
        anchor = "the-nine-methods" if method == "generate_job_resource" else "stopping-and-cleaning-up"
        self.raises(method, words, f"let {method} do nothing where there is nothing to do", anchor,
                    lambda: client("bare", method=method))  # fmt: skip

    # -- cleanup ----------------------------------------------------------------------------------------------------

    @base
    def test_cleanup_leaves_nothing(self) -> None:
        """After the end there is no process of the job, and no file but below the run's folder."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 0)})
        before = self.trial.files()
        record = self.trial.run()
        self._nothing_left(f"the job is {record['jobs']['job']['state']} and cleaned up")
        new = sorted(self.trial.files() - before)
        if new:
            complain(
                f"{self.name}: the job has ended and been cleaned up, and these files are left: {', '.join(new[:10])}",
                "write below job.job_context.work_folder, and remove in cleanup_job what you put elsewhere",
                "stopping-and-cleaning-up",
            )

    @base
    def test_cleanup_comes_twice(self) -> None:
        """It comes at least once: again after a kill, and by gc; and for what never started."""
        client = self._bare(self.jobs.sleeps(LONG))
        self._bare_call(client, "cleanup_job", "raises for a job that was never submitted")
        client = self._ended_bare()
        self._bare_call(client, "cleanup_job", "raises")
        self._bare_call(client, "cleanup_job", "raises when it comes a second time")

    def _nothing_left(self, when: str) -> None:
        left = self.trial.marked(5.0)  # what was killed is not gone at once
        if left:
            shown = ", ".join(f"{pid} ({command.strip()[:60]})" for pid, command in left.items())
            complain(f"{self.name}: {when}, and these processes of it are left: {shown}",
                     "end everything that the job started: its process group, its session, and what carries its "
                     "AIFLOW_MARK", "stopping-and-cleaning-up")  # fmt: skip

    # -- what a shell would mangle ----------------------------------------------------------------------------------

    @base
    def test_odd_job_names(self) -> None:
        """A job may be called anything: its name is for people, and no file's or object's name."""
        works = {name: self.jobs.prints_and_exits("hello", 0, str(place)) for place, name in enumerate(NAMES)}
        record = self.trial.write(works).run()
        for place, name in enumerate(NAMES):
            shown = name if len(name) < 50 else f"{name[:10]}... ({len(name)} characters)"
            self.must_be(
                {"jobs": {shown: record["jobs"][name]}}, "FINISHED", f"a job is called {shown!r}",
                "use job.job_context.native_id, or aiflow_ext.model.names.safe_name(name), where a file, a folder or "
                "an object needs a name, and quote what meets a shell", "the-nine-methods", shown,
            )  # fmt: skip
            self._ran_once(str(place), shown)

    @base
    def test_odd_arguments(self) -> None:
        """What the workflow says reaches the job, character by character."""
        record = self.trial.write({"job": self.jobs.tells_arguments(ARGUMENTS)}).run()
        self._told(record, [argument.encode() for argument in ARGUMENTS], list(ARGUMENTS), "the argument",
                   "hand arguments over as a list, without a shell; else use shlex.join")  # fmt: skip

    @base
    def test_odd_environment(self) -> None:
        """The variables under ``env:`` are in the job's environment, character by character."""
        record = self.trial.write({"job": self.jobs.tells_variables(list(VARIABLES))}, env=VARIABLES).run()
        self._told(record, [value.encode() for value in VARIABLES.values()], list(VARIABLES), "the variable",
                   "put job.job_config.env into the job's environment as it is")  # fmt: skip

    def _told(self, record: dict[str, Any], wanted: list[bytes], names: list[str], what: str, cure: str) -> None:
        self.must_be(record, "FINISHED", "the job tells what it was given", cure, "the-nine-methods")
        found = [content.split(b"\0")[:-1] for content in self.trial.marks.contents("told")]
        got = found[0] if found else []
        for place, (value, name) in enumerate(zip(wanted, names, strict=True)):
            reached = got[place] if place < len(got) else None
            if reached != value:
                complain(f"{self.name}: {what} {name!r} reached the job as {_shown(reached)}, and is {_shown(value)}",
                         cure, "the-nine-methods")  # fmt: skip
        if len(got) > len(wanted):
            complain(f"{self.name}: {len(wanted)} were sent, {len(got)} reached the job", cure, "the-nine-methods")

    # -- many -------------------------------------------------------------------------------------------------------

    @base
    def test_many_jobs_at_once(self) -> None:
        """Several attempts of one platform do not disturb each other."""
        names = [f"job {number}" for number in range(self.at_once)]
        works = {name: self.jobs.prints_and_exits(name, place % 2, str(place)) for place, name in enumerate(names)}
        record = self.trial.write(works).run(jobs=self.at_once)
        for place, name in enumerate(names):
            self.must_be(record, ("FINISHED", "FAILED")[place % 2],
                         f"{name!r}, one of {self.at_once} at once, exits with {place % 2}",
                         "keep nothing in the plugin's module or class that belongs to one attempt",
                         "the-nine-methods", name)  # fmt: skip
            self._ran_once(str(place), name)


def _cure_of(error: str) -> str:
    if error.startswith("PluginNotInstalledError"):
        return "pip install --editable your distribution; compare its entry points with the class's platform and engine"
    return "mend what it says; aiflow-ext why PLATFORM ENGINE says the same"


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value.decode("utf-8", "replace"))
