"""Hadoop's own GetConf and this plugin read the same from a configuration folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import hadoop_folders
import pytest
import yarn_hadoop


@pytest.mark.parametrize("case", hadoop_folders.CASES)
def test_get_conf_answers_what_the_table_of_cases_says(tmp_path: Path, case: str) -> None:
    files, name, wanted = hadoop_folders.CASES[case]
    hadoop_folders.write(tmp_path, files)
    command = [
        yarn_hadoop.java(),
        "-XX:TieredStopAtLevel=1",
        "-Xmx128m",
        "-cp",
        f"{tmp_path}:{yarn_hadoop.install()}/lib/*",
    ]
    done = subprocess.run([*command, "org.apache.hadoop.hdfs.tools.GetConf", "-confKey", name], capture_output=True,
                          text=True, env={**os.environ, **hadoop_folders.VARIABLES})  # fmt: skip
    assert done.stdout.strip() == wanted, done.stderr
