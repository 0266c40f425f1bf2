"""Every Python block of the client's documents runs as it is written, one after the other.

Only what they leave to the reader is supplied here, and RabbitMQ is a broker of this process.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from ionbeam.brokers.memory import MemoryBroker
from ionbeam.messages.codec import decode, encode
from ionbeam.messages.topology import DATASET_AVAILABLE, INGESTION_QUEUE, Exchange, Queue, source_queue
from ionbeam.ports import Handler, Subscription
from ionbeam.stores.local import LocalBatchStore
from ionbeam.testing.broker_contract import Recorder
from ionbeam_client.models import (
    DataSetAvailableEvent,
    DatasetMetadata,
    IngestDataCommand,
    StartSourceCommand,
)
from ionbeam_client.transfer import LocalFileSystemStore

CHECKOUT = Path(__file__).parents[2]
OURS = CHECKOUT / "packages/ionbeam-client/README.md"
CONTRACT = CHECKOUT / "../shared/seeds/ionbeam-client.md"

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 1, 2, tzinfo=UTC)

Story = Callable[[MemoryBroker], Awaitable[None]]


class Platform(MemoryBroker):
    """Broker and ingestion in one, ready as soon as a client has declared what it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = Recorder()
        self.followed = asyncio.Event()

    async def declare(self, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> None:
        await super().declare(exchanges, queues)
        await super().consume(INGESTION_QUEUE, self.commands)

    async def consume(self, queue: str, handler: Handler, *, prefetch: int = 1) -> Subscription:
        self.followed.set()
        return await super().consume(queue, handler, prefetch=prefetch)

    async def close(self) -> None:
        await self.idle()
        await super().close()


class Reader:
    """Somebody who types the blocks in one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **supplied: object) -> None:
        self.commands: list[IngestDataCommand] = []
        self._names: dict[str, object] = {"asyncio": asyncio, "datetime": datetime, **supplied}
        self._run = asyncio.run
        self._story: Story | None = None
        self._platform = Platform()
        monkeypatch.setattr("ionbeam.brokers.rabbit.RabbitBroker", lambda url, timeout: self._platform)
        monkeypatch.setattr(asyncio, "run", lambda program: self._run(self._alongside(program)))

    def types(self, block: str, story: Story | None = None) -> None:
        """Run a block; a program that would go on for ever is stopped when the story is over."""
        self._story = story
        self._platform = Platform()
        exec(compile(block, "block", "exec"), self._names)
        self.commands += [decode(IngestDataCommand, d.body) for d in self._platform.commands.seen]

    async def _alongside(self, program: Coroutine[Any, Any, object]) -> object:
        async with asyncio.timeout(20):
            if self._story is None:
                return await program
            task = asyncio.create_task(program)
            await self._platform.followed.wait()
            await self._story(self._platform)
            await self._platform.idle()
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError)
            return None


def blocks(document: Path) -> list[str]:
    if not document.exists():
        pytest.skip(f"{document.name} does not lie beside this checkout")
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def trigger(source: str) -> Story:
    async def story(broker: MemoryBroker) -> None:
        command = StartSourceCommand(id=uuid4(), source_name=source, start_time=START, end_time=END)
        await broker.publish("", source_queue(source).name, encode(command), message_id=str(command.id))

    return story


def window(dataset: str, folder: Path) -> Story:
    async def story(broker: MemoryBroker) -> None:
        await LocalFileSystemStore(folder).write_record_batches("window", [pa.table({"n": [1, 2]})])
        event = DataSetAvailableEvent(
            id=uuid4(),
            metadata=DatasetMetadata(name=dataset),
            dataset_location="window",
            start_time=START,
            end_time=END,
        )
        await broker.publish(DATASET_AVAILABLE, "", encode(event), message_id=str(event.id))

    return story


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_blocks_of_the_published_contract_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration, ingestion, scheduled, export, filtered = blocks(CONTRACT)
    written: list[tuple[int, str]] = []

    async def fetch_from_api(start_time: datetime, end_time: datetime) -> dict[str, list[object]]:
        return {
            "datetime": [start_time],
            "lat": [52.5],
            "lon": [13.4],
            "air_temperature__degC__2__point__PT0S": [21.0],
        }

    async def write_to_parquet(frame: Any, name: str) -> None:
        written.append((len(frame), name))

    reader = Reader(
        monkeypatch,
        fetch_from_api=fetch_from_api,
        write_to_parquet=write_to_parquet,
        write_to_database=write_to_parquet,
    )
    store = LocalBatchStore(tmp_path / "data/raw")
    reader.types(configuration)
    reader.types(ingestion)
    reader.types(scheduled, trigger("my_source"))
    first, second = reader.commands
    for command in (first, second):
        assert (command.start_time, command.end_time) == (START, END)
        with store.open(command.payload_location) as file:
            assert file.read(4) == b"PAR1"
    reader.types(export, window("example_weather", tmp_path / "data/raw"))
    assert written == [(2, "example_weather")]
    # The last block continues the one before, whose client is closed again.
    reader.types(filtered)


def test_the_blocks_of_our_own_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration, mapping, ingestion, synchronous, asked, follow, testing = blocks(OURS)
    written: list[tuple[str, datetime, int]] = []

    async def read_my_stations(start_time: datetime, end_time: datetime) -> pa.Table:
        return pa.table({"time": [start_time], "lat": [1.0], "lon": [2.0], "T": [3.0]})

    async def write_somewhere(name: str, start: datetime, batch: pa.RecordBatch) -> None:
        written.append((name, start, batch.num_rows))

    reader = Reader(monkeypatch, read_my_stations=read_my_stations, write_somewhere=write_somewhere)
    for block in (configuration, mapping, ingestion, synchronous):
        reader.types(block)
    reader.types(asked, trigger("roof_stations"))
    assert [command.start_time for command in reader.commands] == [START, END, START]
    reader.types(follow, window("roof_stations", tmp_path / "shared-data"))
    assert written == [("roof_stations", START, 2)]
    reader.types(testing)
