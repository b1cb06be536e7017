"""Level base: the nine methods, however the plugin is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiflow_ext.host.secrets import plain
from aiflow_ext.testing import probe
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.support import LONG, Support

# Also names that become equal if unusual characters are replaced, cut off or folded, or if one is a prefix of another.
NAMES = ("with space", "with-space", "With space", "a/b", "a_b", "x" * 200, "x" * 199 + "y", "../up", "-rf", "with",
         'it\'s "q" `id` $HOME', "🙂 ü")  # fmt: skip
ARGUMENTS = ("a  b", "$HOME", "`id`", "it's", '"', "*", "\\", "\\n", "new\nline", "", "-n", "a;b", "&&", "%s", "{x}",
             "~", "#", "é🙂", "\t", "!", "${HOME:-x}", "<in", "a=b")  # fmt: skip
VARIABLES: dict[str, Any] = {"KIT_QUOTES": "it's \"q\" `id` $HOME \\ %s", "KIT_LINES": "one\ntwo\n", "KIT_EMPTY": "",
             "KIT_SPACES": "  a  b ", "KIT_UNICODE": "é🙂", "KIT_PERCENT": "%d {x} ${HOME} $$ !",
             "KIT_NUMBER": 7, "KIT_TRUE": True}  # fmt: skip


MANY_LINES = 20_000  # of each stream: more than any pipe holds
LATER = 6.0  # seconds after a job's end in which it must not be executed again


class BaseLevel(Support):
    """What every job plugin must do."""

    # -- found and loaded -------------------------------------------------------------------------------------------

    @base
    def test_it_is_found_and_is_what_it_says(self) -> None:
        """It is advertised, can be imported, and its nine methods exist and return the required types."""
        if self.zygote.error is not None:
            complain(
                f"{self.name} cannot be used.\n{self.zygote.error}", _cure_of(self.zygote.error), "declare-a-plugin"
            )

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
                "declare-a-plugin",
            )

    @base
    def test_resolving_imports_this_plugin_alone(self) -> None:
        """Resolving one job plugin imports no other one, and no client library that only others need."""
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
                    "declare-a-plugin",
                )

    @base
    def test_the_installed_files_are_tested(self) -> None:
        """The imported files are the installed ones, and not a copy in the folder of the tests."""
        module, file = self.zygote.facts["module"], self.zygote.facts["file"]
        if not file:
            return
        found = self._fresh("origin.py", module, str(self.zygote.facts["distribution"]))
        origin, listed = found["origin"], found["listed"]
        other = next((path for path in [origin, *listed] if path is None or not _same_file(path, file)), file)
        if other != file:
            where = f"from {other}" if other is not None else "from nowhere: it is not installed"
            complain(
                f"{self.name}: the tests have imported {module} from {file}; whoever runs aiflow-ext gets it {where}",
                "pip install --editable the folder of the sources, so that both are one; or keep the sources in a "
                "folder src, where tests do not import them from, and install them anew after each change. PYTHONPATH "
                "should lead to no other copy",
                "prove-a-plugin-right",
            )

    def _probe(self) -> dict[str, Any]:
        return self._fresh("probe.py", json.dumps([sys.path, self.platform, self.engine]))

    def _fresh(self, script: str, *asked: str) -> dict[str, Any]:
        """The output of a script of this folder, run in a fresh interpreter, in another current folder."""
        command = [sys.executable, str(Path(__file__).with_name(script)), *asked]
        try:
            done = subprocess.run(command, env=self.zygote.env, cwd=self.root, capture_output=True, text=True,
                                  timeout=self.patience)  # fmt: skip
        except subprocess.TimeoutExpired:
            done = None
        cure = "a plugin's module must print nothing, end nothing, and leave no thread behind when it is imported"
        if done is None:
            complain(f"a fresh interpreter that lists and resolves plugins has not ended within {self.patience:g} s",
                     cure, "declare-a-plugin")  # fmt: skip
        said, _, told = done.stdout.rpartition(probe.BEGIN)
        if said or not told:
            words = f"{said}{done.stderr}".strip()[-1500:]
            complain(f"a fresh interpreter that lists plugins and resolves {self.name} said:\n    {words}", cure,
                     "declare-a-plugin")  # fmt: skip
        found: dict[str, Any] = json.loads(told)
        return found

    # -- generate ---------------------------------------------------------------------------------------------------

    @base
    def test_generate_is_repeatable(self) -> None:
        """The same subgraph gives an equal job, also when it is read from the store; and is not changed."""
        differences = self.trial.write({"job": self.jobs.sleeps(LONG)}).attempt()("generate_differences")
        if differences:
            complain(
                f"{self.name}: generate is not repeatable.\n    " + "\n    ".join(differences),
                "make the job of sub_graph and project_desc alone, without clocks, random numbers or counters, and "
                "change neither of them; what an attempt needs of its own goes into generate_job_resource",
                "the-nine-methods",
            )

    @base
    def test_a_config_is_copied_whole(self) -> None:
        """The host copies a config for generate, and sends a copy to the attempt host: no attribute may be lost."""
        self.trial.write({"job": self.jobs.sleeps(LONG)}, env=VARIABLES)
        file = self.trial.project / "workflow.yaml"
        said = json.loads(file.read_text(encoding="utf-8"))
        said["job"]["properties"] = {**said["job"].get("properties", {}), "kit_text": "a", "kit_list": [1, {"b": None}]}
        said["*"] = {"timeout": "1h", "retries": 1}
        file.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
        lost = self.trial.attempt()("lost_in_copies")
        if lost:
            complain(
                f"{self.name}: a copy of the job's config is not whole.\n    " + "\n    ".join(lost),
                "let __getstate__, __setstate__, __reduce__, __copy__, __deepcopy__, to_json and from_json take every "
                "attribute along, with those that the host has set, or leave them to af.BaseJobConfig",
                "config-classes",
            )

    @base
    def test_generate_is_offline_and_writes_nothing(self) -> None:
        """Making a job opens no connection, starts no process, and reads only files of the project, and those that
        variables in ``env`` name: a cluster's own configuration."""
        self.offline("generate", "make the job of sub_graph and project_desc alone, and in generate_job_resource what "
                     "it needs outside of this process", "the-nine-methods")  # fmt: skip

    def offline(self, call: str, cure: str, anchor: str) -> None:
        """Fail if ``generate`` or ``render`` has effects outside of its process."""
        client = self.trial.write({"job": self.jobs.sleeps(LONG)}).attempt()
        if call == "render":
            client("take_id", native_id=client("allocate_id"))
        before = self.trial.files()
        named = [path for value in self.env.values() for path in value.split(":") if os.path.isabs(path)]
        seen = list(dict.fromkeys(client("watched", call=call, readable=named)))
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
    def test_standard_output_is_left_alone(self) -> None:
        """A plugin must not write to stdout: programs read the output of commands such as ``run --json``."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 0)}).run()
        client = self.trial.attempt()
        if "render" in self.zygote.facts["offers"]:
            client("take_id", native_id=client("allocate_id"))
            client("render")
        printed = client("printed")
        if printed:
            complain(
                f"{self.name}: it prints on the client's standard output: {printed[:300]!r}",
                "use logging; what a user must know is the reason of an event, or raised",
                "the-nine-methods",
            )

    @base
    def test_nothing_is_executed_later(self) -> None:
        """A job that has succeeded is not started again later."""
        self.trial.write({"job": self.jobs.prints_and_exits("hello", 0)}).run()
        time.sleep(LATER)  # no synchronisation: for as long nothing must happen
        self._ran_once("")

    @base
    def test_a_job_that_a_signal_ends_is_failed(self) -> None:
        """A job that is killed, by the kernel because of its memory or by a user, has not succeeded."""
        self.trial.write({"job": self.jobs.kills_itself(int(signal.SIGKILL))})
        self.must_be(
            self.trial.run(), "FAILED", "SIGKILL ends the job",
            "an end by a signal is no exit code 0: subprocess gives it as a negative returncode, a shell as 128 and "
            "its number", "how-nine-methods-run",
        )  # fmt: skip

    @base
    def test_a_job_may_print_much(self) -> None:
        """A job's output must not fill a pipe that is not read, because the job would block."""
        self.trial.marks.put("go")
        self.trial.write({"job": self.jobs.counts(MANY_LINES)})
        self.must_be(
            self.trial.run(), "FINISHED", f"the job prints {2 * MANY_LINES} lines",
            "let the job's output go to files, or to the plugin's own stdout and stderr; a pipe must be read while the "
            "job runs", "how-nine-methods-run",
        )  # fmt: skip

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

    # -- what a shell would mangle ----------------------------------------------------------------------------------

    @base
    def test_odd_job_names(self) -> None:
        """A job may have any name: it is for people, and cannot be used unchanged as the name of a file or object."""
        works = {name: self.jobs.prints_and_exits("hello", 0, str(place)) for place, name in enumerate(NAMES)}
        record = self.trial.write(works).run(jobs=max(2, self.at_once))
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
        """A job gets its arguments unchanged, character by character."""
        record = self.trial.write({"job": self.jobs.tells_arguments(ARGUMENTS)}).run()
        self._told(record, [argument.encode() for argument in ARGUMENTS], list(ARGUMENTS), "the argument",
                   "hand arguments over as a list, without a shell; else use shlex.join")  # fmt: skip

    @base
    def test_odd_environment(self) -> None:
        """The variables under ``env:`` are in the job's environment, unchanged, character by character."""
        record = self.trial.write({"job": self.jobs.tells_variables(list(VARIABLES))}, env=VARIABLES).run()
        wanted = [plain(value).encode() for value in VARIABLES.values()]
        cure = "put aiflow_ext.plugin.secrets.resolve(job.job_config.env) into the job's environment"
        self._told(record, wanted, list(VARIABLES), "the variable", cure)

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

    @base
    def test_jobs_run_side_by_side(self) -> None:
        """Two jobs run at the same time, each in a folder of its own."""
        texts = [f"side{number}" for number in range(min(2, self.at_once))]
        client = self.trial.write({text: self.jobs.keeps_a_file(text) for text in texts}).client()
        self.trial.runs.append(client("prepare_run")["run"])
        client("drive_aside")
        deadline = time.monotonic() + self.patience
        while (kept := self.trial.marks.count("kept")) < len(texts):
            if time.monotonic() > deadline:
                complain(
                    f"{self.name}: of {len(texts)} jobs at once {kept} have begun within {self.patience:g} s, and the "
                    "others wait for their end",
                    "let every attempt run by itself. A platform that runs one job at a time: at_once = 1",
                    "jobs-and-marks",
                )
            time.sleep(0.02)
        self.trial.marks.put("go")
        client("driven")
        for text in texts:
            found = self.trial.marks.contents(f"told{text}")
            if found != [text.encode()]:
                complain(f"{self.name}: the job {text!r} wrote {text!r} into a file of its current folder, and then "
                         f"found {found[0].decode() if found else None!r} in it: another job runs in the same folder",
                         "start each attempt in a folder of its own, which its variable AIFLOW_WORK_FOLDER names",
                         "jobs-and-marks")  # fmt: skip


def _cure_of(error: str) -> str:
    if error.startswith("PluginNotInstalledError"):
        return "pip install --editable your distribution; compare its entry points with the class's platform and engine"
    return "mend what it says; aiflow-ext why PLATFORM ENGINE says the same"


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value.decode("utf-8", "replace"))


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
