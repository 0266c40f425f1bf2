"""Benchmarks run, on sizes that say nothing about speed."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "sizes"),
    [("floors", ["2000"]), ("pipeline", ["2000"]), ("coordinator", ["5", "50"]), ("large_payload", ["4800"])],
)
def test_a_benchmark_runs(script: str, sizes: list[str]) -> None:
    command = [sys.executable, BENCHMARKS / f"{script}.py", *sizes]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout
