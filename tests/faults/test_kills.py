"""``kills.py`` sees a driver's mistakes. ``make test-faults`` runs it on the driver as it is, for hundreds of kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).with_name("kills.py"))


def kills(tmp_path, *args, number="20"):
    argv = [sys.executable, SCRIPT, "--kills", number, "--quick", "--folder", str(tmp_path), *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    print(done.stdout)  # the seed first
    return done


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("broken", "words"),
    [("doubles", "marks"), ("guesses", "attempt"), ("forgets", "told")],
)
def test_the_suite_sees_a_driver_with_a_mistake(tmp_path, broken, words):
    done = kills(tmp_path, "--kind", "driver", "--broken", broken, number="60")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG" in done.stdout
    assert words in done.stdout
