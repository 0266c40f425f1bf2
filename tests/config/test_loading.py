from pathlib import Path

import pytest
from pydantic import AliasChoices, BaseModel, Field

from ionbeam.config import Loaded, Settings, load
from ionbeam.errors import ConfigInvalid

PUBLISHED = """
broker:
  url: amqp://guest:guest@rabbitmq:5672/
redis:
  redis_url: redis://redis:6379
influxdb_common:
  influxdb_org: ionbeam-example
  influxdb_url: http://influxdb2:8086
  influxdb_token: your-token-here
  influxdb_bucket: ionbeam
dataset_aggregator:
  data_path: ./data
  delete_after_export: false
sources:
  scheduler:
    windows:
      - source_name: ioncannon
        window_size: "PT5M"
        trigger_interval: "PT5M"
      - source_name: meteotracker
        window_size: "PT1H"
        trigger_interval: "PT1H"
        window_lag: "PT1H"
ioncannon:
  data_path: ./data-raw
meteotracker:
  base_url: ''
  password: ''
sensor_community:
  base_url: ''
  timeout_seconds: 60
  concurrency: 5
  use_cache: false
projections:
  pygeoapi_service:
    input_path: ./data
    output_path: ./data-projections
    config_path: ./pygeoapi/local.config.yml
projections:
  odb_service:
    input_path: ./data
    output_path: ./data-projections
    variable_map:
      - varno: 39
        mapped_from:
          - standard_name: air_temperature
            level: 2.0
            method: point
            period: PT0S
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IONBEAM_CONFIG_PATH", raising=False)


def written(text: str, name: str = "ours.yaml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def from_text(text: str) -> Loaded:
    return load(written(text))


def refusal(text: str) -> str:
    with pytest.raises(ConfigInvalid) as raised:
        from_text(text)
    return str(raised.value)


def test_the_published_example_means_what_it_says():
    settings = from_text(PUBLISHED).settings
    assert settings.broker.url == "amqp://guest:guest@rabbitmq:5672/"
    assert settings.redis.redis_url == "redis://redis:6379"
    assert settings.influxdb_common.influxdb_org == "ionbeam-example"
    assert settings.dataset_aggregator.data_path == Path("data")
    assert [w.source_name for w in settings.scheduler.windows] == ["ioncannon", "meteotracker"]
    assert settings.scheduler.windows[1].window_lag.total_seconds() == 3600
    assert settings.sources["sensor_community"]["concurrency"] == 5
    assert settings.projections.odb_service is not None
    assert settings.projections.odb_service.variable_map[0].mapped_from[0].level == 2.0
    assert settings.projections.pygeoapi_service is not None


def test_the_published_example_has_no_unknown_key():
    assert not [w for w in from_text(PUBLISHED).warnings if "knows" in w]


def test_sources_may_be_nested_or_stand_at_the_top():
    nested = from_text("sources:\n  ioncannon:\n    seed: 3\n").settings
    flat = from_text("ioncannon:\n  seed: 3\n").settings
    assert nested.sources == flat.sources == {"ioncannon": {"seed": 3}}


def test_a_source_goes_by_its_dataset_s_name_too():
    assert from_text("sources:\n  sensor.community: {concurrency: 2}\n").settings.sources == {
        "sensor_community": {"concurrency": 2}
    }


def test_one_source_in_both_places_is_refused_with_both_lines():
    assert refusal("ioncannon:\n  seed: 1\nsources:\n  ioncannon:\n    seed: 2\n") == (
        "ioncannon (line 1) and sources.ioncannon (line 4) say the same; keep one"
    )


@pytest.mark.parametrize(
    ("text", "line"), [("scheduler:\n  windows: W\n", 2), ("sources:\n  scheduler:\n    windows: W\n", 3)]
)
def test_the_scheduler_is_read_from_either_place(text: str, line: int):
    fine = "[{source_name: x, window_size: PT1H, trigger_interval: PT5M}]"
    assert from_text(text.replace("W", fine)).settings.scheduler.windows[0].source_name == "x"
    faulty = text.replace("W", "[{source_name: x, window_size: PT1H}]")
    assert refusal(faulty) == f"scheduler.windows[0].trigger_interval (line {line}) is missing"


def test_two_schedulers_are_refused():
    assert "say the same" in refusal("scheduler: {windows: []}\nsources: {scheduler: {windows: []}}\n")


def test_the_argument_wins_over_the_environment_and_that_over_the_working_folder(
    monkeypatch: pytest.MonkeyPatch,
):
    assert load().origin is None
    here = written("data_dir: from-folder", "config.yaml")
    assert load().settings.data_dir == Path("from-folder")
    assert load().origin == here
    monkeypatch.setenv("IONBEAM_CONFIG_PATH", str(written("data_dir: from-variable", "other.yaml")))
    assert load().settings.data_dir == Path("from-variable")
    assert load(written("data_dir: from-argument")).settings.data_dir == Path("from-argument")


def test_without_any_file_defaults_apply():
    loaded = load()
    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_a_data_dir_given_by_hand_overrides_the_file():
    assert load(written("data_dir: a"), Path("b")).settings.data_dir == Path("b")


def test_a_file_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigInvalid, match=r"nowhere\.yaml cannot be read"):
        load(Path("nowhere.yaml"))
    monkeypatch.setenv("IONBEAM_CONFIG_PATH", "nowhere.yaml")
    with pytest.raises(ConfigInvalid, match=r"nowhere\.yaml cannot be read"):
        load()


def test_a_file_that_is_no_text_is_refused():
    Path("ours.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        load(Path("ours.yaml"))


def test_an_unknown_key_is_told_with_its_path_its_line_and_what_was_meant():
    assert from_text("dataset_aggregator:\n  polling_interval_seconds: 3\n").warnings == (
        "dataset_aggregator.polling_interval_seconds (line 2) is not a key Ionbeam knows; "
        "did you mean 'poll_interval_seconds'?",
    )


def test_unknown_keys_are_found_at_any_depth_and_in_lists():
    warnings = from_text(
        "brocker: {}\nscheduler:\n  windows:\n"
        "    - {source_name: ioncannon, window_size: PT1H, trigger_interval: PT1H, windowlag: PT1H}\n"
    ).warnings
    assert warnings[0].startswith("brocker (line 1)")
    assert "'broker'" in warnings[0]
    assert warnings[1].startswith("scheduler.windows[0].windowlag (line 4)")
    assert "'window_lag'" in warnings[1]


def test_a_key_like_no_other_gets_no_suggestion():
    assert from_text("zzzzzz: 1").warnings == ("zzzzzz (line 1) is not a key Ionbeam knows",)


@pytest.mark.parametrize(
    "text",
    [
        "dataset_aggregator:\n  page_size: 500\n",
        "dataset_coordinator:\n  queue_key: x\n",
        "redis:\n  redis_url: redis://host\n",
        "parquet_chunk_size: 1\n",
        "sources:\n  ioncannon:\n    data_path: ./x\n",
        "ioncannon:\n  data_path: ./x\n",
        "sources:\n  netatmo: {ingestion_queue: x}\n",
    ],
)
def test_an_accepted_key_that_does_nothing_is_told_once(text: str):
    notes = [w for w in from_text(text).warnings if "has no effect: " in w]
    assert len(notes) == 1
    assert "(line" in notes[0]


def test_a_source_this_version_lacks_is_told_apart_from_a_misspelt_one():
    assert from_text("netatmo: {username: me}").warnings == (
        "sources.netatmo (line 1) is not used: this version has no such source",
    )
    assert from_text("sources: {sensor_comunity: {}}").warnings == (
        "sources.sensor_comunity (line 1) is no source Ionbeam knows; did you mean 'sensor_community'?",
    )


def test_every_wrong_value_is_told_at_once_with_what_is_allowed():
    message = refusal(
        "observation_store: mongo\ndataset_aggregator:\n  concurrency: none\n  delete_after_export: perhaps\n"
        "logging:\n  level: loud\nscheduler:\n  windows:\n    - {source_name: x, window_size: soon}\n"
    )
    assert "observation_store (line 1) is 'mongo': Input should be 'parquet'" in message
    assert "dataset_aggregator.concurrency (line 3) is 'none'" in message
    assert "dataset_aggregator.delete_after_export (line 4) is 'perhaps'" in message
    assert "'DEBUG', 'INFO'" in message
    assert "window_size (line 9) is 'soon': 'soon' is not a duration such as PT1H or P1D" in message
    assert "trigger_interval (line 9) is missing" in message


@pytest.mark.parametrize(
    "text", ["broker: x", "sources: 3", "sources:\n  ioncannon: 3", "scheduler: {windows: 1}"]
)
def test_a_value_where_a_block_belongs_is_refused(text: str):
    assert "(line " in refusal(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("logging: {level: loud}", "logging.level (line 1) is 'loud': "),
        ("observation_store: 1:30", "observation_store (line 1) is 1:30: "),
        ("observation_store: 2024-06-01", "observation_store (line 1) is 2024-06-01: "),
        ("observation_store: off", "observation_store (line 1) is off: "),
        ("sources: {scheduler: {windows: [{source_name: on}]}}", "windows[0].source_name (line 1) is on: "),
    ],
)
def test_a_wrong_value_is_told_as_it_is_written(text: str, told: str):
    assert told in refusal(text)


def test_a_refused_secret_is_not_repeated():
    message = refusal("broker:\n  url: ftp://me:hush@host/\ninfluxdb_common:\n  influxdb_token: [hush]\n")
    assert "broker.url" in message
    assert "influxdb_common.influxdb_token" in message
    assert "hush" not in message


class Feed(BaseModel):
    timeout_seconds: int = 60
    size: int = Field(default=1, validation_alias=AliasChoices("size", "magnitude"))


def test_a_source_reads_its_own_block_and_tells_what_it_does_not_know():
    loaded = from_text(
        "sensor_community:\n  timeout_seconds: ${T:7}\n  timeout: 5\n  magnitude: 2\n  data_path: x\n"
    )
    settings, warnings = loaded.source("sensor_community", Feed)
    assert (settings.timeout_seconds, settings.size) == (7, 2)
    assert warnings == (
        "sources.sensor_community.timeout (line 3) is not a key Ionbeam knows; "
        "did you mean 'timeout_seconds'?",
    )


def test_a_source_without_a_block_has_its_defaults():
    assert load().source("ioncannon", Feed) == (Feed(), ())


def test_a_source_s_wrong_value_is_named_with_its_path_and_line():
    loaded = from_text("sources:\n  ioncannon:\n    timeout_seconds: soon\n")
    with pytest.raises(ConfigInvalid, match=r"sources\.ioncannon\.timeout_seconds \(line 3\) is 'soon'"):
        loaded.source("ioncannon", Feed)
