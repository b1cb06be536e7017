"""``local.flink`` under the kit's Flink part, on real Flink."""

from __future__ import annotations

import pytest

from aiflow_ext.testing import FlinkConformance
from tests.helpers import flink_jvm


class TestLocalFlink(FlinkConformance):
    platform = "local"
    patience = 900.0

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _place(cls, installed) -> None:
        cls.config = {"env": {"FLINK_HOME": str(installed / "pyflink"), **flink_jvm.ENV}}


@pytest.mark.thorough
class TestLocalFlinkThoroughly(TestLocalFlink):
    rounds, kills = 10, 20
