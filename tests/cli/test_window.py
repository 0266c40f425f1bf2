from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def revised(as_json: Any, demo_folder: Path) -> dict[str, Any]:
    """A window that late rows revised, as the list has it."""
    windows = as_json("window", "list", "--data-dir", demo_folder)
    return next(window for window in windows if window["revision"] == 2)


def test_the_list_has_every_window_and_its_file(as_json: Any, demo_folder: Path) -> None:
    waiting, *built = as_json("window", "list", "--data-dir", demo_folder)
    assert (waiting["status"], waiting["reason"]) == ("waiting", "incomplete_coverage")
    assert waiting["file"] is waiting["rows"] is waiting["revision"] is None
    assert [window["start"] for window in built] == [f"2024-06-01T{hour:02}:00:00Z" for hour in range(24)]
    assert {window["status"] for window in built} == {"built"}
    assert all(pq.read_metadata(window["file"]).num_rows == window["rows"] for window in built)


def test_the_list_can_be_narrowed(as_json: Any, demo_folder: Path) -> None:
    span = ("--start", "2024-06-01T02:30:00Z", "--end", "2024-06-01T06:00:00+02:00")
    windows = as_json("window", "list", "ion", *span, "--data-dir", demo_folder)
    assert [window["window"] for window in windows] == [
        "2024-06-01T02:00:00Z/PT1H",
        "2024-06-01T03:00:00Z/PT1H",
    ]


def test_the_list_is_a_table_for_people(ionbeam: Any, demo_folder: Path) -> None:
    header, first, *_, last = ionbeam("window", "list", "--data-dir", demo_folder).stdout.splitlines()
    assert header.split() == ["dataset", "window", "status", "reason", "revision", "rows", "file"]
    assert first.split() == ["ioncannon", "2024-05-31T23:00:00Z/PT1H", "waiting", "incomplete_coverage"]
    assert last == f"files in  {demo_folder}/datasets"


def test_where_nothing_is_the_list_is_empty_and_says_so(ionbeam: Any, tmp_path: Path) -> None:
    result = ionbeam("window", "list", "--json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert "Nothing is in ionbeam-data yet" in result.stderr


def test_a_window_shows_its_revisions_and_where_they_come_from(
    as_json: Any, demo_folder: Path, revised: dict[str, Any]
) -> None:
    form = as_json("window", "show", "ioncannon", revised["start"], "--data-dir", demo_folder)
    first, second = form["revisions"]
    assert first["supersedes"] is None
    assert second["supersedes"] == first["content_hash"] != second["content_hash"] == form["content_hash"]
    assert second["rows"] > first["rows"]
    own, later = form["lineage"]
    assert own["start"] == revised["start"]
    assert later["start"] == revised["end"]
    assert (own["since_revision"], later["since_revision"]) == (1, 2)
    assert first["inputs"] == [own["ingestion_id"]]
    assert sorted(second["inputs"]) == sorted([own["ingestion_id"], later["ingestion_id"]])
    assert (demo_folder / later["payload"]).is_file()


@pytest.mark.parametrize(
    "word",
    [
        "2024-06-01T10",
        "2024-06-01T10:00:00Z/PT1H",
        "2024-06-01T12:59:59+02:00",
        "2024-06-01T10:00Z",
        "ioncannon_20240601T100000_PT1H",
        "ioncannon_20240601T100000_PT1H.parquet",
        "ionbeam-data/datasets/ioncannon_20240601T100000_PT1H.parquet",
    ],
)
def test_a_window_is_named_by_its_label_its_file_or_a_time_inside(
    as_json: Any, demo_folder: Path, word: str
) -> None:
    form = as_json("window", "show", "ioncannon", word, "--data-dir", demo_folder)
    assert form["start"] == "2024-06-01T10:00:00Z"


@pytest.mark.parametrize(
    ("dataset", "start", "told"),
    [
        ("ionkannon", "2024-06-01T10", "no dataset 'ionkannon'; did you mean 'ioncannon'?"),
        ("ioncannon", "2024-06-01", "begins more than one window of ioncannon: 2024-06-01T00:00:00Z/PT1H"),
        ("ioncannon", "2024-06-11T10:00:00Z", "no window of ioncannon '2024-06-11T10:00:00Z'; did you mean"),
        ("ioncannon", "2024-06-01T10:30", "START: 2024-06-01T10:30:00 has no time zone; write"),
    ],
)
def test_what_is_not_there_is_a_misuse(
    ionbeam: Any, demo_folder: Path, dataset: str, start: str, told: str
) -> None:
    result = ionbeam("window", "show", dataset, start, "--data-dir", demo_folder)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_a_person_sees_revisions_and_lineage(
    ionbeam: Any, demo_folder: Path, revised: dict[str, Any]
) -> None:
    printed = ionbeam("window", "show", "ioncannon", revised["window"], "--data-dir", demo_folder).stdout
    assert "revisions" in printed
    assert "raw/ioncannon/" in printed


def test_a_rebuild_of_the_same_content_makes_no_revision(as_json: Any, demo_copy: Path) -> None:
    span = ("2024-06-01T02:00:00Z", "2024-06-01T05:00:00Z")
    form = as_json("window", "rebuild", "ioncannon", *span, "--data-dir", demo_copy)
    assert form["windows"] == {"built": 0, "revised": 0, "unchanged": 3}


@pytest.mark.parametrize("start", ["ioncannon_20240601T020000_PT1H.parquet", "2024-06-01T02:00:00Z/PT1H"])
def test_a_rebuild_may_start_at_a_window_that_is_named(as_json: Any, demo_copy: Path, start: str) -> None:
    span = (start, "2024-06-01T05:00:00Z")
    form = as_json("window", "rebuild", "ioncannon", *span, "--data-dir", demo_copy)
    assert form["windows"]["unchanged"] == 3


def test_a_rebuild_brings_a_lost_file_back_and_builds_what_waits(as_json: Any, demo_copy: Path) -> None:
    waiting, window, *_ = as_json("window", "list", "--data-dir", demo_copy)
    before = Path(window["file"]).read_bytes()
    Path(window["file"]).unlink()
    span = (waiting["start"], window["end"])
    form = as_json("window", "rebuild", "ioncannon", *span, "--data-dir", demo_copy)
    assert form["windows"] == {"built": 1, "revised": 0, "unchanged": 1}
    assert Path(window["file"]).read_bytes() == before


def test_a_rebuild_of_one_window_needs_no_end(ionbeam: Any, demo_copy: Path) -> None:
    result = ionbeam("window", "rebuild", "ioncannon", "2024-06-01T02", "--data-dir", demo_copy)
    assert result.exit_code == 0
    assert "0 built, 0 revised, 1 unchanged" in result.stdout


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2024-06-01T05:00:00Z", "2024-06-01T02:00:00Z", "is not after START"),
        ("2024-06-01T05:00:00", "2024-06-01T06:00:00Z", "START: 2024-06-01T05:00:00 has no time zone"),
        ("2020-06-01T05:00:00Z", "2020-06-01T06:00:00Z", "has no windows with rows in"),
    ],
)
def test_a_rebuild_of_nothing_is_a_misuse(
    ionbeam: Any, demo_copy: Path, start: str, end: str, told: str
) -> None:
    result = ionbeam("window", "rebuild", "ioncannon", start, end, "--data-dir", demo_copy)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_window_that_cannot_be_built_fails_the_rebuild(ionbeam: Any, demo_copy: Path) -> None:
    for chunk in (demo_copy / "observations/ioncannon/event_date=2024-06-01/event_hour=02").iterdir():
        chunk.write_bytes(b"damaged")
    result = ionbeam("window", "rebuild", "ioncannon", "2024-06-01T02", "--data-dir", demo_copy)
    assert result.exit_code == 1
    assert "2024-06-01T02:00:00Z/PT1H was not built: ObjectCorrupt" in result.stderr
