"""The units of cpu and memory, read and written."""

from __future__ import annotations

import pytest

from aiflow_ext.plugin import cpu_text, memory_text, parse_cpu, parse_memory


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("512Mi", 512 * 1024**2, "512Mi"), ("2Gi", 2 * 1024**3, "2Gi"), ("1.5G", 1_500_000_000, "1500M"),
        ("1024 Ki", 1024**2, "1Mi"), ("0.5Ti", 512 * 1024**3, "512Gi"), ("3k", 3000, "3k"), (" 1M ", 10**6, "1M"),
        ("0.1Gi", 107374183, "107374183"), (".5Ki", 512, "512"),
    ],
)  # fmt: skip
def test_memory_is_bytes_rounded_up_and_is_written_exactly(text: str, size: int, shown: str) -> None:
    assert parse_memory(text) == size
    assert memory_text(size) == shown


@pytest.mark.parametrize(
    ("value", "cores", "shown"),
    [(2, 2.0, "2"), (0.5, 0.5, "500m"), ("500m", 0.5, "500m"), ("1.25", 1.25, "1250m"), ("2000m", 2.0, "2")],
)
def test_cpu_is_cores_to_the_thousandth(value: object, cores: float, shown: str) -> None:
    assert parse_cpu(value) == cores
    assert cpu_text(cores) == shown


@pytest.mark.parametrize(
    "value",
    [1024, "1024", "1g", "4GB", "1m", "1 000Mi", "-1Mi", "0Mi", "1e3Mi", f"{9**30}Mi", "2048Ti", "²Mi", True, None, []],
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|is more"):
        parse_memory(value)


@pytest.mark.parametrize("value", [0, -1, "0.0001", "m", "2 cores", 1e30, float("nan"), float("inf"), True, None, {}])
def test_what_are_no_cores_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|is more"):
        parse_cpu(value)
