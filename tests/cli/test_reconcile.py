import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
    }
    assert as_json("reconcile", "--data-dir", demo_copy)["found"] == {}


def test_a_person_reads_what_was_found(ionbeam: Any, demo_copy: Path) -> None:
    change(demo_copy, "UPDATE windows SET status = 'queued', due_us = 0 WHERE status = 'built'")
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert result.exit_code == 0
    found, left = result.stdout.splitlines()
    assert found.split(maxsplit=1)[1].strip() == "24 windows to build"
    assert left.split() == ["left", "nothing"]


def test_what_cannot_be_finished_fails(ionbeam: Any, demo_copy: Path) -> None:
    change(demo_copy, "UPDATE windows SET status = 'parked', reason = 'broken' WHERE status = 'waiting'")
    result = ionbeam("reconcile", "--data-dir", demo_copy)
    assert result.exit_code == 1
    assert "1 windows parked could not be finished" in result.stderr
