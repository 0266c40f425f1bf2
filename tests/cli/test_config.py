import json
from pathlib import Path
from typing import Any

import pytest
import yaml


def test_without_a_file_the_defaults_are_valid(ionbeam: Any) -> None:
    result = ionbeam("config", "check")
    assert (result.exit_code, result.stdout) == (0, "no file, defaults only: valid, no warnings\n")


def test_every_warning_is_printed_and_none_is_a_failure(ionbeam: Any, as_json: Any) -> None:
    Path("config.yaml").write_text(
        "databroker: {}\nsources: {ioncannon: {num_statoins: 3}}\n"
        "scheduler: {windows: [{source_name: netatmo, window_size: PT1H, trigger_interval: PT1H}]}\n"
    )
    result = ionbeam("config", "check")
    assert result.exit_code == 0
    *warnings, last = result.stdout.splitlines()
    assert last == "config.yaml: valid, 3 warnings"
    form = as_json("config", "check")
    assert warnings == [f"warning: {warning}" for warning in form["warnings"]]
    told = "\n".join(warnings)
    assert "databroker (line 1) is not a key" in told
    assert "num_statoins (line 2) is not a key Ionbeam knows; did you mean 'num_stations'?" in told
    assert "netatmo is never asked" in told
    assert form["valid"] is True
    assert Path(form["file"]).name == "config.yaml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dataset_aggregator:\n  concurrency: 0\n", "dataset_aggregator.concurrency (line 2) is 0"),
        ("sources:\n  ioncannon:\n    late_share: 2\n", "sources.ioncannon.late_share (line 3) is 2"),
        (
            "scheduler: {windows: [{source_name: ioncanon, window_size: PT1H, trigger_interval: PT1H}]}\n",
            "scheduler.windows[0].source_name: there is no source 'ioncanon'; did you mean 'ioncannon'?",
        ),
        ("broker: {url: '${NOT_SET_ANYWHERE}'}\n", "NOT_SET_ANYWHERE"),
    ],
)
def test_a_wrong_value_is_a_misuse_and_names_the_key(ionbeam: Any, text: str, told: str) -> None:
    Path("config.yaml").write_text(text)
    for command in (["config", "check"], ["window", "rebuild", "x", "2024-01-01T00"]):
        if "sources" in text and command[0] == "window":
            continue  # a source's own block matters to those who use the source
        result = ionbeam(*command)
        assert result.exit_code == 2
        assert told in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("logging: {level: loud}\n", "logging.level (line 1) is 'loud': "),
        ("sources:\n  ioncannon:\n    late_share: 2\n", "sources.ioncannon.late_share (line 3) is 2: "),
        ("scheduler:\n- 1\n", "scheduler (line 1) is [1]: "),
    ],
)
def test_what_is_wrong_can_be_read_by_a_program(ionbeam: Any, text: str, told: str) -> None:
    Path("config.yaml").write_text(text)
    result = ionbeam("config", "check", "--json")
    assert result.exit_code == 2
    form = json.loads(result.stdout)
    (error,) = form.pop("errors")
    assert error.startswith(told)
    assert result.stderr == f"Error: {error}\n"
    assert form == {"file": "config.yaml", "valid": False, "warnings": []}


def test_a_file_that_is_not_there_is_a_misuse(ionbeam: Any) -> None:
    result = ionbeam("config", "check", "-c", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml cannot be read" in result.stderr


def test_the_settings_in_force_are_shown_without_secrets(ionbeam: Any, as_json: Any) -> None:
    Path("config.yaml").write_text(
        "broker: {url: 'amqp://guest:hush@localhost/'}\nioncannon: {num_stations: 7}\n"
        "influxdb_common: {influxdb_token: hush}\n"
    )
    result = ionbeam("config", "show", "--data-dir", "there")
    assert "hush" not in result.stdout
    form = yaml.safe_load(result.stdout)
    assert form["data_dir"] == "there"
    assert form["broker"]["url"] == "amqp://***@localhost/"
    assert form["sources"]["ioncannon"]["num_stations"] == 7
    assert form["sources"]["ioncannon"]["measurement_frequency"] == "PT10M"
    assert form["sources"]["sensor_community"]["concurrency"] == 10
    assert as_json("config", "show", "--data-dir", "there") == form


def test_warnings_reach_standard_error_once_when_something_runs(ionbeam: Any) -> None:
    Path("config.yaml").write_text("redis: {redis_url: 'redis://localhost'}\n")
    result = ionbeam("books", "--json")
    remarks = [line for line in result.stderr.splitlines() if line.startswith("{")]
    assert len(remarks) == 1
    assert "redis (line 1) has no effect" in json.loads(remarks[0])["remark"]


def test_logs_go_where_the_file_says(ionbeam: Any) -> None:
    Path("config.yaml").write_text("logging: {log_dir: logs, level: ERROR}\nfleet: 1\n")
    assert ionbeam("source", "list").stderr == ""
    assert Path("logs/ionbeam.log").read_text() == ""
