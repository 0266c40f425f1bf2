import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(up: Any, number: signal.Signals) -> None:
    with up("up") as running:
        assert running.started["broker"] == "in this process"
        assert running.started["schedules"] == "none"
        assert running.stop(number) == 0
        assert running.printed == ""


def test_it_asks_as_scheduled_and_warns_once(up: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "sources: {ioncannon: {num_stations: 2, stations: 3}}\nfleet: 1\n"
        "scheduler:\n  windows:\n"
        "    - {source_name: ioncannon, window_size: PT5M, trigger_interval: PT5M, window_lag: PT1M}\n"
        "    - {source_name: netatmo, window_size: PT5M, trigger_interval: PT5M}\n"
    )
    with up("up", "-c", "config.yaml") as running:
        running.wait_for("ingestion settled")
        assert running.started["schedules"] == "ioncannon every PT5M for PT5M, PT1M late"
        remarks = [line["remark"] for line in running.logged if line["event"] == "configuration"]
        assert len(remarks) == len(set(remarks)) == 3
        assert running.stop(signal.SIGTERM) == 0


def test_idle_it_is_small(up: Any) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    with up("up") as running:
        assert running.resident_kb() < 200 * 1024


def test_a_wrong_configuration_is_a_misuse_and_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("dataset_aggregator: {concurrency: none}\n")
    done = subprocess.run([sys.executable, "-m", "ionbeam"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "dataset_aggregator.concurrency" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_is_greeted(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ionbeam", "up"],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
    )
    os.close(theirs)
    try:
        seen = ""
        while "Ctrl-C" not in seen:  # the end of the process ends the reading
            seen += os.read(ours, 4096).decode()
        assert "is up" in seen
        assert str(tmp_path / "ionbeam-data") in seen
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
