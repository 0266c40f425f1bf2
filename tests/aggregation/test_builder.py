import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.aggregation import builder as building
from ionbeam.aggregation.builder import KEPT_REVISIONS, MAX_ATTEMPTS, WindowBuilder, backoff, slices
from ionbeam.aggregation.coordinator import Coordinator
from ionbeam.aggregation.readiness import ReadinessPolicy
from ionbeam.errors import StoreUnavailable
from ionbeam.ingestion import ingest
from ionbeam.ingestion.ingest import Ingestion
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.messages.topology import DATASET_AVAILABLE
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import parse_duration, parse_time
from ionbeam.records import BuildOrder, Chunk, Decision, Revision, WindowKey, WindowState, WindowStatus
from ionbeam.scheduling.reconcile import Reconciler
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import ParquetObservationStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.scenario import HUMIDITY, TEMPERATURE, a_dataset, a_row, minutes

HOUR = ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z")
AT_FIVE = "2024-01-01T10:05:00Z"
STEM = "story_20240101T100000_PT1H"
KEY = WindowKey("story", parse_time(HOUR[0]), timedelta(hours=1))

Rows = Sequence[dict[str, Any]]


class Recorder:
    """A broker of which only the publishing end is of interest."""

    def __init__(self) -> None:
        self.told: list[DataSetAvailableEvent] = []
        self.is_up = True

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        if exchange != DATASET_AVAILABLE:
            return
        if not self.is_up:
            raise StoreUnavailable("no broker")
        event = decode(DataSetAvailableEvent, body)
        assert (key, message_id) == ("", str(event.id))
        self.told.append(event)


class Site:
    """Everything up to the builder, over a folder."""

    def __init__(self, folder: Path, *, deleting: bool = False, now: str = "2024-01-03T00:00:00Z") -> None:
        self.folder = folder
        self.clock = VirtualClock(parse_time(now))
        self.state: Any = SqliteStateStore(folder / "state", self.clock)
        self.objects: Any = LocalBatchStore(folder)
        self.datasets: Any = LocalBatchStore(folder / "datasets")
        self.observations: Any = ParquetObservationStore(self.objects)
        self.broker: Any = Recorder()
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.deleting = deleting
        self.number = 0

    @property
    def builder(self) -> WindowBuilder:
        return WindowBuilder(
            self.state,
            self.observations,
            self.datasets,
            [self.broker],
            self.clock,
            location_prefix="datasets/",
            scratch=self.scratch,
            delete_after_export=self.deleting,
        )

    async def arrive(
        self, rows: Rows, span: tuple[str, str] = HOUR, metadata: IngestionMetadata | None = None
    ) -> None:
        """Ingest rows and queue the windows they touch."""
        await self.ingest(rows, span, metadata)
        await self.take_in()

    async def take_in(self) -> None:
        """Handle the events that nobody handled yet."""
        coordinator = Coordinator(self.state, self.clock, ReadinessPolicy(), lambda: None)
        for entry in await self.state.log.open_entries():
            if entry.kind == "DataAvailableEvent":
                await coordinator.handle(decode(DataAvailableEvent, entry.body))

    async def ingest(
        self, rows: Rows, span: tuple[str, str] = HOUR, metadata: IngestionMetadata | None = None
    ) -> None:
        """Ingest rows; their event is not handled."""
        self.number += 1
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows)), sink)
        location = f"raw/{self.number}.parquet"
        await self.objects.put(location, sink.getvalue())
        command = IngestDataCommand(
            id=UUID(int=self.number),
            metadata=metadata or a_dataset(),
            payload_location=location,
            start_time=parse_time(span[0]),
            end_time=parse_time(span[1]),
        )
        await Ingestion(self.state, self.objects, self.observations, self.broker, self.clock).handle(command)

    async def build(self, rows: Rows | None = None, *args: Any) -> None:
        """Let rows arrive, if any, and build what is due."""
        if rows is not None:
            await self.arrive(rows, *args)
        while await self.builder.build_next():
            pass

    async def rebuild(self) -> None:
        again = Decision(KEY, WindowStatus.QUEUED, due_at=self.clock.now(), forced=True)
        await self.state.windows.decide([again])
        await self.build()

    async def window(self) -> WindowState:
        [window] = await self.state.windows.windows("story")
        return window

    async def revisions(self) -> list[Revision]:
        found: list[Revision] = await self.state.windows.revisions(KEY)
        return found

    def files(self) -> dict[str, bytes]:
        """Everything published."""
        root = self.folder / "datasets"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_relative_to(root / ".staging")
        }

    def table(self) -> pa.Table:
        return pq.read_table(self.folder / "datasets" / f"{STEM}.parquet")

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.files()[f"{STEM}.manifest.json"])
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.state.close()


@pytest.fixture
async def deleting(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path, deleting=True)
    yield site
    await site.state.close()


async def test_nothing_due_builds_nothing(site: Site):
    assert await site.builder.build_next() is False


async def test_a_window_becomes_a_sorted_file_with_the_published_schema(site: Site):
    rows = [*minutes(*HOUR, station="B"), *minutes(*HOUR)][::-1]
    await site.build(rows)
    table = site.table()
    assert table.schema.names == ["datetime", "lat", "lon", TEMPERATURE, HUMIDITY, "station_id"]
    assert table.schema.field("datetime").type == pa.timestamp("ns", tz="UTC")
    assert table.schema.field(HUMIDITY).type == pa.float64()
    order = list(zip(table["datetime"].to_pylist(), table["station_id"].to_pylist(), strict=True))
    assert order == sorted(order)
    assert len(order) == 120


async def test_the_manifest_tells_what_the_file_holds_and_of_what(site: Site):
    await site.arrive(minutes(*HOUR)[:30])
    await site.build(minutes(*HOUR)[30:])
    [revision] = await site.revisions()
    inputs = [str(UUID(int=1)), str(UUID(int=2))]
    assert site.manifest() == {
        "dataset": "story",
        "start_time": "2024-01-01T10:00:00+00:00",
        "end_time": "2024-01-01T11:00:00+00:00",
        "aggregation_span": "PT1H",
        "revision": 1,
        "rows": 60,
        "content_hash": revision.content_hash,
        "supersedes": None,
        "inputs_hash": sha256("\n".join(inputs).encode()).hexdigest(),
        "inputs": inputs,
    }


async def test_the_revision_is_recorded_and_told(site: Site):
    await site.build(minutes(*HOUR))
    [revision] = await site.revisions()
    assert (revision.number, revision.rows, revision.built_at) == (1, 60, site.clock.now())
    assert revision.location == f".revisions/{STEM}/{revision.content_hash}.parquet"
    assert site.files()[revision.location] == site.files()[f"{STEM}.parquet"]
    [event] = site.broker.told
    assert event.dataset_location == f"datasets/{STEM}.parquet"
    assert (event.metadata.name, event.span) == ("story", KEY.span)
    assert event.metadata.aggregation_span == timedelta(hours=1)
    assert await site.state.log.open_entries() == []


async def test_nothing_is_left_in_the_scratch_folder(site: Site):
    await site.build(minutes(*HOUR))
    assert list(site.scratch.iterdir()) == []


async def test_the_same_inputs_make_the_same_bytes_and_ids_whenever_they_are_built(
    site: Site, tmp_path: Path
):
    other = Site(tmp_path / "elsewhere", now="2030-01-01T00:00:00Z")
    for place in (site, other):
        await place.build(minutes(*HOUR))
        await place.build([a_row(AT_FIVE, "late")])
    assert other.files() == site.files()
    assert [event.id for event in other.broker.told] == [event.id for event in site.broker.told]
    await other.state.close()


async def test_unchanged_content_is_no_revision_and_no_news(site: Site, monkeypatch: pytest.MonkeyPatch):
    await site.build(minutes(*HOUR))
    before = site.files()
    monkeypatch.setattr(ingest, "KNOWN_ROWS_LIMIT", 0)
    await site.build(minutes(*HOUR)[::-1])
    window = await site.window()
    assert (window.status, window.version, window.built_version) == (WindowStatus.BUILT, 2, 2)
    assert len(await site.revisions()) == 1
    assert site.files() == before
    assert len(site.broker.told) == 1
    assert len([entry async for entry in site.state.log.read(kind="DataSetAvailableEvent")]) == 1


async def test_news_make_a_revision_that_supersedes_the_one_before(site: Site):
    await site.build(minutes(*HOUR))
    await site.build([a_row(AT_FIVE, "late")])
    first, second = await site.revisions()
    assert (second.number, second.rows, second.supersedes) == (2, 61, first.content_hash)
    assert second.inputs == (str(UUID(int=1)), str(UUID(int=2)))
    assert site.manifest()["supersedes"] == first.content_hash
    assert len({event.id for event in site.broker.told}) == 2
    assert site.table().num_rows == 61


async def test_the_files_of_the_last_revisions_are_kept_and_all_records(site: Site):
    for value in range(5):
        await site.build([a_row(AT_FIVE, T=float(value))])
    revisions = await site.revisions()
    assert [revision.number for revision in revisions] == [1, 2, 3, 4, 5]
    kept = [name for name in site.files() if name.startswith(".revisions")]
    assert sorted(kept) == sorted(revision.location for revision in revisions[-KEPT_REVISIONS:])


async def test_content_that_comes_back_is_a_revision_like_any_other(site: Site):
    values = (1.0, 2.0, 1.0, 3.0, 4.0, 1.0)
    for value in values:
        await site.build([a_row(AT_FIVE, T=value)])
        assert site.table()[TEMPERATURE].to_pylist() == [value]
    hashes = [revision.content_hash for revision in await site.revisions()]
    assert hashes[0] == hashes[2] == hashes[5]
    assert len(set(hashes)) == 4
    assert len({event.id for event in site.broker.told}) == 6


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_how_a_window_is_sliced_leaves_no_trace(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
):
    await site.build(minutes(*HOUR))
    monkeypatch.setattr(building, "SLICE_ROWS", size)
    other = Site(tmp_path / "elsewhere")
    await other.build(minutes(*HOUR))
    assert other.files() == site.files()
    await other.state.close()


async def test_a_window_without_rows_between_others_has_no_file(site: Site):
    short = a_dataset(span="PT10M")
    await site.build([a_row(AT_FIVE), a_row("2024-01-01T10:55:00Z")], HOUR, short)
    windows = await site.state.windows.windows()
    assert len(windows) == 6
    assert {w.status for w in windows} == {WindowStatus.BUILT}
    assert [w.key.start.minute for w in windows if w.revision] == [0, 50]
    assert len(site.broker.told) == 2


async def test_windows_longer_than_an_hour_gather_their_hours(site: Site):
    day = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
    await site.build(
        [a_row(f"2024-01-01T{hour:02}:30:00Z") for hour in range(24)], day, a_dataset(span="P1D")
    )
    [window] = await site.state.windows.windows()
    assert window.revision is not None
    assert window.revision.rows == 24


async def test_columns_of_every_map_are_there_with_typed_nulls(site: Site):
    await site.build([a_row(AT_FIVE, owner="me")], HOUR, a_dataset(metadata=("station_id", "owner")))
    newer = a_dataset(metadata=("station_id", "site"), version=2)
    await site.build([a_row(AT_FIVE, "B", site=None)], HOUR, newer)
    table = site.table()
    assert table.schema.names[-3:] == ["station_id", "site", "owner"]
    assert (table["owner"].to_pylist(), table["site"].type) == (["me", None], pa.string())


async def test_whole_numbers_that_become_floats_later_are_no_obstacle(site: Site):
    def typed(dtype: str, version: int) -> IngestionMetadata:
        metadata = a_dataset(version=version)
        variables = metadata.ingestion_map.canonical_variables
        variables[0] = variables[0].model_copy(update={"dtype": dtype})
        return metadata

    await site.build([a_row(AT_FIVE, T=2**53 + 1)], HOUR, typed("int64", 1))
    await site.build([a_row(AT_FIVE, "B", T=1.5)], HOUR, typed("float64", 2))
    assert (await site.window()).status is WindowStatus.BUILT
    assert site.table()[TEMPERATURE].to_pylist() == [float(2**53), 1.5]


async def test_a_lost_file_comes_back_with_the_next_build(site: Site):
    await site.build(minutes(*HOUR))
    before = site.files()
    await site.datasets.delete([f"{STEM}.parquet", f"{STEM}.manifest.json"])
    await site.rebuild()
    assert site.files() == before
    assert (len(await site.revisions()), len(site.broker.told)) == (1, 1)


# Inputs that are deleted


def an_order() -> IngestDataCommand:
    """An order that nobody carries out."""
    return IngestDataCommand(
        id=UUID(int=99),
        metadata=a_dataset(),
        payload_location="raw/none.parquet",
        start_time=KEY.span.start,
        end_time=KEY.span.end,
    )


async def chunk_files(site: Site) -> int:
    return len([entry async for entry in site.objects.list("observations/")])


async def test_deleted_inputs_live_on_in_the_revision(deleting: Site):
    await deleting.build(minutes(*HOUR))
    assert await chunk_files(deleting) == 0
    await deleting.rebuild()
    assert len(await deleting.revisions()) == 1
    await deleting.build([a_row(AT_FIVE, "late")])
    revisions = await deleting.revisions()
    assert [revision.rows for revision in revisions] == [60, 61]
    assert revisions[1].inputs == (str(UUID(int=1)), str(UUID(int=2)))
    assert deleting.table().num_rows == 61
    assert await chunk_files(deleting) == 0


async def test_deleting_inputs_changes_no_byte(
    deleting: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeping = Site(tmp_path / "keeping")
    monkeypatch.setattr(building, "SLICE_ROWS", 20)
    story: list[Rows] = [
        minutes(*HOUR),
        [a_row(AT_FIVE, T=-1.0), a_row("2024-01-01T10:05:30Z", T=3.0)],
        [a_row(AT_FIVE, T=None, RH=50.0)],
        [a_row(AT_FIVE, T=300.0), a_row(AT_FIVE, "B", T=1.0)],
    ]
    for rows in story:
        for site in (deleting, keeping):
            await site.build(rows)
        assert deleting.files()[f"{STEM}.parquet"] == keeping.files()[f"{STEM}.parquet"]
    assert len(await deleting.revisions()) == 4
    await keeping.state.close()


async def test_inputs_that_came_during_the_build_are_not_deleted(
    deleting: Site, monkeypatch: pytest.MonkeyPatch
):
    """Their event may be on its way still when the build is done."""
    await deleting.arrive(minutes(*HOUR))
    settle = deleting.state.builds.settle

    async def settle_late(*args: Any) -> None:
        monkeypatch.undo()
        await deleting.ingest([a_row(AT_FIVE, "late")])
        await settle(*args)

    monkeypatch.setattr(deleting.state.builds, "settle", settle_late)
    await deleting.build()
    assert deleting.table().num_rows == 60
    assert await chunk_files(deleting) == 2

    await deleting.take_in()
    await deleting.build()
    assert deleting.table().num_rows == 61
    assert await chunk_files(deleting) == 0


async def test_a_revision_that_stands_in_for_inputs_is_kept_however_old(deleting: Site):
    await deleting.build([a_row(AT_FIVE, T=0.0)])
    pending = an_order()
    await deleting.state.log.append(pending)
    for value in range(1, 8):
        await deleting.build([a_row(AT_FIVE, f"S{value}", T=float(value))])
    revisions = await deleting.revisions()
    kept = {name for name in deleting.files() if name.startswith(".revisions")}
    assert kept == {revisions[n].location for n in (0, -2, -1)}
    assert deleting.table().num_rows == 8
    await deleting.state.log.close(pending)
    await deleting.build([a_row(AT_FIVE, "last")])
    assert deleting.table().num_rows == 9
    assert await chunk_files(deleting) == 0


# Failures


def test_the_wait_doubles_up_to_ten_minutes():
    assert [backoff(n).total_seconds() for n in (1, 2, 3, 7, 8, MAX_ATTEMPTS)] == [5, 10, 20, 320, 600, 600]


async def test_a_build_that_fails_is_tried_again_later_and_parked_in_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    await site.arrive(minutes(*HOUR))

    def fail(*_: object) -> None:
        raise StoreUnavailable("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(site.observations, "read", fail)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            assert await site.builder.build_next()
            window = await site.window()
            assert (window.attempts, "the disk is gone" in window.reason) == (attempt, True)
            if window.due_at is None:
                break
            assert window.due_at == site.clock.now() + backoff(attempt)
            assert await site.builder.build_next() is False
            await site.clock.advance(backoff(attempt))
    assert attempt == MAX_ATTEMPTS
    assert (await site.window()).status is WindowStatus.PARKED
    assert site.files() == {}
    await site.rebuild()
    assert (await site.window()).status is WindowStatus.BUILT


async def test_a_damaged_chunk_is_a_failed_build(site: Site):
    await site.arrive(minutes(*HOUR))
    [chunk] = await site.state.ingestions.chunks(UUID(int=1))
    await site.objects.put(chunk.location, b"not parquet", overwrite=True)
    assert await site.builder.build_next()
    assert (await site.window()).attempts == 1


async def test_a_builder_that_lost_its_window_publishes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch):
    await site.arrive(minutes(*HOUR))
    orders: list[BuildOrder] = []
    claim, read = site.state.builds.claim, site.observations.read

    async def remember(*args: Any) -> BuildOrder | None:
        order = await claim(*args)
        orders.extend([order] if order else [])
        return order

    taken = asyncio.Event()

    async def lose(chunks: Any, span: Any) -> AsyncIterator[Any]:
        if not taken.is_set():
            taken.set()
            await site.state.builds.fail(orders[0], "taken away", site.clock.now())
            orders.append(await claim(site.clock.now()))
        async for found in read(chunks, span):
            yield found

    monkeypatch.setattr(site.state.builds, "claim", remember)
    monkeypatch.setattr(site.observations, "read", lose)
    assert await site.builder.build_next()
    assert orders[1].token > orders[0].token
    assert f"{STEM}.parquet" not in site.files()
    assert await site.revisions() == []
    assert (site.broker.told, await site.state.log.open_entries()) == ([], [])
    assert (await site.window()).status is WindowStatus.QUEUED

    await site.state.builds.fail(orders[1], "gives it back", site.clock.now())
    await site.build()
    assert (len(site.broker.told), site.table().num_rows) == (1, 60)


async def test_a_revision_that_cannot_be_told_is_not_built_again(site: Site):
    site.broker.is_up = False
    await site.build(minutes(*HOUR))
    assert (await site.window()).status is WindowStatus.BUILT
    assert [entry.kind for entry in await site.state.log.open_entries()] == ["DataSetAvailableEvent"]
    site.broker.is_up = True
    reconciler = Reconciler(site.state, site.broker, site.clock, site.builder.announce)
    await reconciler.reconcile()
    assert [event.dataset_location for event in site.broker.told] == [f"datasets/{STEM}.parquet"]
    assert await site.state.log.open_entries() == []


@pytest.mark.parametrize("moment", ["read", "announce"])
async def test_a_build_that_is_stopped_hands_its_window_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """Before the revision is recorded the window is due again; behind it only the telling is."""
    await site.arrive(minutes(*HOUR))
    reached = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def hang_reading(*_: object) -> AsyncIterator[Any]:
        await hang()
        yield

    with monkeypatch.context() as patch:
        if moment == "read":
            patch.setattr(site.observations, "read", hang_reading)
        else:
            patch.setattr(site.broker, "publish", hang)
        task = asyncio.create_task(site.builder.build_next())
        async with asyncio.timeout(10):
            await reached.wait()
        task.cancel()
        await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert (await site.window()).status is {"read": WindowStatus.QUEUED, "announce": WindowStatus.BUILT}[
        moment
    ]
    await site.build()
    assert site.table().num_rows == 60
    assert len(await site.revisions()) == 1


@pytest.mark.parametrize("deletes", [False, True])
async def test_a_killed_builder_leaves_what_the_next_one_finishes(tmp_path: Path, life: Any, deletes: bool):
    async def lived(folder: Path, last: int | None) -> tuple[Any, list[str]]:
        """What is there after a third revision whose builder may die, and another builder behind it."""
        site, one = Site(folder, deleting=deletes), life(last)
        await site.build(minutes(*HOUR))
        await site.build([a_row(AT_FIVE, "B")])
        await site.arrive([a_row(AT_FIVE, "C")])
        told = site.broker.told
        mortal = copy(site)
        for name in ("state", "observations", "datasets", "broker"):
            setattr(mortal, name, one.of(getattr(site, name)))
        try:
            await mortal.build()
        except life.Killed:
            await site.state.close()
            site = Site(folder, deleting=deletes)
            await Reconciler(site.state, site.broker, site.clock, site.builder.announce).reconcile()
            await site.build()
        # What is outdated may lie there until the next revision.
        kept = {revision.location for revision in (await site.revisions())[-KEPT_REVISIONS:]}
        found = (
            {name: data for name, data in site.files().items() if name[0] != "." or name in kept},
            await site.revisions(),
            replace(await site.window(), attempts=0),
            {event.id for event in [*told, *site.broker.told]},
            await site.state.log.open_entries(),
            [entry.id async for entry in site.state.log.read()],
        )
        await site.state.close()
        return found, one.calls

    undisturbed, calls = await lived(tmp_path / "undisturbed", None)
    assert len(undisturbed[1]) == 3
    assert len(calls) > 10
    for number, call in enumerate(calls):
        found, _ = await lived(tmp_path / str(number), number)
        assert found == undisturbed, f"killed before {call}"


# Slices


@given(
    rows=st.integers(0, 50),
    size=st.integers(1, 60),
    length=st.sampled_from(["PT0.000007S", "PT1S", "PT1H", "P1D", "P7D"]),
)
def test_slices_lie_side_by_side_and_fill_the_window(rows: int, size: int, length: str):
    key = WindowKey("story", parse_time("1970-01-01T00:00:00Z"), parse_duration(length))
    chunk = Chunk("story", key.start, UUID(int=1), 0, 1, rows, key.start, key.start, "x")
    order = BuildOrder(key, 1, 1, 1, (chunk,), (), None, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "SLICE_ROWS", size)
        parts = slices(order)
    assert (parts[0].start, parts[-1].end) == (key.span.start, key.span.end)
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert len(parts) == max(1, -(-rows // size))
