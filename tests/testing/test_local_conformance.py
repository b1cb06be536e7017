"""The platform local under the kit: both levels, with nothing that is not offered.

``make test`` runs the kit on commands, without its kill loop; ``make test-faults`` runs that, and the kit on python.
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


@pytest.mark.thorough
class TestLocalPython(LocalConformance):
    engine = "python"


class TestLocalCommand(LocalConformance):
    engine = "cmd_line"
