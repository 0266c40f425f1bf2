import sqlite3
from pathlib import Path
from typing import Any


def test_every_line_and_the_total_close(as_json: Any, demo_folder: Path, demo_made: Any) -> None:
    form = as_json("books", "--data-dir", demo_folder)
    assert form["closes"] is True
    assert {line["dataset"] for line in form["lines"]} == {"ioncannon"}
    assert all(line["closes"] and line["pending"] == 0 for line in form["lines"])
    assert {name: form["totals"][name] for name in demo_made[1]["rows"]} == demo_made[1]["rows"]
    assert form["totals"]["received"] == sum(line["received"] for line in form["lines"])


def test_the_books_are_a_table_for_people(ionbeam: Any, demo_folder: Path) -> None:
    header, *_, total = ionbeam("books", "ioncannon", "--data-dir", demo_folder).stdout.splitlines()
    assert header.split() == [
        "dataset",
        "hour",
        "received",
        "stored",
        "duplicate",
        "rejected",
        "pending",
        "closes",
    ]
    assert total.split()[0] == "total"
    assert total.split()[-1] == "yes"


def test_a_line_that_does_not_close_fails(ionbeam: Any, demo_copy: Path) -> None:
    connection = sqlite3.connect(demo_copy / "state" / "state.sqlite")
    with connection:
        connection.execute("UPDATE ingestions SET stored = stored - 1 WHERE stored > 0")
    connection.close()
    result = ionbeam("books", "--data-dir", demo_copy)
    assert result.exit_code == 1
    assert "the books do not close" in result.stderr
    assert result.stdout.split()[-1] == "no"


def test_without_data_the_books_are_empty_and_close(as_json: Any) -> None:
    form = as_json("books")
    assert form["lines"] == []
    assert form["closes"] is True
