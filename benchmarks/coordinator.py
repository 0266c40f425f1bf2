"""What one event costs the coordinator when many came before it: ``python benchmarks/coordinator.py``.

The state is filled with the rows that so many settled ingestions leave, either spread over windows
or all in one window. Then new ingestions settle, and the handling of their events is timed.
"""

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from floors import START, station_metadata
from ionbeam.aggregation.coordinator import Coordinator
from ionbeam.aggregation.readiness import ReadinessPolicy
from ionbeam.config import LoggingSettings
from ionbeam.logs import configure
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.observations.timespan import MICROSECOND, align
from ionbeam.records import Chunk, IngestionOutcome, Tally
from ionbeam.scheduling.clock import SystemClock
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.stores.sqlite.rows import micros

SIZES = (1_000, 100_000, 1_000_000)
EVENTS = 200
FLATNESS_GATE = 2.0
STEP = timedelta(minutes=10)
HOUR = timedelta(hours=1)


def fill(state: Path, records: int, *, one_window: bool) -> None:
    """Leave what ``records`` ingestions of ten minutes each leave, ending at `START`."""
    metadata = station_metadata().model_dump_json()
    step, hour, end = STEP // MICROSECOND, HOUR // MICROSECOND, micros(START)
    first = end - records * step
    starts = [end - hour] * records if one_window else range(first, end, step)
    rows = [(str(UUID(int=i)), i + 1, start) for i, start in enumerate(starts)]
    windows = {start // hour * hour for _, _, start in rows}
    c = sqlite3.connect(state / "state.sqlite")
    with closing(c), c:
        c.executemany("INSERT INTO log VALUES (?2, 'IngestDataCommand', ?1, 'bench', x'7b7d', ?3, 0)", rows)
        c.executemany(
            "INSERT INTO ingestions (id, sequence, dataset, start_us, end_us, metadata, location, status, "
            f"accepted_us, received, stored, admitted) VALUES (?1, ?2, 'bench', ?3, ?3 + {step}, ?4, '', "
            "'settled', ?3, 10, 10, 1)",
            [(*row, metadata) for row in rows],
        )
        c.executemany(
            f"INSERT INTO chunks VALUES ('bench', ?3 / {hour} * {hour}, ?2, 0, ?1, 10, ?3, ?3 + 1, '', 0)",
            rows,
        )
        c.execute("INSERT INTO coverage VALUES ('bench', ?, ?)", (first, end))
        c.executemany(
            "INSERT INTO windows (dataset, length_us, start_us, status, version, built_version) "
            f"VALUES ('bench', {hour}, ?, 'built', 6, 6)",
            [(start,) for start in windows],
        )
        c.commit()
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def costs(sizes: Sequence[int], *, one_window: bool) -> list[float]:
    """Median CPU seconds per event for each of ``sizes``; they take turns, so that all meet the same noise.

    CPU time, because what waiting for the disk costs depends on the disk and on nothing we compare.
    """
    with tempfile.TemporaryDirectory() as name:
        clock = SystemClock()
        states = [SqliteStateStore(Path(name) / str(records), clock) for records in sizes]
        for records in sizes:
            fill(Path(name) / str(records), records, one_window=one_window)
        seconds: list[list[float]] = [[] for _ in sizes]
        for number in range(EVENTS):
            for state, measured in zip(states, seconds, strict=True):
                event = await settled(state, START - HOUR if one_window else START + number * STEP)
                coordinator = Coordinator(state, clock, ReadinessPolicy(), lambda: None)
                began = time.process_time()
                await coordinator.handle(event)
                measured.append(time.process_time() - began)
        for state in states:
            await state.close()
        return [statistics.median(measured) for measured in seconds]


async def settled(state: SqliteStateStore, start: datetime) -> DataAvailableEvent:
    """A settled ingestion of ten rows; its event."""
    command = IngestDataCommand(
        id=uuid4(), metadata=station_metadata(), payload_location="", start_time=start, end_time=start + STEP
    )
    record = await state.ingestions.accept(command, 10)
    claim = await state.ingestions.claim(command.id)
    assert claim is not None
    hour = align(command.start_time, HOUR)
    chunk = Chunk("bench", hour, command.id, 0, record.sequence, 10, start, start + MICROSECOND, "")
    event = DataAvailableEvent(
        id=command.id, metadata=command.metadata, start_time=command.start_time, end_time=command.end_time
    )
    await state.ingestions.settle(claim, IngestionOutcome(Tally(10, 10), (chunk,)), event)
    return event


def main(sizes: Sequence[int]) -> None:
    configure(LoggingSettings(level="WARNING"))
    for one_window in (False, True):
        medians = asyncio.run(costs(sizes, one_window=one_window))
        shape = "all in one window" if one_window else "spread over windows"
        for records, seconds in zip(sizes, medians, strict=True):
            print(f"{shape:20} {records:>9,} records: {seconds * 1e3:6.2f} ms CPU per event")
        ratio = max(medians) / min(medians)
        print(
            f"{shape:20} slowest / fastest {ratio:.2f} {'ok' if ratio <= FLATNESS_GATE else 'ABOVE THE GATE'}"
        )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or SIZES)
