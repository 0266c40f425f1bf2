"""Builds windows that are due: reads their observations, folds them, publishes a revision.

A revision is written under the hash of its content first, then recorded, then made the current
file, then told. Whatever is cut off in between is found again: the window in the build queue, the
telling in the event log.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid5

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from ionbeam.aggregation.layout import Layout, layout_of
from ionbeam.aggregation.window_file import WindowFile, WindowFileWriter
from ionbeam.errors import Fenced, IonbeamError, ObjectExists, ObjectMissing
from ionbeam.messages.codec import encode
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.messages.topology import DATASET_AVAILABLE
from ionbeam.observations.columns import TIME
from ionbeam.observations.dataset import DatasetMetadata
from ionbeam.observations.merging import merge, with_schema
from ionbeam.observations.timespan import TimeSpan, format_duration, to_nanoseconds
from ionbeam.ports import BatchStore, Broker, Clock, ObservationStore, StateStore
from ionbeam.records import BuildOrder, Revision, WindowKey

log = structlog.get_logger(__name__)

SLICE_ROWS = 1 << 21
"""About so many rows of a window are in memory at once."""

MAX_ATTEMPTS = 12
KEPT_REVISIONS = 2
"""The files of older revisions are deleted, unless they stand in for inputs; their records stay."""

_FIRST_BACKOFF = timedelta(seconds=5)
_LAST_BACKOFF = timedelta(minutes=10)

_REVISIONS = UUID("6e5b63a6-9c0c-5f63-8d5b-0d8a3a1b7a55")
"""Namespace of event ids."""


class WindowBuilder:
    """Takes windows from the build queue one at a time; tells of revisions on every one of ``brokers``."""

    def __init__(
        self,
        state: StateStore,
        observations: ObservationStore,
        datasets: BatchStore,
        brokers: Sequence[Broker],
        clock: Clock,
        *,
        location_prefix: str = "",
        scratch: Path | None = None,
        delete_after_export: bool = False,
    ) -> None:
        self._state = state
        self._observations = observations
        self._datasets = datasets
        self._brokers = brokers
        self._clock = clock
        self._location_prefix = location_prefix
        self._scratch = scratch
        self._delete_after_export = delete_after_export

    async def build_next(self) -> bool:
        """Build the oldest window that is due; False when none is."""
        order = await self._state.builds.claim(self._clock.now())
        if order is None:
            return False
        try:
            await self._build_or_hand_back(order)
        except Fenced as error:
            reason = str(error.__context__ or error)
            log.info("window given up", dataset=order.key.dataset, window=order.key.id, reason=reason)
        return True

    async def _build_or_hand_back(self, order: BuildOrder) -> None:
        try:
            await self._build(order)
        except Fenced:
            raise
        except Exception as error:
            # Whatever it is, this window must not stop the others, nor come first for ever.
            if not isinstance(error, IonbeamError):
                log.exception("window build broke", dataset=order.key.dataset, window=order.key.id)
            await self._hand_back(order, error)
        except asyncio.CancelledError:
            with suppress(Fenced):  # its revision is recorded already; what is left is found again
                await self._state.builds.fail(order, "interrupted", self._clock.now())
            raise

    async def _hand_back(self, order: BuildOrder, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        retry_at = None if order.attempt >= MAX_ATTEMPTS else self._clock.now() + backoff(order.attempt)
        await self._state.builds.fail(order, reason, retry_at)
        log.warning(
            "window build failed",
            dataset=order.key.dataset,
            window=order.key.id,
            reason=reason,
            attempt=order.attempt,
            retry_at=retry_at.isoformat() if retry_at else None,
        )

    async def _build(self, order: BuildOrder) -> None:
        with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "window.parquet"
            written = await self._write(order, layout_of(order.maps), path) if order.maps else None
            current = order.revision
            if written is None or written.rows == 0:
                await self._state.builds.settle(order, None, None)
                return
            if current is not None and current.content_hash == written.content_hash:
                await self._restore(order, current, path)
            else:
                await self._publish(order, written, path)
        if self._delete_after_export:
            await self._retire(order.key)

    async def _restore(self, order: BuildOrder, current: Revision, path: Path) -> None:
        """Nothing is new; put right what may have become of the current revision's files."""
        await self._datasets.put(current.location, path, overwrite=True)
        await self._make_current(order.key)
        await self._state.builds.settle(order, None, None)

    async def sweep(self) -> None:
        """Delete inputs that could not be deleted when their window was built."""
        if self._delete_after_export:
            for key in await self._state.builds.unretired():
                await self._retire(key)

    async def restore_missing(self) -> list[WindowKey]:
        """Publish again what is built and whose file is gone; which windows those were."""
        restored = []
        for window in await self._state.windows.windows():
            if window.revision is None or await asyncio.to_thread(self._is_published, window.key):
                continue
            try:
                await self._make_current(window.key)
            except ObjectMissing as error:
                reason = f"{error}; 'ionbeam window rebuild' makes it again"
                log.warning("window not restored", dataset=window.key.dataset, reason=reason)
                continue
            restored.append(window.key)
        return restored

    def _is_published(self, key: WindowKey) -> bool:
        try:
            for suffix in ("parquet", "manifest.json"):
                with self._datasets.open(f"{key.file_stem}.{suffix}"):
                    pass
        except ObjectMissing:
            return False
        return True

    async def _retire(self, key: WindowKey) -> None:
        chunks = await self._state.builds.retire(key)
        await self._observations.delete(chunks)
        await self._state.builds.forget(chunks)

    async def _write(self, order: BuildOrder, layout: Layout, path: Path) -> WindowFile:
        writer = await asyncio.to_thread(WindowFileWriter, path, layout.schema)
        for part in slices(order):
            tables = [with_schema(table, layout.schema) async for table in self._read(order, part)]
            if tables:
                rows = pa.concat_tables(tables)
                merged = await asyncio.to_thread(merge, rows, layout.identity)
                await asyncio.to_thread(writer.append, merged.table)
        return await asyncio.to_thread(writer.close)

    async def _read(self, order: BuildOrder, part: TimeSpan) -> AsyncIterator[pa.Table]:
        """The window's observations in ``part``, in acceptance order.

        Where inputs were deleted, the revision they went into stands in for them at the acceptance
        sequence of the last of them.
        """
        waiting = [c for c in order.chunks if c.first < part.end and c.last >= part.start]
        for base in order.bases:
            earlier = [c for c in waiting if c.sequence <= base.sequence]
            async for _, table in self._observations.read(earlier, part):
                yield table
            waiting = waiting[len(earlier) :]
            yield await asyncio.to_thread(self._read_revision, base, part)
        async for _, table in self._observations.read(waiting, part):
            yield table

    def _read_revision(self, revision: Revision, part: TimeSpan) -> pa.Table:
        limits = [(TIME, ">=", _scalar(part.start)), (TIME, "<", _scalar(part.end))]
        with self._datasets.open(revision.location) as file:
            return pq.read_table(file, filters=limits)

    async def _publish(self, order: BuildOrder, written: WindowFile, path: Path) -> None:
        revision = _revision(order, written, self._clock.now())
        with suppress(ObjectExists):  # it was current once before, or an interrupted build left it
            await self._datasets.put(revision.location, path)
        event = _event(revision, await self._metadata(order.key), self._location_prefix)
        await self._state.builds.settle(order, revision, event)
        log.info(
            "window revised",
            dataset=order.key.dataset,
            window=order.key.id,
            revision=revision.number,
            rows=revision.rows,
        )
        try:
            await self.announce(event)
            await self._delete_outdated(order, revision)
        except IonbeamError as error:
            # The window is built; its event stays open in the log and is told again.
            log.warning("announcement failed", dataset=order.key.dataset, reason=str(error))

    async def _metadata(self, key: WindowKey) -> DatasetMetadata:
        record = await self._state.datasets.get(key.dataset)
        metadata = record.metadata.dataset if record else DatasetMetadata(name=key.dataset)
        return metadata.model_copy(update={"aggregation_span": key.length})

    async def announce(self, event: DataSetAvailableEvent) -> None:
        """Make the window's newest revision its current file, then tell of it; may be repeated."""
        key = WindowKey(event.metadata.name, event.start_time, event.end_time - event.start_time)
        await self._make_current(key)
        for broker in self._brokers:
            await broker.publish(DATASET_AVAILABLE, "", encode(event), message_id=str(event.id))
        await self._state.log.close(event)

    async def _make_current(self, key: WindowKey) -> None:
        """Point the published name at the newest revision, also when another builder races us to it."""
        published = None
        while (revisions := await self._newest(key))[-1] != published:
            published = revisions[-1]
            await self._datasets.copy(published.location, f"{key.file_stem}.parquet")
            await self._datasets.put(f"{key.file_stem}.manifest.json", _manifest(published), overwrite=True)

    async def _delete_outdated(self, order: BuildOrder, built: Revision) -> None:
        revisions = await self._newest(order.key)
        if revisions[-1].number != built.number:
            return  # a newer build knows better which revisions stand in for deleted inputs
        kept = {revision.location for revision in (*revisions[-KEPT_REVISIONS:], *order.bases)}
        await self._datasets.delete([r.location for r in revisions if r.location not in kept])

    async def _newest(self, key: WindowKey) -> list[Revision]:
        return await self._state.windows.revisions(key, newest=2 * KEPT_REVISIONS)


def backoff(attempt: int) -> timedelta:
    """How long to wait after the given attempt failed: 5 s doubling up to 10 min."""
    return min(_FIRST_BACKOFF * float(2 ** (attempt - 1)), _LAST_BACKOFF)


def slices(order: BuildOrder) -> list[TimeSpan]:
    """The window cut in time so that each part holds about `SLICE_ROWS` rows or fewer."""
    rows = sum(chunk.rows for chunk in order.chunks)
    rows += sum(base.rows for base in order.bases)
    count = max(1, -(-rows // SLICE_ROWS))
    span = order.key.span
    edges = [span.start + span.length * i / count for i in range(count)] + [span.end]
    return [TimeSpan(start, end) for start, end in pairwise(edges)]


def _scalar(time: datetime) -> pa.Scalar:
    return pa.scalar(to_nanoseconds(time), pa.timestamp("ns", tz="UTC"))


def _inputs(order: BuildOrder) -> tuple[str, ...]:
    before = {ingestion for base in order.bases for ingestion in base.inputs}
    return tuple(sorted(before | {str(chunk.ingestion_id) for chunk in order.chunks}))


def _revision(order: BuildOrder, written: WindowFile, now: datetime) -> Revision:
    current, inputs = order.revision, _inputs(order)
    return Revision(
        window=order.key,
        number=current.number + 1 if current else 1,
        rows=written.rows,
        content_hash=written.content_hash,
        inputs_hash=sha256("\n".join(inputs).encode()).hexdigest(),
        inputs=inputs,
        sequence=max([c.sequence for c in order.chunks] + [base.sequence for base in order.bases]),
        location=f".revisions/{order.key.file_stem}/{written.content_hash}.parquet",
        supersedes=current.content_hash if current else None,
        built_at=now,
    )


def _event(revision: Revision, metadata: DatasetMetadata, location_prefix: str) -> DataSetAvailableEvent:
    key = revision.window
    return DataSetAvailableEvent(
        id=uuid5(_REVISIONS, f"{key.dataset}\n{key.id}\n{revision.number}\n{revision.content_hash}"),
        metadata=metadata,
        dataset_location=f"{location_prefix}{key.file_stem}.parquet",
        start_time=key.span.start,
        end_time=key.span.end,
    )


def _manifest(revision: Revision) -> bytes:
    """What stands beside the window's file; the same for the same inputs, so it holds no clock time."""
    key = revision.window
    return json.dumps(
        {
            "dataset": key.dataset,
            "start_time": key.span.start.isoformat(),
            "end_time": key.span.end.isoformat(),
            "aggregation_span": format_duration(key.length),
            "revision": revision.number,
            "rows": revision.rows,
            "content_hash": revision.content_hash,
            "supersedes": revision.supersedes,
            "inputs_hash": revision.inputs_hash,
            "inputs": list(revision.inputs),
        },
        indent=2,
    ).encode()
