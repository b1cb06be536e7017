"""What every platform needs to run python and cmd_line jobs; imported by plugins only.

For plugin authors: ``bundle.build_bundle`` (project archive and payload), ``command.plan_command`` (a command with its
names put in), ``environment.job_environment`` (what a job can see), ``exit_script.exit_script`` (a shell script that
records an exit code); for an engine of one's own ``edges`` (where inputs and outputs are) and ``artifacts`` (read and
write them). ``runner`` is what runs inside the job, ``in_process`` runs it in the client's process.
"""

from __future__ import annotations

from aiflow_ext.model.plugin import AbstractEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiflow_ext.model.graph import AISubGraph
    from aiflow_ext.model.in_process import InProcessJob
    from aiflow_ext.model.project import ProjectDesc


class PythonEngine(AbstractEngine):
    """Engine ``python``: calls of the team's own functions, in one process a job."""

    @staticmethod
    def engine() -> str:
        return "python"

    @classmethod
    def in_process(cls, sub_graph: AISubGraph, project_desc: ProjectDesc) -> InProcessJob:
        from aiflow_ext.engines.in_process import HereJob

        return HereJob(sub_graph, project_desc, cls.engine())


class CmdLineEngine(AbstractEngine):
    """Engine ``cmd_line``: commands, by a shell or as argument vectors, one after the other."""

    @staticmethod
    def engine() -> str:
        return "cmd_line"

    @classmethod
    def in_process(cls, sub_graph: AISubGraph, project_desc: ProjectDesc) -> InProcessJob:
        from aiflow_ext.engines.in_process import HereJob

        return HereJob(sub_graph, project_desc, cls.engine())
