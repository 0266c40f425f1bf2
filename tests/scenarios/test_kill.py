"""kill -9 anywhere during a backfill, start again: the result is that of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ionbeam.testing.archive import ArchiveServer

SEVEN_DAYS = Path(__file__).parents[2] / "../shared/data/sensor-community"
KILLS = int(os.environ.get("IONBEAM_TEST_KILLS", "6"))
SPAN = ["--start", "2018-11-22T00:00:00Z", "--end", "2018-11-29T00:00:00Z"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SEVEN_DAYS.is_dir(), reason=f"the recorded archive is not at {SEVEN_DAYS}"),
]


def backfill(folder: Path, url: str) -> subprocess.Popen[bytes]:
    config = folder / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f"sources:\n  sensor_community:\n    base_url: {url}\n")
    command = [sys.executable, "-m", "ionbeam", "source", "backfill", "sensor_community", *SPAN]
    places = ["--config", str(config), "--data-dir", str(folder / "data")]
    return subprocess.Popen(
        [*command, *places], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finished(folder: Path, url: str) -> None:
    process = backfill(folder, url)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def published(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted((folder / "data/datasets").iterdir())
        if path.is_file()
    }


def books(folder: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "ionbeam", "books", "--json", "--data-dir", str(folder / "data")]
    answer: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return answer


def test_a_backfill_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    chance = random.Random(20181122)
    with ArchiveServer(SEVEN_DAYS) as archive:
        began = time.monotonic()
        finished(tmp_path / "calm", archive.url)
        length = time.monotonic() - began
        kills = 0
        for _ in range(KILLS):
            process = backfill(tmp_path / "killed", archive.url)
            try:
                process.wait(chance.uniform(0.3, length))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            process.communicate()
        finished(tmp_path / "killed", archive.url)

    assert kills > 0
    assert published(tmp_path / "killed") == published(tmp_path / "calm")
    assert len(published(tmp_path / "calm")) == 2 * 168
    for folder in ("calm", "killed"):
        lines = books(tmp_path / folder)["lines"]
        assert isinstance(lines, list)
        assert all(line["closes"] and line["pending"] == 0 for line in lines)
        assert sum(line["stored"] for line in lines) == 60_219
