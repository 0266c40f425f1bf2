import json

import pytest

from ionbeam.config import Settings, shown
from ionbeam.config.secrets import MASK, masked


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "influxdb_token",
        "client_secret",
        "api_key",
        "apikey",
        "refresh_token",
        "Authorization",
        "Cookie",
    ],
)
def test_what_is_under_a_secret_key_is_masked(key: str):
    assert masked({key: "hush"}) == {key: MASK}


@pytest.mark.parametrize("key", ["token_endpoint", "username", "keywords", "influxdb_bucket", "passwordless"])
def test_what_only_sounds_secret_stays(key: str):
    assert masked({key: "open"}) == {key: "open"}


@pytest.mark.parametrize("absent", [None, ""])
def test_a_secret_that_is_not_given_is_seen_to_be_missing(absent: str | None):
    assert masked({"password": absent}) == {"password": absent}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://me:hush@host:5672/", f"amqp://{MASK}@host:5672/"),
        ("redis://:hush@host", f"redis://{MASK}@host"),
        ("amqp://me:hu/sh@host/", f"amqp://{MASK}@host/"),
        ("https://host/x?token=hush&n=1", f"https://host/x?token={MASK}&n=1"),
        ("https://host/x?api_key=hush", f"https://host/x?api_key={MASK}"),
        ("http://host:80/path", "http://host:80/path"),
    ],
)
def test_urls_lose_what_they_carry_besides_the_address(url: str, expected: str):
    assert masked(url, "base_url") == expected


def test_nothing_secret_is_left_anywhere_in_what_is_shown():
    settings = Settings.model_validate(
        {
            "broker": {"url": "amqp://me:hush@host/"},
            "redis": {"redis_url": "redis://:hush@host"},
            "influxdb_common": {"influxdb_token": "hush"},
            "sources": {
                "netatmo": {
                    "password": "hush",
                    "headers": {"Authorization": "hush"},
                    "tokens": [{"token": "hush"}],
                }
            },
        }
    )
    text = json.dumps(shown(settings))
    assert "hush" not in text
    assert "amqp://***@host/" in text
    assert '"headers"' in text
