import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ionbeam.brokers.memory import MemoryBroker
from ionbeam.messages.codec import decode, encode
from ionbeam.messages.topology import DATASET_AVAILABLE, INGESTION_QUEUE, Exchange, Queue, source_queue
from ionbeam.ports import BatchStore, Delivery, Outcome, Verdict
from ionbeam.testing.broker_contract import Recorder
from ionbeam.testing.scenario import TEMPERATURE, a_platform, a_row
from ionbeam_client import IonbeamClient, IonbeamClientConfig, ingest, ingest_sync
from ionbeam_client.errors import BrokerUnavailable, ConfigInvalid, IonbeamError, NaiveDatetime
from ionbeam_client.models import (
    DataSetAvailableEvent,
    DatasetMetadata,
    IngestDataCommand,
    IngestionMetadata,
    StartSourceCommand,
)
from ionbeam_client.transfer import ObjectArrowStore

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 1, 2, tzinfo=UTC)


def batch(**columns: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"time": [START], "lat": [52.5], "lon": [13.4], "T": [20.0]} | columns)


async def stream(*batches: pa.RecordBatch) -> AsyncIterator[pa.RecordBatch]:
    for one in batches:
        yield one


@pytest.fixture
async def commands(broker: MemoryBroker) -> Recorder:
    """What arrives at ingestion."""
    recorder = Recorder()
    async with IonbeamClient(broker=broker):
        await broker.consume(INGESTION_QUEUE, recorder)
    return recorder


def event(dataset: str, location: str) -> DataSetAvailableEvent:
    return DataSetAvailableEvent(
        id=uuid4(),
        metadata=DatasetMetadata(name=dataset),
        dataset_location=location,
        start_time=START,
        end_time=END,
    )


async def announce(broker: MemoryBroker, message: DataSetAvailableEvent) -> None:
    await broker.publish(DATASET_AVAILABLE, "", encode(message), message_id=str(message.id))


async def start_source(broker: MemoryBroker, name: str) -> None:
    command = StartSourceCommand(id=uuid4(), source_name=name, start_time=START, end_time=END)
    await broker.publish("", source_queue(name).name, encode(command), message_id=str(command.id))


class TestIngest:
    async def test_stores_the_payload_and_sends_the_command(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        async with IonbeamClient(config, broker=broker, store=store) as client:
            sent = await client.ingest(stream(batch()), metadata, START, END)
        (body,) = await commands.bodies(1)
        assert decode(IngestDataCommand, body) == sent
        assert commands.seen[0].message_id == str(sent.id)
        assert (sent.metadata, sent.start_time, sent.end_time) == (metadata, START, END)
        with store.open(sent.payload_location) as file:
            assert pq.read_table(file).to_pylist() == [
                {"time": START, "lat": 52.5, "lon": 13.4, "T": 20.0, "station_id": None}
            ]

    async def test_casts_columns_in_any_order_and_drops_the_others(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
    ) -> None:
        odd = pa.RecordBatch.from_pydict(
            {"note": ["x"], "T": ["20"], "lon": [13], "time": [START], "lat": [52]}
        )
        async with IonbeamClient(config, broker=broker, store=store) as client:
            sent = await client.ingest([odd], metadata, START, END)
        with store.open(sent.payload_location) as file:
            (row,) = pq.read_table(file).to_pylist()
        assert row == {"time": START, "lat": 52.0, "lon": 13.0, "T": 20.0, "station_id": None}

    async def test_the_given_id_is_the_command_id(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        ingestion_id = UUID(int=7)
        async with IonbeamClient(config, broker=broker, store=store) as client:
            one = await client.ingest([batch()], metadata, START, END, ingestion_id=ingestion_id)
            two = await client.ingest([batch()], metadata, START, END, ingestion_id=ingestion_id)
        assert one == two
        assert one.id == ingestion_id
        assert len(await commands.bodies(2)) == 2

    @pytest.mark.parametrize("batches", [[], [batch().slice(0, 0)]])
    async def test_an_empty_stream_is_refused_and_leaves_nothing(
        self,
        batches: list[pa.RecordBatch],
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        async with IonbeamClient(config, broker=broker, store=store) as client:
            with pytest.raises(ValueError, match="empty"):
                await client.ingest(stream(*batches), metadata, START, END)
            await client.ingest([batch()], metadata, START, END)
        await commands.bodies(1)
        assert len(commands.seen) == 1
        assert len([entry async for entry in store.list("raw/")]) == 1

    async def test_a_naive_datetime_is_refused(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
    ) -> None:
        async with IonbeamClient(config, broker=broker, store=store) as client:
            with pytest.raises(NaiveDatetime):
                await client.ingest([batch()], metadata, START.replace(tzinfo=None), END)

    async def test_needs_a_connection(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
    ) -> None:
        client = IonbeamClient(config, broker=broker, store=store)
        with pytest.raises(RuntimeError, match="not connected"):
            await client.ingest([batch()], metadata, START, END)
        async with client:
            await client.ingest([batch()], metadata, START, END)
        with pytest.raises(RuntimeError, match="not connected"):
            await client.ingest([batch()], metadata, START, END)

    async def test_payloads_lie_in_the_configured_folder_which_is_made_when_needed(
        self, tmp_path: Path, broker: MemoryBroker, metadata: IngestionMetadata
    ) -> None:
        root = tmp_path / "shared" / "raw"
        config = IonbeamClientConfig(amqp_url=None, arrow_store_path=root)
        async with IonbeamClient(config, broker=broker) as client:
            assert not root.exists()
            sent = await client.ingest([batch()], metadata, START, END)
        assert (root / sent.payload_location).is_file()


class FlakyBroker(MemoryBroker):
    """Refuses the first ``failures`` messages."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def publish(self, exchange: str, routing_key: str, body: bytes, *, message_id: str) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable
        await super().publish(exchange, routing_key, body, message_id=message_id)


class TestSending:
    async def test_is_repeated_while_the_broker_is_away(
        self, config: IonbeamClientConfig, store: BatchStore, metadata: IngestionMetadata
    ) -> None:
        broker, recorder = FlakyBroker(failures=2), Recorder()
        async with IonbeamClient(config, broker=broker, store=store) as client:
            sent = await client.ingest([batch()], metadata, START, END)
            await broker.consume(INGESTION_QUEUE, recorder)
            assert await recorder.bodies(1) == [encode(sent)]
        await broker.close()

    async def test_fails_after_the_configured_number_of_offers(
        self, config: IonbeamClientConfig, store: BatchStore, metadata: IngestionMetadata
    ) -> None:
        broker = FlakyBroker(failures=3)
        async with IonbeamClient(config, broker=broker, store=store) as client:
            with pytest.raises(BrokerUnavailable):
                await client.ingest([batch()], metadata, START, END)
        assert broker.failures == 0


class TestTriggers:
    async def test_a_handler_is_called_with_the_span_and_may_ingest(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        client = IonbeamClient(config, broker=broker, store=store)

        async def fetch(start_time: datetime, end_time: datetime) -> None:
            await client.ingest([batch()], metadata, start_time, end_time)

        client.register_trigger_handler("my source", fetch)
        async with client:
            await start_source(broker, "my source")
            command = decode(IngestDataCommand, (await commands.bodies(1))[0])
        assert (command.start_time, command.end_time) == (START, END)

    async def test_a_command_that_waited_is_handled_while_connecting(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        client = IonbeamClient(config, broker=broker, store=store)

        async def fetch(start_time: datetime, end_time: datetime) -> None:
            await client.ingest([batch()], metadata, start_time, end_time)

        client.register_trigger_handler("slow", fetch)
        await broker.declare([], [source_queue("slow")])
        await start_source(broker, "slow")
        async with client:
            await commands.bodies(1)
        assert await broker.dead_letters(source_queue("slow").name) == []

    async def test_a_handler_that_keeps_failing_leaves_a_dead_letter(
        self, config: IonbeamClientConfig, broker: MemoryBroker
    ) -> None:
        calls = 0

        async def failing(start_time: datetime, end_time: datetime) -> None:
            nonlocal calls
            calls += 1
            raise KeyError("station")

        client = IonbeamClient(config, broker=broker)
        client.register_trigger_handler("broken", failing)
        async with client:
            await start_source(broker, "broken")
            await asyncio.wait_for(broker.idle(), 5)
        (letter,) = await broker.dead_letters(source_queue("broken").name)
        assert calls == letter.attempts == 3
        assert "station" in letter.reason

    async def test_closing_waits_for_the_handler_in_hand(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
    ) -> None:
        began, go_on = asyncio.Event(), asyncio.Event()
        client = IonbeamClient(config, broker=broker, store=store)
        sent: list[IngestDataCommand] = []

        async def slow(start_time: datetime, end_time: datetime) -> None:
            began.set()
            await go_on.wait()
            sent.append(await client.ingest([batch()], metadata, start_time, end_time))

        client.register_trigger_handler("slow", slow)
        await client.connect()
        await start_source(broker, "slow")
        await asyncio.wait_for(began.wait(), 5)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(closing, 5)
        assert len(sent) == 1


class TestExports:
    async def test_a_handler_receives_event_and_rows(
        self, config: IonbeamClientConfig, broker: MemoryBroker, store: BatchStore
    ) -> None:
        table = pa.table({"n": list(range(10))})
        await ObjectArrowStore(store).write_record_batches("windows/w", [table])
        received: list[tuple[DataSetAvailableEvent, list[int]]] = []

        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
            received.append((told, [b.num_rows async for b in batches]))

        client = IonbeamClient(config, broker=broker, store=store)
        client.register_export_handler("mine", export, batch_size=4)
        client.register_export_handler(exporter_name="other", handler=export)
        message = event("weather", "windows/w.parquet")
        async with client:
            await announce(broker, message)
            await asyncio.wait_for(broker.idle(), 5)
        assert sorted(received, key=lambda pair: len(pair[1])) == [(message, [10]), (message, [4, 4, 2])]

    async def test_events_outside_the_filter_are_done_without_a_look_at_the_data(
        self, config: IonbeamClientConfig, broker: MemoryBroker, store: BatchStore
    ) -> None:
        await ObjectArrowStore(store).write_record_batches("wanted", [pa.table({"n": [1]})])
        names: list[str] = []

        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
            names.append(told.metadata.name)

        client = IonbeamClient(config, broker=broker, store=store)
        client.register_export_handler("mine", export, dataset_filter={"netatmo", "netatmo_mqtt"})
        async with client:
            await announce(broker, event("weather", "absent"))
            await announce(broker, event("netatmo", "wanted"))
            await asyncio.wait_for(broker.idle(), 5)
        assert names == ["netatmo"]
        assert await broker.dead_letters("ionbeam.dataset.available.mine") == []

    async def test_a_handler_may_stop_reading_early(
        self, config: IonbeamClientConfig, broker: MemoryBroker, store: BatchStore
    ) -> None:
        await ObjectArrowStore(store).write_record_batches("w", [pa.table({"n": list(range(10))})])
        first: list[int] = []

        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
            first.append((await anext(batches)).num_rows)

        client = IonbeamClient(config, broker=broker, store=store)
        client.register_export_handler("mine", export, batch_size=3)
        async with client:
            await announce(broker, event("weather", "w"))
            await asyncio.wait_for(broker.idle(), 5)
        assert first == [3]
        assert await broker.dead_letters("ionbeam.dataset.available.mine") == []

    @pytest.mark.parametrize("folder", ["elsewhere", "platform/published"])
    async def test_windows_are_read_wherever_the_platform_publishes_them(
        self, folder: str, config: IonbeamClientConfig, tmp_path: Path
    ) -> None:
        seen: list[tuple[str, list[float]]] = []

        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
            table = pa.Table.from_batches([batch async for batch in batches])
            seen.append((told.dataset_location, table.column(TEMPERATURE).to_pylist()))

        root = tmp_path / "platform"
        root.mkdir()
        published = tmp_path / folder
        settings = f"dataset_aggregator: {{data_path: {published}}}"
        async with a_platform(root, config=settings) as story:
            broker, store = story.platform.broker, story.platform.stores.objects
            client = IonbeamClient(config, broker=broker, store=store)
            client.register_export_handler("mine", export)
            async with client:
                rows = [a_row("2024-01-01T00:10:00Z", T=3.5)]
                await story.ingest(rows, "2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z")
        name = "story_20240101T000000_PT1H.parquet"
        location = str(published / name) if folder == "elsewhere" else f"published/{name}"
        assert seen == [(location, [3.5])]

    async def test_a_window_that_is_not_there_leaves_a_dead_letter(
        self, config: IonbeamClientConfig, broker: MemoryBroker, store: BatchStore
    ) -> None:
        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
            async for _ in batches:
                pytest.fail("there is nothing to read")

        client = IonbeamClient(config, broker=broker, store=store)
        client.register_export_handler("mine", export)
        async with client:
            await announce(broker, event("weather", "absent"))
            await asyncio.wait_for(broker.idle(), 5)
        (letter,) = await broker.dead_letters("ionbeam.dataset.available.mine")
        assert "absent.parquet" in letter.reason


class TestConnecting:
    async def test_handlers_are_registered_before(
        self, config: IonbeamClientConfig, broker: MemoryBroker
    ) -> None:
        async def trigger(start_time: datetime, end_time: datetime) -> None: ...

        async def export(told: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None: ...

        async with IonbeamClient(config, broker=broker) as client:
            with pytest.raises(RuntimeError, match="before connecting"):
                client.register_trigger_handler("late", trigger)
            with pytest.raises(RuntimeError, match="before connecting"):
                client.register_export_handler("late", export)

    async def test_a_source_has_one_handler(self, config: IonbeamClientConfig, broker: MemoryBroker) -> None:
        async def trigger(start_time: datetime, end_time: datetime) -> None: ...

        client = IonbeamClient(config, broker=broker)
        client.register_trigger_handler("mine", trigger)
        with pytest.raises(ValueError, match="source mine"):
            client.register_trigger_handler("mine", trigger)

    async def test_again_changes_nothing(self, config: IonbeamClientConfig, broker: MemoryBroker) -> None:
        calls: list[datetime] = []

        async def trigger(start_time: datetime, end_time: datetime) -> None:
            calls.append(start_time)

        client = IonbeamClient(config, broker=broker)
        client.register_trigger_handler("mine", trigger)
        async with client:
            await client.connect()
            await start_source(broker, "mine")
            await asyncio.wait_for(broker.idle(), 5)
        await client.close()
        assert calls == [START]

    async def test_a_given_broker_stays_open(self, config: IonbeamClientConfig, broker: MemoryBroker) -> None:
        async with IonbeamClient(config, broker=broker):
            pass
        await broker.declare([], [source_queue("still open")])

    async def test_without_url_and_broker_it_says_what_is_missing(self, config: IonbeamClientConfig) -> None:
        with pytest.raises(ConfigInvalid, match="amqp_url"):
            await IonbeamClient(config).connect()

    async def test_a_failed_connection_leaves_the_client_as_it_was(
        self, config: IonbeamClientConfig, store: BatchStore, metadata: IngestionMetadata
    ) -> None:
        class ClosedBroker(MemoryBroker):
            async def declare(self, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> None:
                raise BrokerUnavailable

        client = IonbeamClient(config, broker=ClosedBroker(), store=store)
        with pytest.raises(IonbeamError):
            await client.connect()
        with pytest.raises(RuntimeError, match="not connected"):
            await client.ingest([batch()], metadata, START, END)


class TestOnce:
    async def test_ingest_connects_for_one_call(
        self,
        config: IonbeamClientConfig,
        broker: MemoryBroker,
        store: BatchStore,
        metadata: IngestionMetadata,
        commands: Recorder,
    ) -> None:
        sent = await ingest(stream(batch()), metadata, START, END, config, broker=broker, store=store)
        assert await commands.bodies(1) == [encode(sent)]

    def test_ingest_sync_needs_no_event_loop(
        self, config: IonbeamClientConfig, store: BatchStore, metadata: IngestionMetadata
    ) -> None:
        broker, bodies = MemoryBroker(), list[bytes]()

        async def take(delivery: Delivery) -> Outcome:
            bodies.append(delivery.body)
            return Outcome(Verdict.ACK)

        async def drain() -> None:
            await broker.consume(INGESTION_QUEUE, take)
            await broker.idle()
            await broker.close()

        sent = ingest_sync([batch()], metadata, START, END, config, broker=broker, store=store)
        asyncio.run(drain())
        assert bodies == [encode(sent)]

    async def test_ingest_sync_inside_an_event_loop_names_the_other_call(
        self, config: IonbeamClientConfig, broker: MemoryBroker, metadata: IngestionMetadata
    ) -> None:
        with pytest.raises(RuntimeError, match="await ingest"):
            ingest_sync([batch()], metadata, START, END, config, broker=broker)


async def test_an_empty_answer_may_be_an_answer(tmp_path: Path, metadata: IngestionMetadata) -> None:
    """A quiet span is covered, where the caller says that it was quiet."""
    async with a_platform(tmp_path) as story:
        client = IonbeamClient(
            IonbeamClientConfig(), broker=story.platform.broker, store=story.platform.stores.objects
        )
        async with client:
            with pytest.raises(ValueError, match="empty"):
                await client.ingest(stream(), metadata, START, END)
            await client.ingest(stream(), metadata, START, END, allow_empty=True)
        await story.settle()
        (covered,) = await story.state.datasets.coverage(metadata.dataset.name)
    assert (covered.start, covered.end) == (START, END)


async def test_a_time_that_is_text_is_refused_by_name(tmp_path: Path, metadata: IngestionMetadata) -> None:
    broker = MemoryBroker()
    client = IonbeamClient(IonbeamClientConfig(arrow_store_path=str(tmp_path)), broker=broker)
    async with client:
        with pytest.raises(TypeError, match="start_time"):
            await client.ingest(stream(), metadata, "2024-01-01T00:00:00Z", END)  # type: ignore[arg-type]
