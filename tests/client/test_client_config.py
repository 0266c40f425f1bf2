from pathlib import Path

import pytest
from pydantic import ValidationError

from ionbeam_client import IonbeamClientConfig


def test_the_published_defaults() -> None:
    config = IonbeamClientConfig()
    assert config.amqp_url == "amqp://guest:guest@localhost:5672/"
    assert (config.connection_timeout, config.max_retries, config.retry_delay) == (30, 3, 1.0)
    assert config.write_batch_size == 65536


def test_keys_of_other_versions_are_ignored() -> None:
    config = IonbeamClientConfig(arrow_store_path="./data/raw/", routing_key="ingestV1", colour="red")  # type: ignore
    assert config.arrow_store_path == Path("data/raw")


def test_a_store_it_does_not_have_is_refused_instead_of_ignored() -> None:
    with pytest.raises(ValidationError, match="local_filesystem"):
        IonbeamClientConfig(arrow_store_type="s3")  # type: ignore[arg-type]


def test_the_password_is_not_in_what_is_printed() -> None:
    assert "topsecret" not in repr(IonbeamClientConfig(amqp_url="amqp://me:topsecret@broker/"))
