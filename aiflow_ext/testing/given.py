"""Level base: what a job gets, and can see of itself."""

from __future__ import annotations

import json
import sys
from typing import Any

from aiflow_ext.testing.adding import ADDED, added_for
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.levels import base
from aiflow_ext.testing.support import Support

PROPERTIES: dict[str, Any] = {"kit_text": 'it\'s "q" $HOME é', "kit_number": 3, "kit_list": [1, {"two": None}]}
TOLD = ("kit_text", "kit_number")
VARIABLES = ("AIFLOW_RUN", "AIFLOW_JOB", "AIFLOW_ATTEMPT", "AIFLOW_PROPERTIES", "AIFLOW_WORK_FOLDER",
             "AIFLOW_CHECKPOINT_DIR", "AIFLOW_MARK", ADDED)  # fmt: skip
UNSET = "(unset)"


class Given(Support):
    """Each job gets the variables that identify it, and the properties and the interpreter of its config."""

    @base
    def test_a_job_sees_who_it_is(self) -> None:
        """Its ``AIFLOW_*`` variables, of each attempt, and what an installed job environment adds to them; and each
        attempt begins in an empty folder of its own."""
        names = ("first job", "second")
        work = self.jobs.fails_telling(VARIABLES).under(retries=1, properties=PROPERTIES)
        record = self.trial.write(dict.fromkeys(names, work)).run(adding=True)
        variables = [_told(content) for content in self.trial.marks.contents("told")]
        seen = {(one.get("AIFLOW_JOB"), one.get("AIFLOW_ATTEMPT")): one for one in variables}
        wanted = {(name, number) for name in names for number in ("1", "2")}
        if set(seen) != wanted or len(variables) != len(wanted):
            reasons = {name: [attempt["reason"] for attempt in record["jobs"][name]["attempts"]] for name in names}
            self._wrong(
                f"two jobs with one retry, called {' and '.join(map(repr, names))}, fail twice each, and see as "
                f"AIFLOW_JOB and AIFLOW_ATTEMPT {sorted(map(str, seen)) or 'nothing'} ({reasons})"
            )
        for (name, number), one in seen.items():
            whose = f"attempt {number} of {name!r}"
            for variable, value, right in self._expected(one):
                if not right:
                    self._wrong(f"{whose} sees {variable}={one[variable]}, and should see {value}")
            if one[ADDED] != (added := added_for(name, number)):
                complain(
                    f"{self.name}: {whose} sees {ADDED}={one[ADDED]}, and should see {added}: a plugin that is "
                    "installed has added it to the job's environment",
                    "read job.job_config.env when the job is rendered and sent, and not in generate: the host adds "
                    "these variables to it, of each attempt its own",
                    "what-a-job-is-given",
                )
            if one["left"] != "new":
                complain(
                    f"{self.name}: {whose} finds in its current folder a file that an earlier attempt, or another "
                    "job, has left there",
                    "start each attempt in a folder of its own",
                    "what-a-job-is-given",
                )
        shared = {name: {seen[name, number]["AIFLOW_CHECKPOINT_DIR"] for number in ("1", "2")} for name in names}
        if any(len(folders) > 1 for folders in shared.values()) or shared[names[0]] == shared[names[1]]:
            self._wrong(
                "AIFLOW_CHECKPOINT_DIR is to be one for all attempts of a job, and each job's own; the attempts "
                f"see {shared}"
            )
        if len({one["AIFLOW_MARK"] for one in variables}) < len(variables):
            self._wrong(
                f"four attempts carry the marks {sorted(one['AIFLOW_MARK'] for one in variables)}: each needs its own"
            )

    def _expected(self, one: dict[str, str]) -> list[tuple[str, str, bool]]:
        """Each variable, what it should be, and whether it is."""
        run = self.trial.runs[-1]
        try:
            properties = json.loads(one["AIFLOW_PROPERTIES"])
        except ValueError:
            properties = None
        return [
            ("AIFLOW_RUN", run, one["AIFLOW_RUN"] == run),
            ("AIFLOW_PROPERTIES", json.dumps(PROPERTIES), properties == PROPERTIES),
            ("AIFLOW_WORK_FOLDER", f"its current folder, {one['here']}",
             one["AIFLOW_WORK_FOLDER"] != UNSET and one["there"] == one["here"]),
            ("AIFLOW_CHECKPOINT_DIR", "a folder or a URL", one["AIFLOW_CHECKPOINT_DIR"] not in (UNSET, "")),
            ("AIFLOW_MARK", f"{run}: and its native id", one["AIFLOW_MARK"].startswith(f"{run}:")),
        ]  # fmt: skip

    def _wrong(self, words: str) -> None:
        complain(f"{self.name}: {words}", "give the job's process the variables of aiflow_ext.engines.environment."
                 "job_environment(job, work_folder=..., checkpoint_dir=...), and in an attempt host those of the "
                 "host's own environment", "what-a-job-is-given")  # fmt: skip

    @base
    def test_a_job_gets_its_properties(self) -> None:
        """The job sees what is under ``properties`` in workflow.yaml."""
        work = self.jobs.tells_properties(TOLD).under(properties=PROPERTIES)
        record = self.trial.write({"job": work}).run()
        cure = ("fill {properties.NAME} in by aiflow_ext.engines.command.plan_command, or use build_bundle(...)."
                "command(); a python job finds them in AIFLOW_PROPERTIES")  # fmt: skip
        self.must_be(record, "FINISHED", "the job tells its properties", cure, "what-a-job-is-given")
        found = [content.decode("utf-8", "replace").split("\0")[:-1] for content in self.trial.marks.contents("told")]
        wanted = [str(PROPERTIES[name]) for name in TOLD]
        if found != [wanted]:
            complain(f"{self.name}: the properties {', '.join(TOLD)} are {wanted}, and the job sees {found}", cure,
                     "what-a-job-is-given")  # fmt: skip

    @base
    def test_python_is_the_one_asked_for(self) -> None:
        """``python:`` names the interpreter of a job that python runs."""
        python = self.trial.marks.interpreter(str(self.trial.config.get("python", sys.executable)))
        if self.engine == "python":
            work = self.jobs.prints_and_exits("hello", 0)
        elif self.engine == "cmd_line" and self.zygote.facts["durable"]:  # with artifacts, a runner is needed
            work = self.jobs.makes(10, "x")
        else:
            return
        if python is None:
            return
        cure = "run python jobs, and commands with artifacts, under job.job_config.python where it is given"
        record = self.trial.write({"job": work.under(python=python)}).run()
        self.must_be(record, "FINISHED", f"the job has python: {python}", cure, "what-a-job-is-given")
        if not self.trial.marks.count("python"):
            complain(f"{self.name}: the job has python: {python}, and was not run by it", cure, "what-a-job-is-given")


def _told(content: bytes) -> dict[str, str]:
    values = content.decode("utf-8", "replace").split("\0")[:-1]
    return dict(zip([*VARIABLES, "there", "here", "left"], values, strict=False))
