import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def entries(as_json: Any, demo_folder: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = as_json("quarantine", "list", "--data-dir", demo_folder)
    return listed


def test_what_was_refused_is_listed_with_its_reasons(
    entries: list[dict[str, Any]], as_json: Any, demo_folder: Path
) -> None:
    books = as_json("books", "--data-dir", demo_folder)
    assert sum(entry["rows"] for entry in entries) == books["totals"]["rejected"]
    assert all(sum(entry["reasons"].values()) == entry["rows"] for entry in entries)
    assert {reason for entry in entries for reason in entry["reasons"]} == {"bad_time", "impossible_position"}
    assert {entry["status"] for entry in entries} == {"open"}


def test_the_list_is_a_table_for_people(
    ionbeam: Any, demo_folder: Path, entries: list[dict[str, Any]]
) -> None:
    header, first, *_ = ionbeam("quarantine", "list", "ion", "--data-dir", demo_folder).stdout.splitlines()
    assert header.split() == ["id", "dataset", "rows", "reasons", "status", "at"]
    assert first.startswith(entries[0]["id"])


def test_an_entry_shows_its_rows_as_they_came(
    as_json: Any, ionbeam: Any, demo_folder: Path, entries: list[dict[str, Any]]
) -> None:
    entry = max(entries, key=lambda entry: entry["rows"])
    form = as_json("quarantine", "show", entry["id"][:13], "--limit", 2, "--data-dir", demo_folder)
    assert form["id"] == entry["id"]
    assert len(form["refused"]) == 2
    row = form["refused"][0]
    assert list(row) == ["reason", "column", "value", "row", "values"]
    assert row["reason"] in entry["reasons"]
    assert row["values"]["station_id"].startswith("SYNTH_")
    printed = ionbeam("quarantine", "show", entry["id"], "--data-dir", demo_folder).stdout
    assert f"first {entry['rows']} of {entry['rows']} rows" in printed


def test_columns_of_the_payload_do_not_hide_what_is_wrong(
    as_json: Any, ionbeam: Any, demo_copy: Path, entries: list[dict[str, Any]]
) -> None:
    path = demo_copy / entries[0]["location"]
    table = pq.read_table(path)
    pq.write_table(table.append_column("reason", pa.array(["rain"] * table.num_rows)), path)
    shown = ("quarantine", "show", entries[0]["id"], "--data-dir", demo_copy)
    row = as_json(*shown)["refused"][0]
    assert row["reason"] in entries[0]["reasons"]
    assert row["values"]["reason"] == "rain"
    printed = ionbeam(*shown).stdout
    assert "values.reason" in printed
    assert row["reason"] in printed.split("rows\n")[-1]


def test_what_is_still_wrong_comes_back_as_a_new_entry(
    as_json: Any, demo_copy: Path, entries: list[dict[str, Any]]
) -> None:
    one = entries[0]
    form = as_json("quarantine", "replay", one["id"][:8], "--data-dir", demo_copy)
    assert form["entries"] == 1
    assert form["rows"] == {"received": one["rows"], "stored": 0, "duplicate": 0, "rejected": one["rows"]}
    after = as_json("quarantine", "list", "--data-dir", demo_copy)
    assert {entry["id"]: entry["status"] for entry in after}[one["id"]] == "replayed"
    assert len(after) == len(entries) + 1


def test_all_means_those_that_were_not_replayed(
    as_json: Any, ionbeam: Any, demo_copy: Path, entries: list[dict[str, Any]]
) -> None:
    as_json("quarantine", "replay", entries[0]["id"], "--data-dir", demo_copy)
    assert as_json("quarantine", "replay", "--all", "--data-dir", demo_copy)["entries"] == len(entries)
    books = ionbeam("books", "--data-dir", demo_copy)
    assert books.exit_code == 0


def test_a_person_gets_a_summary(ionbeam: Any, demo_copy: Path, entries: list[dict[str, Any]]) -> None:
    result = ionbeam("quarantine", "replay", entries[0]["id"], "--data-dir", demo_copy)
    assert f"{entries[0]['rows']} received = 0 stored" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["abc", "--all"]])
def test_either_one_or_all(ionbeam: Any, arguments: list[str]) -> None:
    result = ionbeam("quarantine", "replay", *arguments)
    assert result.exit_code == 2
    assert result.stderr == "Error: give either the ID of one entry or --all\n"


def test_an_unknown_entry_is_a_misuse(ionbeam: Any, demo_folder: Path) -> None:
    result = ionbeam("quarantine", "show", "zzz", "--data-dir", demo_folder)
    assert result.exit_code == 2
    assert "there is no quarantine entry 'zzz'" in result.stderr


def test_a_replay_that_cannot_be_ingested_fails(
    ionbeam: Any, demo_copy: Path, entries: list[dict[str, Any]]
) -> None:
    (demo_copy / entries[0]["location"]).unlink()
    result = ionbeam("quarantine", "replay", entries[0]["id"], "--data-dir", demo_copy, "--json")
    assert result.exit_code == 1
    assert "there is no object quarantine/" in result.stderr
    assert result.stdout == "" or json.loads(result.stdout)
