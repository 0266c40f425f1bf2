"""Exchange and queue names, pinned: they are contracts with senders and readers outside."""

import pytest

from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.messages.topology import (
    EXCHANGES,
    QUEUES,
    ExchangeKind,
    projection_queue,
    sanitised,
    source_queue,
)


def test_the_exchanges_are_the_published_ones() -> None:
    assert {(e.name, e.kind, e.message) for e in EXCHANGES} == {
        ("ionbeam.ingestion", ExchangeKind.DIRECT, IngestDataCommand),
        ("ionbeam.data.available", ExchangeKind.FANOUT, DataAvailableEvent),
        ("ionbeam.dataset.available", ExchangeKind.FANOUT, DataSetAvailableEvent),
    }
    assert (ExchangeKind.DIRECT, ExchangeKind.FANOUT) == ("direct", "fanout")


def test_the_queues_are_the_published_ones() -> None:
    assert {(q.name, q.exchange, q.routing_key, q.message) for q in QUEUES} == {
        ("ionbeam.ingestion.ingestV1", "ionbeam.ingestion", "ingestV1", IngestDataCommand),
        ("ionbeam.data.available.aggregation", "ionbeam.data.available", "", DataAvailableEvent),
    }


@pytest.mark.parametrize(
    "source", ["netatmo", "ioncannon", "sensor_community", "meteotracker", "sensor.community"]
)
def test_a_source_is_started_through_the_queue_of_its_name(source: str) -> None:
    queue = source_queue(source)
    assert queue.name == f"ionbeam.source.{source}.start"
    assert (queue.exchange, queue.routing_key, queue.message) == ("", "", StartSourceCommand)


@pytest.mark.parametrize("projection", ["pygeoapi", "odb", "my_exporter"])
def test_a_projection_reads_the_queue_of_its_name(projection: str) -> None:
    queue = projection_queue(projection)
    assert queue.name == f"ionbeam.dataset.available.{projection}"
    assert (queue.exchange, queue.routing_key, queue.message) == (
        "ionbeam.dataset.available",
        "",
        DataSetAvailableEvent,
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("netatmo", "netatmo"),
        ("sensor.community", "sensor.community"),
        (" my source ", "my_source"),
        ("a / b", "a_b"),
        ("Žďár", "_r"),
        ("", "unknown"),
        ("   ", "unknown"),
        ("a#*b", "a_b"),
    ],
)
def test_a_name_is_made_safe_for_a_queue(name: str, written: str) -> None:
    assert sanitised(name) == written
    assert source_queue(name).name == f"ionbeam.source.{written}.start"


def test_names_are_unique_and_every_row_says_who_and_what_for() -> None:
    names = [row.name for row in (*EXCHANGES, *QUEUES)]
    assert len(names) == len(set(names))
    assert all(row.publisher and row.purpose for row in (*EXCHANGES, *QUEUES))
    assert all(queue.subscriber for queue in QUEUES)
    assert {queue.exchange for queue in QUEUES} <= {exchange.name for exchange in EXCHANGES}
