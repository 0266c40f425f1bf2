import pytest

from ionbeam.brokers.rabbit import RabbitBroker
from ionbeam.errors import BrokerUnavailable, ConfigInvalid
from ionbeam.testing.broker_contract import work_queue
from ionbeam.testing.rabbitmq import free_ports


async def test_an_absent_server_is_unavailable_and_the_password_stays_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (port,) = free_ports(1)
    broker = RabbitBroker(f"amqp://somebody:topsecret@127.0.0.1:{port}/", timeout=5)
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}") as caught:
        await broker.declare([], [work_queue()])
    assert "topsecret" not in str(caught.value) + caplog.text
    await broker.close()


@pytest.mark.parametrize("url", ["", "localhost:5672", "http://u:topsecret@host/", "amqp://u:topsecret@[/"])
def test_what_is_no_broker_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="amqp://") as caught:
        RabbitBroker(url)
    assert "topsecret" not in str(caught.value)


async def test_publishing_to_an_undeclared_exchange_needs_no_connection_to_be_refused() -> None:
    (port,) = free_ports(1)
    broker = RabbitBroker(f"amqp://127.0.0.1:{port}/")
    with pytest.raises(BrokerUnavailable, match="not declared"):
        await broker.publish("nowhere", "", b"", message_id="1")


async def test_a_closed_broker_says_so() -> None:
    broker = RabbitBroker("amqp://127.0.0.1:1/")
    await broker.close()
    await broker.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await broker.declare([], [])
