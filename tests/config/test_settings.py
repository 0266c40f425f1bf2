from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from ionbeam.config import ScheduledSource, Settings


def test_defaults_run_everything_in_one_process_and_one_folder():
    settings = Settings()
    assert settings.data_dir == Path("ionbeam-data")
    assert settings.observation_store == "parquet"
    assert settings.broker.url is None
    assert settings.redis.redis_url is None
    assert settings.influxdb_common.influxdb_url is None
    assert settings.scheduler.enabled
    assert settings.scheduler.windows == ()


@pytest.mark.parametrize("url", ["localhost:5672", "http://localhost", "amqp://", ""])
def test_a_broker_url_of_another_kind_is_refused_with_what_is_needed(url: str):
    with pytest.raises(ValidationError, match="starts with amqp:// or amqps://"):
        Settings.model_validate({"broker": {"url": url}})


@pytest.mark.parametrize("text", ["PT5M", "PT05M", "00:05:00", 300])
def test_durations_are_read_padded_or_not(text: object):
    schedule = ScheduledSource.model_validate(
        {"source_name": "ioncannon", "window_size": text, "trigger_interval": text}
    )
    assert schedule.window_size == schedule.trigger_interval == timedelta(minutes=5)
    assert schedule.window_lag == timedelta(0)


@pytest.mark.parametrize(
    "wrong",
    [{"window_size": "PT0S"}, {"trigger_interval": "-PT1H"}, {"window_lag": "-PT1S"}, {"source_name": ""}],
)
def test_a_schedule_that_could_never_run_is_refused(wrong: dict[str, str]):
    fine = {"source_name": "ioncannon", "window_size": "PT1H", "trigger_interval": "PT1H"}
    with pytest.raises(ValidationError):
        ScheduledSource.model_validate(fine | wrong)


@pytest.mark.parametrize("level", ["info", "INFO", "Info"])
def test_log_levels_are_read_in_any_case(level: str):
    assert Settings.model_validate({"logging": {"level": level}}).logging.level == "INFO"


def test_the_tree_does_not_change_under_its_readers():
    with pytest.raises(ValidationError):
        Settings().data_dir = Path("elsewhere")  # type: ignore[misc]


def test_secrets_do_not_show_in_a_representation():
    settings = Settings.model_validate(
        {
            "broker": {"url": "amqp://me:hush@host/"},
            "redis": {"redis_url": "redis://:hush@host"},
            "influxdb_common": {"influxdb_url": "http://me:hush@host", "influxdb_token": "hush"},
            "sources": {"netatmo": {"password": "hush"}},
        }
    )
    assert "hush" not in repr(settings)
