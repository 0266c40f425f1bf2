"""Memory of a payload that does not fit: ``python benchmarks/large_payload.py [ROWS]`` (50 million).

Ingests one payload of that many rows over a day and builds its 24 windows; prints peak memory.
"""

import asyncio
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from floors import START, station_payload
from ionbeam.config import LoggingSettings, load
from ionbeam.logs import configure
from ionbeam.wiring import open_platform
from pipeline import ingest

GATE_BYTES = 2 * 2**30


async def run(folder: Path, rows: int) -> None:
    length = timedelta(hours=24)
    payload = await asyncio.to_thread(station_payload_in_parts, folder, rows, length)
    print(f"making the payload: peak {peak() / 2**20:,.0f} MiB")
    async with open_platform(load(None, folder / "data")) as platform:
        seconds = await ingest(platform, payload, 1, length)
        report("ingestion", rows / seconds)
        began = time.perf_counter()
        await platform.worker.build_due()
        report("window build", rows / (time.perf_counter() - began))
        windows = await platform.stores.state.windows.windows()
        assert sum(w.revision.rows for w in windows if w.revision) == rows
    print("ok" if peak() < GATE_BYTES else "ABOVE THE GATE")


def station_payload_in_parts(folder: Path, rows: int, length: timedelta) -> Path:
    """One payload file made hour by hour, so that making it needs little memory itself."""
    path, part = folder / "payload.parquet", folder / "part.parquet"
    hours = length // timedelta(hours=1)
    writer = None
    for hour in range(hours):
        share = rows // hours + (rows % hours if hour == 0 else 0)
        start = START + hour * timedelta(hours=1)
        station_payload(part, share, start=start, length=timedelta(hours=1), seed=hour)
        table = pq.read_table(part)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    pa.default_memory_pool().release_unused()
    return path


def report(step: str, rate: float) -> None:
    """Print a step's rate and the peak so far."""
    print(f"{step:13} {rate:>11,.0f} rows/s, peak {peak() / 2**20:,.0f} MiB")


def peak() -> int:
    """The process's largest resident set so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(rows: int) -> None:
    configure(LoggingSettings(level="WARNING"))
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name), rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000_000)
