import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ionbeam.errors import BrokerUnavailable, ObjectMissing
from ionbeam.ingestion.collect import start_command
from ionbeam.messages.codec import encode
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.messages.topology import DATA_AVAILABLE, INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.dataset import DatasetMetadata
from ionbeam.records import LogEntry
from ionbeam.scheduling.reconcile import Reconciler
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.state_store_contract.examples import NOW, a_command, at, event_of, span

MINUTE = timedelta(minutes=1)
REVISED = DataSetAvailableEvent(
    id=a_command(9).id,
    metadata=DatasetMetadata(name="story"),
    dataset_location="datasets/x.parquet",
    start_time=at(10),
    end_time=at(11),
)


class Site:
    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(NOW)
        self.state = SqliteStateStore(folder, self.clock)
        self.told: list[tuple[str, str, bytes, str]] = []
        self.announced: list[DataSetAvailableEvent] = []
        self.is_up = True
        broker: Any = self
        self.reconciler = Reconciler(self.state, broker, self.clock, self.announce)

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if not self.is_up:
            raise BrokerUnavailable
        self.told.append((exchange, key, body, message_id))

    async def announce(self, event: DataSetAvailableEvent) -> None:
        self.announced.append(event)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.state.close()


async def test_with_nothing_open_nothing_is_told(site: Site):
    await site.state.log.append(a_command(1))
    await site.state.log.close(a_command(1))
    assert await site.reconciler.reconcile() == Counter()
    assert site.told == []


async def test_every_open_message_goes_where_it_was_meant_to_go(site: Site):
    start, ingest = start_command("feed", span(10, 11)), a_command(1)
    for message in (start, ingest, event_of(ingest), REVISED):
        await site.state.log.append(message)
    told = await site.reconciler.reconcile()
    assert site.told == [
        ("", "ionbeam.source.feed.start", encode(start), str(start.id)),
        (INGESTION_EXCHANGE, INGESTION_KEY, encode(ingest), str(ingest.id)),
        (DATA_AVAILABLE, "", encode(event_of(ingest)), str(ingest.id)),
    ]
    assert site.announced == [REVISED]
    assert told == Counter(
        StartSourceCommand=1, IngestDataCommand=1, DataAvailableEvent=1, DataSetAvailableEvent=1
    )


async def test_messages_are_told_in_the_order_of_the_log(site: Site):
    for number in (3, 1, 2):
        await site.state.log.append(a_command(number))
    await site.reconciler.reconcile()
    assert [message_id[-1] for _, _, _, message_id in site.told] == ["3", "1", "2"]


async def test_telling_closes_nothing(site: Site):
    """Only the consumer knows when it is done."""
    await site.state.log.append(a_command(1))
    for _ in range(2):
        assert await site.reconciler.reconcile() == Counter(IngestDataCommand=1)
    assert len(await site.state.log.open_entries()) == 1


async def test_what_is_young_may_still_be_on_its_way(site: Site):
    await site.state.log.append(a_command(1))
    await site.clock.advance(4 * MINUTE)
    await site.state.log.append(a_command(2))
    await site.clock.advance(MINUTE)
    assert await site.reconciler.reconcile(older_than=5 * MINUTE) == Counter(IngestDataCommand=1)
    assert [message_id[-1] for _, _, _, message_id in site.told] == ["1"]


async def test_a_broker_that_is_away_leaves_everything_open(site: Site):
    await site.state.log.append(a_command(1))
    site.is_up = False
    assert await site.reconciler.reconcile() == Counter()
    site.is_up = True
    assert await site.reconciler.reconcile() == Counter(IngestDataCommand=1)


async def test_a_message_that_cannot_be_told_keeps_no_other_back(site: Site):
    """The source may be gone for good, or the file of a revision."""

    async def fail_for_sources(exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if "source" in key:
            raise BrokerUnavailable(f"the queue {key} is not declared")
        site.told.append((exchange, key, body, message_id))

    async def fail(event: DataSetAvailableEvent) -> None:
        raise ObjectMissing(event.dataset_location)

    site.publish = fail_for_sources  # type: ignore[method-assign]
    broker: Any = site
    for message in (start_command("gone", span(10, 11)), REVISED, a_command(1)):
        await site.state.log.append(message)
    reconciler = Reconciler(site.state, broker, site.clock, fail)
    assert await reconciler.reconcile() == Counter(IngestDataCommand=1)
    assert len(site.told) == 1
    assert len(await site.state.log.open_entries()) == 3


async def test_what_stays_open_is_told_again_after_pauses_that_double(site: Site):
    """Entries come from memory here: virtual time does not wait for a database's thread."""
    entry = await site.state.log.append(a_command(1))

    class Log:
        async def open_entries(self) -> list[LogEntry]:
            return [entry]

    class State:
        log = Log()

    state: Any = State()
    broker: Any = site
    task = asyncio.create_task(Reconciler(state, broker, site.clock, site.announce).run(5 * MINUTE))
    await site.clock.advance(5 * MINUTE - timedelta(microseconds=1))
    assert site.told == []
    await site.clock.advance(timedelta(microseconds=1))
    assert len(site.told) == 1
    await site.clock.advance(10 * MINUTE)
    assert len(site.told) == 2
    await site.clock.advance(20 * MINUTE)
    assert len(site.told) == 3
    task.cancel()
    await asyncio.wait({task})
