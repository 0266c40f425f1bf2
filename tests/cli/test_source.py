import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ionbeam.testing.archive import ArchiveServer

DAY = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")
FEW = "sources: {ioncannon: {num_stations: 3}}\n"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[ArchiveServer]:
    """An archive that has published nothing."""
    folder = tmp_path / "archive"
    folder.mkdir()
    with ArchiveServer(folder) as server:
        Path("config.yaml").write_text(f"sources: {{sensor_community: {{base_url: {server.url!r}}}}}\n")
        yield server


def test_every_source_is_listed(as_json: Any) -> None:
    Path("config.yaml").write_text(
        "sensor_community: {concurrency: 2}\n"
        "scheduler: {windows: [{source_name: sensor.community, window_size: P1D, trigger_interval: P1D}]}\n"
    )
    first, second = as_json("source", "list")
    assert first["name"] == "ioncannon"
    assert (first["configured"], first["scheduled"]) == (False, [])
    assert second == {
        "name": "sensor_community",
        "dataset": "sensor.community",
        "span": "PT1H",
        "lateness": "P1D",
        "max_span": "P1D",
        "configured": True,
        "scheduled": ["every P1D for P1D"],
    }


def test_the_list_is_a_table_for_people(ionbeam: Any) -> None:
    header, first, _ = ionbeam("source", "list").stdout.splitlines()
    assert header.split() == ["name", "dataset", "span", "lateness", "configured", "scheduled"]
    assert first.split() == ["ioncannon", "ioncannon", "PT1H", "PT0S", "no"]


def test_a_backfill_asks_in_parts_and_tells_what_it_did(as_json: Any) -> None:
    Path("config.yaml").write_text(FEW)
    form = as_json(
        "source", "backfill", "ioncannon", "--start", "2024-01-01T12:00:00Z", "--end", "2024-01-03T00:30:00Z"
    )
    assert form["spans"] == {"asked": 3, "failed": 0, "unchanged": 0}
    rows = 3 * 6 * 36 + 3 * 3
    assert form["rows"] == {"received": rows, "stored": rows, "duplicate": 0, "rejected": 0}
    assert form["windows"] == {"built": 36, "revised": 0}
    assert form["waiting"] == {"incomplete_coverage": 1}
    assert form["failures"] == []


def test_a_run_is_one_span(as_json: Any) -> None:
    Path("config.yaml").write_text(FEW)
    form = as_json(
        "source", "run", "ioncannon", "--start", "2024-01-01T00:00:00Z", "--end", "2024-01-03T00:00:00Z"
    )
    assert form["spans"]["asked"] == 1
    assert form["windows"] == {"built": 48, "revised": 0}


def test_asking_again_changes_nothing(as_json: Any) -> None:
    Path("config.yaml").write_text(FEW)
    as_json("source", "backfill", "ioncannon", *DAY)
    again = as_json("source", "backfill", "ioncannon", *DAY)
    assert again["spans"] == {"asked": 1, "failed": 0, "unchanged": 1}
    assert again["rows"]["received"] == 0
    assert again["windows"] == {"built": 0, "revised": 0}


def test_a_person_gets_a_summary_with_the_windows_that_wait(ionbeam: Any) -> None:
    Path("config.yaml").write_text(FEW)
    result = ionbeam(
        "source", "backfill", "ioncannon", "--start", "2024-01-01T00:00:00Z", "--end", "2024-01-01T01:30:00Z"
    )
    assert result.exit_code == 0
    assert "27 received = 27 stored + 0 duplicate + 0 rejected" in result.stdout
    assert "1 built, 0 revised" in result.stdout
    assert "1 window: 1 incomplete_coverage" in result.stdout
    assert result.stderr == ""


def test_spans_that_fail_are_named_and_the_exit_code_says_so(ionbeam: Any, archive: ArchiveServer) -> None:
    result = ionbeam(
        "source",
        "backfill",
        "sensor.community",
        "--start",
        "2018-11-22T00:00:00Z",
        "--end",
        "2018-11-24T00:00:00Z",
        "--json",
    )
    assert result.exit_code == 1
    form = json.loads(result.stdout)
    assert form["source"] == "sensor_community"
    assert form["spans"] == {"asked": 2, "failed": 2, "unchanged": 0}
    assert form["failures"][1]["start"] == "2018-11-23T00:00:00Z"
    assert "Error: 2018-11-22T00:00:00Z/2018-11-23T00:00:00Z failed: " in result.stderr
    assert "may not be published yet" in result.stderr


def test_a_failed_span_is_not_tried_behind_the_back(
    ionbeam: Any, as_json: Any, archive: ArchiveServer
) -> None:
    assert ionbeam("source", "run", "sensor_community", *DAY).exit_code == 1
    form = as_json("reconcile")
    assert form["found"] == form["left"] == {}


def test_an_unknown_source_is_a_misuse_with_a_suggestion(ionbeam: Any) -> None:
    result = ionbeam("source", "backfill", "ioncanon", *DAY)
    assert result.exit_code == 2
    assert result.stderr == "Error: there is no source 'ioncanon'; did you mean 'ioncannon'?\n"


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2024-01-01T00:00:00", "2024-01-02T00:00:00Z", "--start: 2024-01-01T00:00:00 has no time zone"),
        ("2024-01-01T00:00:00Z", "tomorrow", "--end: 'tomorrow' is not an ISO 8601 time"),
        ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "is not after --start"),
        ("2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z", "is not after --start"),
    ],
)
def test_a_bad_time_is_a_misuse(ionbeam: Any, start: str, end: str, told: str) -> None:
    result = ionbeam("source", "run", "ioncannon", "--start", start, "--end", end)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not Path("ionbeam-data").exists()


def test_a_wrong_block_of_a_source_is_a_misuse_and_names_the_key(ionbeam: Any) -> None:
    Path("config.yaml").write_text("sources:\n  ioncannon:\n    late_share: 3\n")
    result = ionbeam("source", "backfill", "ioncannon", *DAY)
    assert result.exit_code == 2
    assert "sources.ioncannon.late_share (line 3)" in result.stderr


def test_more_is_logged_on_demand(ionbeam: Any) -> None:
    Path("config.yaml").write_text(FEW)
    assert ionbeam("source", "run", "ioncannon", *DAY).stderr == ""
    other = ("--data-dir", "other", "--verbose", "--json")
    result = ionbeam("source", "run", "ioncannon", *DAY, *other)
    events = {json.loads(line)["event"] for line in result.stderr.splitlines()}
    assert {"span fetched", "ingestion settled", "window revised"} <= events
    assert json.loads(result.stdout)["windows"]["built"] == 24
