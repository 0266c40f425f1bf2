"""Ingestion and window build on one core, as ratios to floors measured in the same run.

``python benchmarks/pipeline.py [ROWS]`` ingests a six-variable station payload and builds its windows
through the real stores, every write synced, and compares with plain PyArrow and plain DuckDB.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

# Before Arrow starts its threads: they inherit the one CPU that the rates are for.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

from datetime import timedelta

from floors import START, duckdb_floor, pyarrow_floor, station_metadata, station_payload
from ionbeam.config import LoggingSettings, load
from ionbeam.logs import configure
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.topology import INGESTION_EXCHANGE, INGESTION_KEY
from ionbeam.observations.columns import canonical_schema
from ionbeam.wiring import Platform, open_platform

GATES = {"ingestion": 500_000, "window build": 1_000_000}
RATIO_GATE = 0.5
REPEATS = 3


async def ingest(platform: Platform, payload: Path, number: int, length: timedelta) -> float:
    """Seconds from the command to the stored observations."""
    key = f"raw/bench/{number}.parquet"
    await platform.stores.objects.put(key, payload)
    command = IngestDataCommand(
        id=UUID(int=number),
        metadata=station_metadata(),
        payload_location=key,
        start_time=START,
        end_time=START + length,
    )
    began = time.perf_counter()
    await platform.broker.publish(
        INGESTION_EXCHANGE, INGESTION_KEY, encode(command), message_id=str(command.id)
    )
    await platform.broker.idle()
    return time.perf_counter() - began


async def build(platform: Platform) -> float:
    """Seconds to build every window that is due."""
    began = time.perf_counter()
    await platform.worker.build_due()
    return time.perf_counter() - began


async def measure(folder: Path, rows: int) -> dict[str, float]:
    """Best rates of a few fresh platforms."""
    length = timedelta(hours=1)
    payload = station_payload(folder / "payload.parquet", rows, length=length)
    best = {"ingestion": float("inf"), "window build": float("inf")}
    floors = {"ingestion": float("inf"), "window build": float("inf")}
    for number in range(1, REPEATS + 1):
        data_dir = folder / f"run{number}"
        async with open_platform(load(None, data_dir)) as platform:
            best["ingestion"] = min(best["ingestion"], await ingest(platform, payload, number, length))
            best["window build"] = min(best["window build"], await build(platform))
            window = (await platform.stores.state.windows.windows())[0]
            assert window.revision is not None
            assert window.revision.rows == rows
        chunks = sorted((data_dir / "observations").rglob("*.parquet"))
        floors["ingestion"] = min(
            floors["ingestion"],
            pyarrow_floor(payload, canonical_schema(station_metadata().ingestion_map), folder),
        )
        floors["window build"] = min(floors["window build"], duckdb_floor(chunks, folder / "floor.parquet"))
    for step, seconds in best.items():
        rate, ratio = rows / seconds, floors[step] / seconds
        verdict = "ok" if rate >= GATES[step] and ratio >= RATIO_GATE else "BELOW THE GATE"
        print(f"{step:13} {rate:>11,.0f} rows/s/core  {ratio:5.2f} x floor  {verdict}")
    return best


def main(rows: int) -> None:
    configure(LoggingSettings(level="WARNING"))
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name), rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
