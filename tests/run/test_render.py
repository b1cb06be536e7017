"""What is rendered is what is sent."""

from __future__ import annotations

import json


def test_what_a_job_executes_is_what_was_rendered(project, cli, run_json):
    project.jobs(
        """
        with af.job("py"): value = af.python(look)
        with af.job("sh"): af.cmd(["sh", "-c", "tr '\\\\0' '\\\\n' < /proc/$$/cmdline; env"])
        with af.job("reads"): af.cmd("cat {value} > {out}", value=value, out=af.output("o"))
        """,
        """
"*": {platform: local, engine: cmd_line, properties: {alpha: 0.5}, env: {A: "b c"}}
py: {engine: python}
sh: {}
reads: {}
""",
        """
        import os
        from pathlib import Path
        def look():
            print(Path("/proc/self/cmdline").read_text().replace("\\0", "\\n"), end="")
            print("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
            return "x"
        """,
    )
    done = cli("render", project.root, "--json")
    assert done.returncode == 0, done.stderr
    assert not (project.root / ".aiflow").exists()  # offline, and without a trace
    rendered = {request["job"]: request["content"] for request in json.loads(done.stdout)}
    record = run_json(project)
    for job in ("py", "sh"):
        lines = project.log(job).decode().splitlines()
        sent = json.loads(json.dumps(rendered[job]).replace("${run}", record["run"]))
        assert lines[: len(sent["argv"])] == sent["argv"]
        for name, value in sent["env"].items():
            assert f"{name}={value}" in lines
    assert "payload" in rendered["reads"]


def test_render_shows_one_job_where_one_is_named_and_names_near_ones_where_none_is(project, cli):
    project.jobs('with af.job("train"): af.cmd("true")', '"*": {platform: local, engine: cmd_line}\ntrain: {}\n')
    assert "# job train" in cli("render", project.root, "train").stdout
    done = cli("render", project.root, "trian")
    assert done.returncode == 3
    assert "'train'" in done.stderr


def test_where_no_platform_tells_what_must_be_allowed_a_sentence_says_so_beside_the_output(project, cli):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: local, engine: cmd_line}\n")
    for more, shown in ((), ""), (("--json",), "{}\n"):
        done = cli("render", project.root, "--rbac", *more)
        assert (done.returncode, done.stdout) == (0, shown)
        assert done.stderr == "none of these jobs is on a platform that tells what must be allowed for it\n"
