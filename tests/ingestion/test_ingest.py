import io
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ionbeam.errors import Busy, InvalidInput, PayloadInvalid, PayloadMissing, StoreUnavailable
from ionbeam.ingestion import ingest
from ionbeam.ingestion.ingest import Ingestion
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.messages.topology import DATA_AVAILABLE
from ionbeam.observations.columns import TIME
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.merging import merge
from ionbeam.observations.timespan import TimeSpan, parse_time
from ionbeam.records import Chunk, IngestionRecord, IngestionStatus, Tally
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import ParquetObservationStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import HUMIDITY, TEMPERATURE, a_dataset, a_row, minutes

HOUR = ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z")
TWO_HOURS = ("2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z")
AT_FIVE = "2024-01-01T10:05:00Z"

Rows = Sequence[dict[str, Any]]


class Recorder:
    """A broker of which only the publishing end is of interest."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bytes, str]] = []

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        self.told.append((exchange, key, body, message_id))


@dataclass
class Site:
    """An ingestion over stores in a folder."""

    folder: Path
    state: SqliteStateStore
    objects: LocalBatchStore
    observations: ParquetObservationStore
    broker: Recorder
    clock: VirtualClock
    tried: int = field(default=0)

    @property
    def ingestion(self) -> Ingestion:
        return Ingestion(self.state, self.objects, self.observations, self.broker, self.clock)

    async def command(
        self,
        number: int,
        rows: Rows | pa.Table,
        span: tuple[str, str] = HOUR,
        metadata: IngestionMetadata | None = None,
        row_group: int = 100_000,
    ) -> IngestDataCommand:
        """Put a payload and order its ingestion."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=row_group)
        location = f"raw/{number}.parquet"
        await self.objects.put(location, sink.getvalue(), overwrite=True)
        start, end = map(parse_time, span)
        return IngestDataCommand(
            id=UUID(int=number),
            metadata=metadata or a_dataset(),
            payload_location=location,
            start_time=start,
            end_time=end,
        )

    async def ingest(self, number: int, rows: Rows | pa.Table, *args: Any, **options: Any) -> IngestionRecord:
        """Ingest rows; what became of them."""
        command = await self.command(number, rows, *args, **options)
        await self.ingestion.handle(command)
        return await self.record(number)

    async def record(self, number: int) -> IngestionRecord:
        record = await self.state.ingestions.get(UUID(int=number))
        assert record is not None
        return record

    async def stored(self, *numbers: int) -> list[tuple[Chunk, pa.Table]]:
        """The chunks of some ingestions with their rows."""
        chunks = [chunk for n in numbers for chunk in await self.state.ingestions.chunks(UUID(int=n))]
        return [(chunk, table) async for chunk, table in self.observations.read(chunks, EVER)]

    async def keys(self) -> list[str]:
        found = []
        for prefix in ("observations/", "quarantine/"):
            found += [entry.key async for entry in self.objects.list(prefix)]
        return found


EVER = TimeSpan(parse_time("1600-01-01T00:00:00Z"), parse_time("2300-01-01T00:00:00Z"))


def open_site(folder: Path) -> Site:
    clock = VirtualClock(parse_time("2024-01-03T00:00:00Z"))
    objects = LocalBatchStore(folder / "objects")
    state = SqliteStateStore(folder / "state", clock)
    return Site(folder, state, objects, ParquetObservationStore(objects), Recorder(), clock)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = open_site(tmp_path)
    yield site
    await site.state.close()


async def test_a_payload_becomes_one_chunk_per_hour(site: Site):
    record = await site.ingest(1, minutes(*TWO_HOURS), TWO_HOURS)
    assert (record.status, record.tally) == ("settled", Tally(120, 120))
    stored = await site.stored(1)
    assert [(chunk.hour.hour, chunk.rows, chunk.part) for chunk, _ in stored] == [(10, 60, 0), (11, 60, 0)]
    for chunk, table in stored:
        assert chunk.sequence == record.sequence
        assert chunk.first == chunk.hour
        assert chunk.last == chunk.hour + timedelta(minutes=59)
        assert merge(table, ["station_id"]).table == table


async def test_the_event_is_told_and_the_command_closed(site: Site):
    await site.ingest(1, minutes(*HOUR))
    [(exchange, key, body, message_id)] = site.broker.told
    event = decode(DataAvailableEvent, body)
    assert (exchange, key, message_id) == (DATA_AVAILABLE, "", str(UUID(int=1)))
    assert (event.id, event.span) == (UUID(int=1), TimeSpan(*map(parse_time, HOUR)))
    assert [entry.kind for entry in await site.state.log.open_entries()] == ["DataAvailableEvent"]


async def test_the_dataset_is_registered_with_its_repaired_map(site: Site):
    metadata = a_dataset()
    variables = metadata.ingestion_map.canonical_variables
    variables[0] = variables[0].model_copy(update={"cf_unit": "Celsius"})
    await site.ingest(1, minutes(*HOUR), metadata=metadata)
    record = await site.state.datasets.get("story")
    assert record is not None
    registered = record.metadata.ingestion_map.canonical_variables[0].canonical_name()
    [(_, table)] = await site.stored(1)
    assert registered in table.schema.names


async def test_a_payload_is_found_with_and_without_its_suffix(site: Site):
    command = await site.command(1, minutes(*HOUR))
    await site.ingestion.handle(command.model_copy(update={"payload_location": "raw/1"}))
    assert (await site.record(1)).tally.stored == 60


async def test_a_command_that_comes_again_only_tells_its_event_again(site: Site):
    command = await site.command(1, [*minutes(*HOUR), a_row("never")])
    await site.ingestion.handle(command)
    before, keys = await site.record(1), await site.keys()
    await site.ingestion.handle(command)
    assert await site.record(1) == before
    assert await site.keys() == keys
    assert len(site.broker.told) == 2
    assert len(set(site.broker.told)) == 1


async def test_an_honest_empty_payload_is_an_answer(site: Site):
    record = await site.ingest(1, pa.Table.from_pylist([a_row(AT_FIVE)]).slice(0, 0))
    assert (record.status, record.tally) == ("settled", Tally())
    assert await site.keys() == []
    assert len(site.broker.told) == 1


async def test_rows_of_one_observation_are_folded(site: Site):
    rows = [a_row(AT_FIVE, T=1.0), a_row(AT_FIVE, T=None, RH=70.0), a_row(AT_FIVE, T=2.0)]
    record = await site.ingest(1, rows)
    assert record.tally == Tally(3, stored=1, duplicate=2)
    [(_, table)] = await site.stored(1)
    assert (table[TEMPERATURE].to_pylist(), table[HUMIDITY].to_pylist()) == ([2.0], [70.0])


async def test_refused_rows_lie_in_quarantine_with_their_raw_columns(site: Site):
    rows = [a_row(AT_FIVE, extra=1), a_row(AT_FIVE, lat=95.0, extra=2), a_row("never", extra=3)]
    record = await site.ingest(1, rows)
    assert record.tally == Tally(3, stored=1, rejected=2)
    [entry] = await site.state.quarantine.list()
    assert (entry.rows, entry.reasons) == (2, {"impossible_position": 1, "bad_time": 1})
    assert (entry.dataset, entry.ingestion_id, entry.at) == ("story", record.id, site.clock.now())
    with site.objects.open(entry.location) as file:
        kept = pq.read_table(file).to_pylist()
    assert [(row["_row"], row["_reason"], row["_column"], row["_value"]) for row in kept] == [
        (1, "impossible_position", "lat", "95"),
        (2, "bad_time", "time", "never"),
    ]
    assert [row["extra"] for row in kept] == [2, 3]


async def test_a_payload_of_nothing_but_rejects_is_settled(site: Site):
    record = await site.ingest(1, [a_row("never"), a_row("ever")])
    assert (record.status, record.tally) == ("settled", Tally(2, rejected=2))
    assert await site.stored(1) == []


async def test_rows_outside_the_claimed_span_are_kept(site: Site):
    far = ["1700-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2199-12-31T23:59:59Z"]
    record = await site.ingest(1, [a_row(time) for time in [*far, AT_FIVE]])
    assert record.tally == Tally(4, 4)
    assert [chunk.first.year for chunk, _ in await site.stored(1)] == [1700, 1969, 2024, 2199]


async def test_what_looks_wrong_is_remarked(site: Site):
    metadata = a_dataset()
    variables = metadata.ingestion_map.canonical_variables
    variables[1] = variables[1].model_copy(update={"cf_unit": "1"})
    record = await site.ingest(1, [a_row(AT_FIVE, RH=70.0)], metadata=metadata)
    assert [warning for warning in record.warnings if "'RH'" in warning and "percent" in warning]


@pytest.mark.parametrize("size", [1, 7, 60, 500])
@pytest.mark.parametrize("row_group", [1, 9, 1000])
async def test_how_a_payload_is_cut_decides_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, size: int, row_group: int
):
    monkeypatch.setattr(ingest, "PIECE_ROWS", size)
    rows = [*minutes(*TWO_HOURS)[45:75], a_row("never"), *minutes(*HOUR)[:15], a_row(AT_FIVE, lat=99.0)]
    record = await site.ingest(1, rows, row_group=row_group)
    assert record.tally == Tally(47, stored=45, rejected=2)
    tables = [table for _, table in await site.stored(1)]
    at_once = open_site(site.folder / "at once")
    monkeypatch.undo()
    await at_once.ingest(1, rows)
    expected = pa.concat_tables([table for _, table in await at_once.stored(1)])
    await at_once.state.close()
    assert merge(pa.concat_tables(tables), ["station_id"]).table == expected
    refused = []
    for entry in await site.state.quarantine.list():
        with site.objects.open(entry.location) as file:
            refused += pq.read_table(file)["_row"].to_pylist()
    assert sorted(refused) == [30, 46]


async def test_pieces_are_parts_of_their_hour(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ingest, "PIECE_ROWS", 25)
    await site.ingest(1, minutes(*HOUR))
    assert [(chunk.part, chunk.rows) for chunk, _ in await site.stored(1)] == [(0, 25), (1, 25), (2, 10)]


# Rows that are known already


async def test_what_is_known_is_not_stored_again(site: Site):
    await site.ingest(1, minutes(*HOUR))
    record = await site.ingest(2, minutes(*HOUR))
    assert record.tally == Tally(60, duplicate=60)
    assert await site.stored(2) == []


async def test_only_what_is_new_is_stored(site: Site):
    await site.ingest(1, minutes(*HOUR))
    rows = minutes(*HOUR)
    rows[3] |= {"T": -5.0}
    rows[7] |= {"RH": 70.0}
    rows[9] |= {"T": None, "RH": None, "lat": 51.0}
    rows[11] |= {"T": None, "RH": 80.0}
    rows[13] |= {"T": float("nan"), "RH": None, "lat": None, "lon": None}
    record = await site.ingest(2, [*rows, a_row(AT_FIVE, "B")])
    assert record.tally == Tally(61, stored=4, duplicate=55, rejected=2)
    [(chunk, table)] = await site.stored(2)
    assert table[TIME].cast(pa.int64()).to_pylist() == sorted(table[TIME].cast(pa.int64()).to_pylist())
    assert [row[TIME].minute for row in table.to_pylist()] == [3, 5, 7, 11]
    assert (chunk.first.minute, chunk.last.minute, chunk.rows) == (3, 11, 4)


async def test_an_older_value_that_comes_back_is_news(site: Site):
    for number, value in enumerate((1.0, 2.0, 1.0), start=1):
        record = await site.ingest(number, [a_row(AT_FIVE, T=value)])
        assert record.tally.stored == 1


async def test_a_value_may_go_back_within_one_payload(site: Site, monkeypatch: pytest.MonkeyPatch):
    """What the first piece says comes after what was known, and before what the second one says."""
    await site.ingest(1, [a_row(AT_FIVE, T=1.0)])
    monkeypatch.setattr(ingest, "PIECE_ROWS", 1)
    await site.ingest(2, [a_row(AT_FIVE, T=2.0), a_row(AT_FIVE, T=1.0), a_row(AT_FIVE, T=1.0)])
    tables = [table for _, table in await site.stored(1, 2)]
    assert merge(pa.concat_tables(tables), ["station_id"]).table[TEMPERATURE].to_pylist() == [1.0]
    assert (await site.record(2)).tally == Tally(3, stored=2, duplicate=1)


async def test_nothing_is_known_while_an_earlier_ingestion_is_pending(site: Site):
    await site.ingest(1, minutes(*HOUR))
    await site.state.log.append(await site.command(2, minutes(*HOUR)))
    record = await site.ingest(3, minutes(*HOUR))
    assert record.tally == Tally(60, 60)


async def test_more_known_rows_than_fit_are_left_to_the_window(site: Site, monkeypatch: pytest.MonkeyPatch):
    await site.ingest(1, minutes(*HOUR))
    monkeypatch.setattr(ingest, "KNOWN_ROWS_LIMIT", 59)
    assert (await site.ingest(2, minutes(*HOUR))).tally == Tally(60, 60)
    short = await site.ingest(3, minutes(*HOUR)[:1])
    assert short.tally == Tally(1, 1)


@pytest.mark.parametrize(
    "changed",
    [
        a_dataset(metadata=("station_id", "sensor"), version=2),
        a_dataset(metadata=("station_id", "T_qc"), version=2),
        a_dataset(identity=["lat", "lon"], version=2),
        a_dataset(version=2),
    ],
    ids=["new identity column", "new flag", "other identity", "new version"],
)
async def test_under_another_map_nothing_is_known(site: Site, changed: IngestionMetadata):
    """What a window looks like follows from all its maps, so none of them may go missing."""
    await site.ingest(1, minutes(*HOUR))
    assert (await site.ingest(2, minutes(*HOUR), metadata=changed)).tally == Tally(60, 60)
    assert (await site.ingest(3, minutes(*HOUR), metadata=changed)).tally == Tally(60, 60)
    next_hour = ("2024-01-01T11:00:00Z", "2024-01-01T12:00:00Z")
    for number, tally in ((4, Tally(60, 60)), (5, Tally(60, duplicate=60))):
        assert (await site.ingest(number, minutes(*next_hour), next_hour, changed)).tally == tally


@pytest.mark.parametrize("dtype", ["string", "int64", "bool", "float32"])
async def test_a_changed_type_is_no_reason_to_fail(site: Site, dtype: str):
    await site.ingest(1, [a_row(AT_FIVE, T=1.5), a_row("2024-01-01T10:06:00Z", T=1.0)])
    changed = a_dataset(version=2)
    variables = changed.ingestion_map.canonical_variables
    variables[0] = variables[0].model_copy(update={"dtype": dtype})
    record = await site.ingest(
        2, [a_row(AT_FIVE, T=1.0), a_row("2024-01-01T10:06:00Z", T=1.0)], metadata=changed
    )
    assert (record.status, record.tally) == ("settled", Tally(2, 2))
    original = await site.ingest(3, [a_row(AT_FIVE, T=1.5)])
    assert original.tally == Tally(1, 1)


# What can never work


async def refused(site: Site, command: IngestDataCommand, error: type[InvalidInput], match: str) -> None:
    """The command raises, is recorded as refused, and its payload stands in quarantine."""
    for _ in range(2):
        with pytest.raises(InvalidInput, match=match):
            await site.ingestion.handle(command)
    record = await site.record(command.id.int)
    assert record.status is IngestionStatus.REFUSED
    [entry] = await site.state.quarantine.list()
    assert (entry.rows, entry.location) == (0, command.payload_location)
    assert list(entry.reasons) == [record.reason]
    assert await site.state.log.open_entries() == []
    assert await site.state.ingestions.chunks(command.id) == []
    assert all(line.closes for line in await site.state.ingestions.books())
    assert site.broker.told == []
    assert issubclass(error, InvalidInput)


async def test_a_missing_payload_is_refused(site: Site):
    command = await site.command(1, minutes(*HOUR))
    await site.objects.delete([command.payload_location])
    await refused(site, command, PayloadMissing, "no payload 'raw/1.parquet'")


async def test_a_payload_that_is_no_parquet_is_refused(site: Site):
    command = await site.command(1, minutes(*HOUR))
    await site.objects.put(command.payload_location, b"PAR1 it is not", overwrite=True)
    await refused(site, command, PayloadInvalid, "not readable Parquet")


async def test_a_payload_without_its_axes_is_refused(site: Site):
    await refused(site, await site.command(1, pa.table({"T": [1.0]})), PayloadInvalid, "time, lat, lon")


async def test_a_map_that_cannot_work_is_refused(site: Site):
    metadata = a_dataset(identity=["nowhere"])
    await refused(site, await site.command(1, minutes(*HOUR), metadata=metadata), InvalidInput, "nowhere")
    assert await site.state.datasets.list() == []


async def test_a_column_that_cannot_be_meant_is_refused(site: Site):
    rows = [row | {"time": 1_704_103_200} for row in minutes(*HOUR)]
    await refused(site, await site.command(1, rows), PayloadInvalid, "does not tell its unit")
    assert (await site.record(1)).tally == Tally(60, rejected=60)


async def test_a_payload_that_breaks_off_is_refused_as_a_whole(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ingest, "PIECE_ROWS", 20)
    command = await site.command(1, minutes(*HOUR), row_group=20)
    with site.objects.open(command.payload_location) as file:
        data = bytearray(file.read())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(2).column(0)
    start, size = group.dictionary_page_offset, group.total_compressed_size
    data[start : start + size] = b"\xff" * size
    await site.objects.put(command.payload_location, bytes(data), overwrite=True)
    await refused(site, command, PayloadInvalid, "cannot be read behind row 40")
    assert (await site.record(1)).tally == Tally(60, rejected=60)


# Interruptions


async def test_an_ingestion_in_other_hands_is_left_alone(site: Site):
    command = await site.command(1, minutes(*HOUR))
    other = SqliteStateStore(site.folder / "state", site.clock)
    await other.ingestions.accept(command, 60)
    claim = await other.ingestions.claim(command.id)
    assert claim is not None
    with pytest.raises(Busy):
        await site.ingestion.handle(command)
    assert (await site.record(1)).status is IngestionStatus.ACCEPTED
    assert await site.keys() == []
    await other.ingestions.release(claim)
    await other.close()
    await site.ingestion.handle(command)
    assert (await site.record(1)).tally.stored == 60


async def test_a_failed_ingestion_is_free_at_once(site: Site, monkeypatch: pytest.MonkeyPatch):
    command = await site.command(1, minutes(*HOUR))

    async def fail(*_: object) -> Chunk:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(site.observations, "write", fail)
        with pytest.raises(StoreUnavailable):
            await site.ingestion.handle(command)
    assert (await site.state.ingestions.books())[0].pending == 60
    await site.ingestion.handle(command)
    assert (await site.record(1)).tally == Tally(60, 60)


async def test_a_killed_ingestion_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, life: Any
):
    monkeypatch.setattr(ingest, "PIECE_ROWS", 40)

    async def lived(folder: Path, last: int | None) -> tuple[Any, list[str]]:
        """What is there after a life that may end early, and another one that does not."""
        one = life(last)
        site = open_site(folder)
        await site.ingest(1, minutes(*HOUR))
        rows = [*minutes(*TWO_HOURS), *minutes(*HOUR)[:3], a_row("never"), a_row(AT_FIVE, lat=99.0)]
        command = await site.command(2, rows, TWO_HOURS)
        mortal = Ingestion(
            one.of(site.state),
            one.of(site.objects),
            one.of(site.observations),
            one.of(site.broker),
            site.clock,
        )
        try:
            await mortal.handle(command)
        except life.Killed:
            await site.state.close()
            site = open_site(folder)
            await site.ingestion.handle(command)
        found = (
            await site.record(2),
            [chunk for chunk, _ in await site.stored(2)],
            [table for _, table in await site.stored(2)],
            await site.keys(),
            await site.state.quarantine.list(),
            await site.state.ingestions.books(),
            [(entry.kind, entry.id) async for entry in site.state.log.read()],
            site.broker.told[-1],
        )
        await site.state.close()
        return found, one.calls

    undisturbed, calls = await lived(tmp_path / "undisturbed", None)
    assert undisturbed[0].tally == Tally(125, stored=60, duplicate=63, rejected=2)
    assert len(calls) > 12
    for number, call in enumerate(calls):
        found, _ = await lived(tmp_path / str(number), number)
        assert found == undisturbed, f"killed before {call}"


LARGE = """
import asyncio, resource, sys
from pathlib import Path
from uuid import UUID
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from ionbeam.ingestion.ingest import Ingestion
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.observations.timespan import parse_time
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import ParquetObservationStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import a_dataset

class Silence:
    async def publish(self, *_, message_id): pass

async def main(folder, groups, size):
    objects = LocalBatchStore(folder / "objects")
    rng = np.random.default_rng(1)
    stations = pa.array([f"station-{i % 1000}" for i in range(size)])
    with pq.ParquetWriter(folder / "payload", pa.schema([
        ("time", pa.timestamp("ns", "UTC")), ("lat", pa.float64()), ("lon", pa.float64()),
        ("T", pa.float64()), ("RH", pa.float64()), ("station_id", pa.string())])) as writer:
        for group in range(groups):
            first = 1704103200 * 10**9 + group * size * 10**6
            writer.write_table(pa.table([
                pa.array(first + np.arange(size) * 10**6).cast(pa.timestamp("ns", "UTC")),
                pa.array(rng.uniform(-90, 90, size)), pa.array(rng.uniform(-180, 180, size)),
                pa.array(rng.uniform(0, 30, size)), pa.array(rng.uniform(0, 100, size)), stations],
                schema=writer.schema))
    await objects.put("raw/large.parquet", folder / "payload")
    clock = VirtualClock(parse_time("2024-01-03T00:00:00Z"))
    state = SqliteStateStore(folder / "state", clock)
    ingestion = Ingestion(state, objects, ParquetObservationStore(objects), Silence(), clock)
    await ingestion.handle(IngestDataCommand(
        id=UUID(int=1), metadata=a_dataset(), payload_location="raw/large.parquet",
        start_time=parse_time("2024-01-01T10:00:00Z"), end_time=parse_time("2024-01-01T11:00:00Z")))
    record = await state.ingestions.get(UUID(int=1))
    await state.close()
    print(record.tally.stored, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), 100_000))
"""


def test_a_long_payload_needs_no_more_memory_than_a_few_pieces(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path), "30"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    stored, peak_mib = map(int, run.stdout.splitlines()[-1].split())
    assert stored == 3_000_000
    assert peak_mib < 700
