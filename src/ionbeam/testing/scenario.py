"""A whole platform for one story: stores in a folder, a virtual clock, and short ways to tell it things.

The stories in ``tests/scenarios`` are written against this class only, so they run on whatever
platform it is given.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from ionbeam.brokers.memory import MemoryBroker
from ionbeam.config import Loaded, load
from ionbeam.ingestion.payload import write_payload
from ionbeam.messages.codec import decode, encode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.messages.topology import EXCHANGES, INGESTION_EXCHANGE, INGESTION_KEY, projection_queue
from ionbeam.observations.columns import raw_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, parse_duration, parse_time
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)
from ionbeam.ports import Delivery, Outcome, Verdict
from ionbeam.records import WindowState
from ionbeam.testing.clock import VirtualClock
from ionbeam.wiring import Platform, open_state

TEMPERATURE = "air_temperature__degC__2.0__point__PT0S"
HUMIDITY = "relative_humidity__%__2.0__point__PT0S"


def a_dataset(
    name: str = "story",
    *,
    span: str = "PT1H",
    lateness: str = "PT0S",
    metadata: Sequence[str] = ("station_id",),
    identity: list[str] | None = None,
    version: int = 1,
) -> IngestionMetadata:
    """A dataset of temperature and humidity; raw columns are time, lat, lon, T, RH and ``metadata``."""
    return IngestionMetadata(
        dataset=DatasetMetadata(
            name=name,
            aggregation_span=parse_duration(span),
            subject_to_change_window=parse_duration(lateness),
        ),
        ingestion_map=DataIngestionMap(
            datetime=TimeAxis(from_col="time"),
            lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
            lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
            canonical_variables=[
                CanonicalVariable(column="T", standard_name="air_temperature", cf_unit="degC", level=2),
                CanonicalVariable(column="RH", standard_name="relative_humidity", cf_unit="%", level=2),
            ],
            metadata_variables=[MetadataVariable(column=column) for column in metadata],
            identity=identity,
        ),
        version=version,
    )


def a_row(time: str, station: str | None = "A", **values: Any) -> dict[str, Any]:
    """One raw row at a position of its own station; ``T`` is 10 unless given."""
    return {"time": time, "lat": 50.0, "lon": 7.0, "T": 10.0, "RH": None, "station_id": station} | values


def minutes(start: str, end: str, station: str = "A", step: str = "PT1M") -> list[dict[str, Any]]:
    """One row per ``step`` from ``start`` (inclusive) to ``end``; T counts the minute of the day."""
    rows, time = [], parse_time(start)
    while time < parse_time(end):
        rows.append(a_row(time.isoformat(), station, T=float(time.hour * 60 + time.minute)))
        time += parse_duration(step)
    return rows


class Scenario:
    """Tell the platform what arrives; look at what it made of it."""

    def __init__(self, platform: Platform, clock: VirtualClock) -> None:
        self.platform = platform
        self.clock = clock
        self.events: list[DataSetAvailableEvent] = []
        """What projections were told, in order."""

    @property
    def state(self) -> Any:
        """The platform's state store."""
        return self.platform.stores.state

    async def listen(self) -> None:
        """Collect what projections are told."""
        queue = projection_queue("story")
        await self.platform.broker.declare([], [queue])

        async def handle(delivery: Delivery) -> Outcome:
            self.events.append(decode(DataSetAvailableEvent, delivery.body))
            return Outcome(Verdict.ACK)

        await self.platform.broker.consume(queue.name, handler=handle)

    async def ingest(
        self,
        rows: Sequence[Mapping[str, Any]] | pa.Table,
        start: str,
        end: str,
        dataset: IngestionMetadata | None = None,
        *,
        ingestion_id: UUID | None = None,
        settle: bool = True,
    ) -> IngestDataCommand:
        """Bring raw rows that claim to be all there is in ``[start, end)``."""
        metadata = dataset or a_dataset()
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
        span = TimeSpan(parse_time(start), parse_time(end))
        schema = None if table.num_columns else raw_schema(metadata.ingestion_map)
        objects = self.platform.stores.objects
        payload = await write_payload(objects, metadata.dataset.name, span, [table], schema)
        command = IngestDataCommand(
            id=ingestion_id or uuid4(),
            metadata=metadata,
            payload_location=payload.location,
            start_time=span.start,
            end_time=span.end,
        )
        await self.tell(command)
        if settle:
            await self.settle()
        return command

    async def tell(self, command: IngestDataCommand) -> None:
        """Publish an ingest command."""
        await self.platform.broker.publish(
            INGESTION_EXCHANGE, INGESTION_KEY, encode(command), message_id=str(command.id)
        )

    async def settle(self) -> None:
        """Wait until nothing is under way and nothing is due."""
        await self.platform.drain()
        await self.platform.drain()

    async def advance(self, by: str) -> None:
        """Let time pass, then settle."""
        await self.clock.advance(parse_duration(by))
        await self.settle()

    async def windows(self, dataset: str = "story") -> list[WindowState]:
        """The windows of a dataset."""
        found: list[WindowState] = await self.state.windows.windows(dataset)
        return found

    async def built(self, dataset: str = "story") -> dict[str, int]:
        """Start of every built window (ISO, without zone) → its rows."""
        return {
            w.key.start.replace(tzinfo=None).isoformat(): w.revision.rows
            for w in await self.windows(dataset)
            if w.revision is not None
        }

    def path(self, window: WindowState) -> Path:
        """A window's current file."""
        return self.platform.stores.datasets_root / f"{window.key.file_stem}.parquet"

    async def table(self, start: str | None = None, dataset: str = "story") -> pa.Table:
        """The current content of the window that starts at ``start``, or of the only one."""
        windows = [w for w in await self.windows(dataset) if w.revision is not None]
        if start is not None:
            windows = [w for w in windows if w.key.start == parse_time(start)]
        assert len(windows) == 1, f"{len(windows)} windows, expected one"
        return pq.read_table(self.path(windows[0]))

    async def files(self, dataset: str = "story") -> dict[str, bytes]:
        """File name → bytes of every built window."""
        return {
            self.path(w).name: self.path(w).read_bytes()
            for w in await self.windows(dataset)
            if w.revision is not None
        }


@asynccontextmanager
async def a_platform(
    folder: Path, now: str = "2024-01-03T00:00:00Z", config: str = ""
) -> AsyncIterator[Scenario]:
    """A started embedded platform over ``folder``; opening the same folder again is a restart."""
    clock = VirtualClock(parse_time(now))
    loaded = _loaded(folder, config)
    async with open_state(loaded, clock) as stores:
        platform = Platform(loaded, stores, MemoryBroker(), clock)
        scenario = Scenario(platform, clock)
        try:
            await platform.broker.declare(EXCHANGES, [])
            await scenario.listen()
            await platform.start()
            yield scenario
        finally:
            await platform.close()


def _loaded(folder: Path, config: str) -> Loaded:
    path = folder / "config.yaml"
    path.write_text(config)
    return load(path, folder)
