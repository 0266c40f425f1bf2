import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ionbeam.wiring import Platform


def change(folder: Path, statement: str, values: Sequence[object] = ()) -> None:
    connection = sqlite3.connect(folder / "state" / "state.sqlite")
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def test_where_nothing_was_cut_off_that_is_said(ionbeam: Any, demo_copy: Path) -> None:
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert (result.exit_code, result.stdout) == (0, "Nothing was left undone.\n")


def test_what_was_cut_off_is_told_and_finished(as_json: Any, demo_copy: Path) -> None:
    change(
        demo_copy,
        "UPDATE log SET is_open = 1 WHERE sequence IN "
        "(SELECT MIN(sequence) FROM log GROUP BY kind HAVING kind IN "
        "('StartSourceCommand', 'DataAvailableEvent', 'DataSetAvailableEvent'))",
    )
    change(demo_copy, "UPDATE windows SET status = 'queued', due_us = 0 WHERE status = 'built'")
    form = as_json("reconcile", "--data-dir", demo_copy)
    assert form == {
        "found": {
            "spans_to_fetch": 1,
            "ingestions_to_close_into_windows": 1,
            "revisions_to_announce": 1,
            "windows_to_build": 24,
        },
        "left": {},
        "restored": [],
        "failing": [],
    }
    assert as_json("reconcile", "--data-dir", demo_copy)["found"] == {}


def test_a_person_reads_what_was_found(ionbeam: Any, demo_copy: Path) -> None:
    change(demo_copy, "UPDATE windows SET status = 'queued', due_us = 0 WHERE status = 'built'")
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert result.exit_code == 0
    found, left = result.stdout.splitlines()
    assert found.split(maxsplit=1)[1].strip() == "24 windows to build"
    assert left.split() == ["left", "nothing"]


@pytest.mark.parametrize("status", ["parked", "queued"])
def test_a_window_whose_build_failed_is_named_with_its_reason(
    ionbeam: Any, demo_copy: Path, status: str
) -> None:
    much_later = 32_503_680_000_000_000
    change(
        demo_copy,
        "UPDATE windows SET status = ?, reason = 'broken', attempts = 3, due_us = ? WHERE status = 'waiting'",
        (status, much_later),
    )
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert result.exit_code == 1
    assert "Nothing was left undone" not in result.stdout
    assert result.stderr == (
        f"Error: ioncannon 2024-05-31T23:00:00Z/PT1H is {status} after 3 failed builds: broken\n"
    )
    (failing,) = json.loads(ionbeam("reconcile", "--data-dir", demo_copy, "--json").stdout)["failing"]
    assert (failing["window"], failing["reason"]) == ("2024-05-31T23:00:00Z/PT1H", "broken")


def test_what_cannot_be_finished_now_fails(
    ionbeam: Any, demo_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(_: Platform) -> None: ...

    change(demo_copy, "UPDATE windows SET status = 'queued', due_us = 0 WHERE status = 'waiting'")
    monkeypatch.setattr(Platform, "drain", idle)
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert result.exit_code == 1
    assert "1 windows to build could not be finished" in result.stderr


def test_published_files_that_are_gone_are_published_again(
    ionbeam: Any, as_json: Any, demo_copy: Path
) -> None:
    first, second, *_ = sorted((demo_copy / "datasets").glob("*.parquet"))
    before = first.read_bytes()
    first.unlink()
    second.unlink()
    assert ["restored", "2", "published", "files"] in [
        line.split() for line in ionbeam("reconcile", "--data-dir", demo_copy).stdout.splitlines()
    ]
    assert first.read_bytes() == before
    first.unlink()
    assert as_json("reconcile", "--data-dir", demo_copy)["restored"] == [
        {"dataset": "ioncannon", "window": "2024-06-01T00:00:00Z/PT1H"}
    ]
