import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ionbeam.cli.rendering import print_facts, print_json, print_table

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_a_document_has_times_durations_and_paths_as_they_may_be_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"at": NOON, "span": timedelta(hours=1), "file": Path("/a/b"), "name": "ä"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"at": "2024-01-01T12:00:00Z", "span": "PT1H", "file": "/a/b", "name": "ä"}
    assert "ä" in printed


def test_a_number_that_json_lacks_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"x": float("nan")}, (float("inf"), 1.5)])
    assert json.loads(capsys.readouterr().out) == [{"x": None}, [None, 1.5]]


def test_a_table_has_one_unbroken_line_per_form_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "x" * 300, "open": True, "rows": None}], ("name", "open", "rows"))
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "open", "rows"]
    assert line.split() == ["x" * 300, "yes"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], ("name",), empty="no names")
    assert capsys.readouterr().out == "no names\n"


def test_brackets_in_values_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "[red]x[/red]"}], ("name",))
    print_facts({"name": "[bold]"})
    printed = capsys.readouterr().out
    assert "[red]x[/red]" in printed
    assert "[bold]" in printed


def test_facts_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_facts({"a": None, "b": "", "c": [], "d": 0, "e": {"gap": 2}, "f": Path.cwd() / "x"}, title="told")
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "told"
    assert [line.split() for line in lines] == [["d", "0"], ["e", "2", "gap"], ["f", "x"]]
