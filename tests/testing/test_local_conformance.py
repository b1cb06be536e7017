"""The platform local under the kit: both levels, with nothing that is not offered."""

import pytest

from aiflow_ext.testing import JobPluginConformance
from aiflow_ext.testing.levels import durable


class TestLocalPython(JobPluginConformance):
    platform = "local"
    engine = "python"
    kills = 10  # and all of the plugin's own lines from submit on

    @pytest.mark.thorough  # make test kills clients of the other one, make test-faults those of both, at all lines
    @durable()
    def test_killed_anywhere_it_runs_exactly_once(self) -> None:
        self.killed_anywhere()


class TestLocalCommand(JobPluginConformance):
    platform = "local"
    engine = "cmd_line"
    kills = 10  # and all of the plugin's own lines from submit on
