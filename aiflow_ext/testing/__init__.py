"""For tests: of workflows (the fixture ``aiflow_project``, docs/testing.md), and of job plugins.

The conformance kit is a pytest plugin that an author points at a job plugin. See docs/conformance.md.

    from aiflow_ext.testing import JobPluginConformance

    class TestMine(JobPluginConformance):
        platform = "slurm"
        engine = "cmd_line"

Others may use: ProjectMaker and ProjectOfTest (of the fixture), JobPluginConformance, ClusterConformance,
FlinkConformance, Work, Marks, UrlMarks, the module caches; nothing in aiflow_ext imports this package. What each
module is for:

    project        the fixture for tests of workflows
    conformance    JobPluginConformance: what an author sets and overrides
    base, given, stopping, streams, cleaning  the tests of the level base
    durable, logs, events, memory, outages  those of the level durable
    cluster        ClusterConformance: the same with the level cluster
    flink          FlinkConformance: what a platform's flink plugin must show besides
    killing        the tests that kill the client, and the counting of executions
    works          the jobs that the tests run, for the engines python and cmd_line; job_steps is sent along with them
    marks          marks by which a job proves that it was executed
    trial          a project in a folder of its own, and the clients that act on it
    zygote         processes that call the plugin, forked from one that has it loaded (server: the other side)
    client         main loop of such a process; client_attempt, client_bare, client_generate, client_run: its calls
    caches         drops a platform's caches between two calls; for an author's own tests
    crash          ends a client at the k-th line that it executes
    watching       records what a call opens, writes, starts and connects to
    probe, origin  fresh interpreters: one lists and resolves, one reports which files are installed
    likeness, remains, complaint, report    compares jobs; finds leftovers; messages of failures; the summary
    certificate    what was proven, with which files
    pytest_plugin  the module that pytest loads
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.testing.cluster import ClusterConformance as ClusterConformance
    from aiflow_ext.testing.conformance import JobPluginConformance as JobPluginConformance
    from aiflow_ext.testing.flink import FlinkConformance as FlinkConformance
    from aiflow_ext.testing.marks import Marks as Marks
    from aiflow_ext.testing.marks import UrlMarks as UrlMarks
    from aiflow_ext.testing.project import ProjectMaker as ProjectMaker
    from aiflow_ext.testing.project import ProjectOfTest as ProjectOfTest
    from aiflow_ext.testing.works import Work as Work

_HOMES = {
    "aiflow_ext.testing.cluster": ("ClusterConformance",),
    "aiflow_ext.testing.conformance": ("JobPluginConformance",),
    "aiflow_ext.testing.flink": ("FlinkConformance",),
    "aiflow_ext.testing.marks": ("Marks", "UrlMarks"),
    "aiflow_ext.testing.project": ("ProjectMaker", "ProjectOfTest"),
    "aiflow_ext.testing.works": ("Work",),
}

if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake
    from aiflow_ext._lazy import lazily

    __all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
