import os
from collections.abc import Iterator

import pytest

from ionbeam.testing.rabbitmq import rabbitmq_installed, running_rabbitmq


@pytest.fixture(scope="session")
def rabbit_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not rabbitmq_installed():
        reason = "RabbitMQ is not installed here; apt-get install rabbitmq-server"
        if os.environ.get("IONBEAM_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url
