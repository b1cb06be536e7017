"""The platform local under the kit: both levels, with nothing that is not offered.

Its kill loop takes as long as all of its other tests: ``make test-faults`` runs it.
"""

import pytest

from aiflow_ext.testing import JobPluginConformance
from aiflow_ext.testing.levels import durable


class LocalConformance(JobPluginConformance):
    platform = "local"

    @pytest.mark.thorough
    @durable()
    def test_killed_anywhere_it_runs_exactly_once(self) -> None:
        self.killed_anywhere()


class TestLocalPython(LocalConformance):
    engine = "python"


class TestLocalCommand(LocalConformance):
    engine = "cmd_line"
