import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ionbeam.cli.demo import QUERY

Demo = tuple[Path, dict[str, Any], str]


def test_a_late_hour_revises_its_window(demo_made: Demo) -> None:
    _, form, _ = demo_made
    assert form["windows"] == 24
    assert 0 < form["revised"] < 24
    assert form["revisions"] == form["new_revisions"] == 24 + form["revised"]
    assert form["waiting"] == {"incomplete_coverage": 1}


def test_the_books_close_and_every_kind_of_row_occurs(demo_made: Demo) -> None:
    rows = demo_made[1]["rows"]
    assert demo_made[1]["books_close"] is True
    assert rows["received"] == rows["stored"] + rows["duplicate"] + rows["rejected"]
    assert min(rows.values()) > 0


def test_it_says_where_the_files_lie(demo_made: Demo) -> None:
    folder, form, _ = demo_made
    assert Path(form["files"]) == folder / "datasets"
    assert len(list(Path(form["files"]).glob("ioncannon_*.parquet"))) == 24
    (dataset,) = form["datasets"]
    assert (dataset["dataset"], dataset["windows"], dataset["rows"]) == ("ioncannon", 24, 80 * 12 * 24)


def test_it_takes_less_than_half_a_minute(demo_made: Demo) -> None:
    assert demo_made[1]["seconds"] < 30


def test_the_query_works_when_it_is_pasted(demo_made: Demo) -> None:
    pytest.importorskip("duckdb")
    query = demo_made[1]["query"]
    assert shlex.split(query)[:2] == [sys.executable, "-c"]
    done = subprocess.run(query, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "288 rows" in done.stdout
    assert "temperature_degC" in done.stdout


def test_without_the_library_the_query_is_for_the_duckdb_command(
    demo_made: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ionbeam.cli import demo

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    files = Path("it's here")
    assert shlex.split(demo._query(files)) == [
        "duckdb",
        "-c",
        QUERY.format(files=f"{files}/ioncannon_*.parquet"),
    ]


def test_a_second_run_finds_nothing_new_and_says_so(demo_made: Demo) -> None:
    _, form, second = demo_made
    assert "nothing new, so no new revision" in second
    assert "window built" not in second
    assert f"24 built, {form['revised']} of them revised" in second
    assert f"{form['rows']['received']} received" in second


def test_the_viewer_sees_windows_built_and_revised(
    ionbeam: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONBEAM_CONFIG_PATH", "not there, and not asked for")
    result = ionbeam("demo")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    revised = next(i for i, line in enumerate(lines) if "REVISED: r2, +" in line)
    hour = lines[revised][:5]
    built = next(i for i, line in enumerate(lines) if line.startswith(f"{hour}  window built"))
    assert built < revised
    assert (tmp_path / "ionbeam-data/demo/datasets").is_dir()
    assert "--data-dir ionbeam-data/demo" in result.stdout
    assert "\x1b" not in result.stdout


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ionbeam", "demo", "--json", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    form = json.loads(done.stdout)
    keys = {"datasets", "windows", "revisions", "rows", "books_close", "files", "query", "seconds"}
    assert keys <= set(form)
    assert done.stderr == ""
