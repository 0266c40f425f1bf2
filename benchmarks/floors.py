"""What the libraries below us can do at best, measured in the same run as ourselves.

Two floors on one CPU: PyArrow alone for ingestion, DuckDB alone for building a window. The gates
are ratios to them. ``python benchmarks/floors.py [ROWS ...]`` prints both.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ionbeam.observations.columns import TIME, canonical_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import to_nanoseconds
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)
from ionbeam.stores.parquet import PARQUET_OPTIONS

START = datetime(2024, 1, 1, tzinfo=UTC)
STATION = "station_id"

# column, standard name, unit, level, method, period, decimals, mean, spread
VARIABLES = (
    ("temperature", "air_temperature", "degC", 2.0, "point", "PT0S", 1, 10.0, 6.0),
    ("humidity", "relative_humidity", "%", 2.0, "point", "PT0S", 0, 70.0, 10.0),
    ("pressure", "surface_air_pressure", "Pa", 0.0, "point", "PT0S", 0, 101_300.0, 400.0),
    ("wind", "wind_speed", "m s-1", 10.0, "mean", "PT10M", 1, 5.0, 2.0),
    ("wind_direction", "wind_from_direction", "degree", 10.0, "mean", "PT10M", 0, 180.0, 80.0),
    ("rain", "rainfall_rate", "mm h-1", 0.0, "mean", "PT1H", 2, 1.0, 0.5),
)


def station_metadata(length: timedelta = timedelta(hours=1)) -> IngestionMetadata:
    """The dataset `station_payload` writes and its map."""
    return IngestionMetadata(
        dataset=DatasetMetadata(name="bench", aggregation_span=length),
        ingestion_map=DataIngestionMap(
            datetime=TimeAxis(),
            lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
            lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
            canonical_variables=[
                CanonicalVariable(
                    column=column, standard_name=name, cf_unit=unit, level=level, method=method, period=period
                )
                for column, name, unit, level, method, period, *_ in VARIABLES
            ],
            metadata_variables=[MetadataVariable(column=STATION)],
        ),
    )


def station_payload(
    path: Path,
    rows: int,
    stations: int = 1000,
    *,
    start: datetime = START,
    length: timedelta = timedelta(hours=24),
    seed: int = 1,
) -> Path:
    """Write a raw payload as sources deliver it: all stations report at once, over and over.

    Columns: datetime timestamp[us, UTC], lat, lon and the six variables float64, rounded as such
    instruments round, station_id string. Each (station, time) occurs once.
    """
    random = np.random.default_rng(seed)
    station, report = np.arange(rows) % stations, np.arange(rows) // stations
    reports = -(-rows // stations)
    step_us = int(length / timedelta(microseconds=1)) // reports
    time_us = to_nanoseconds(start) // 1000 + report * step_us
    lat, lon = (random.uniform(low, high, stations).round(5) for low, high in ((45, 55), (0, 15)))
    names = pa.array([f"station-{n:05}" for n in range(stations)])
    columns: dict[str, object] = {
        TIME: pa.array(time_us, pa.timestamp("us", tz="UTC")),
        "lat": lat[station],
        "lon": lon[station],
    }
    for column, *_, decimals, mean, spread in VARIABLES:
        columns[column] = random.normal(mean, spread, rows).round(decimals)
    columns[STATION] = pa.DictionaryArray.from_arrays(station, names).cast(pa.string())
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def pyarrow_floor(payload_path: Path, schema: pa.Schema, out_dir: Path) -> float:
    """Seconds PyArrow needs for payload → canonical types → Parquet; columns are taken in order."""
    with _one_cpu():
        began = time.perf_counter()
        table = pq.ParquetFile(payload_path).read(use_threads=False)
        canonical = table.rename_columns(schema.names).cast(schema)
        pq.write_table(canonical, out_dir / "canonical.parquet", **PARQUET_OPTIONS)
        return time.perf_counter() - began


def duckdb_floor(
    chunk_paths: Sequence[Path], out_path: Path, threads: int = 1, identity: Sequence[str] = (STATION,)
) -> float:
    """Seconds DuckDB needs for chunks → one row per identity and time → sorted Parquet.

    Of rows that conflict, the one of the chunk that comes last in ``chunk_paths`` stays.
    """
    # The fastest of seven ways tried; QUALIFY row_number() takes twice as long.
    order = ", ".join(f'"{column}"' for column in (TIME, *identity))
    query = f"""
        COPY (
            SELECT DISTINCT ON ({order}) * EXCLUDE (file_index)
            FROM (SELECT *, file_index FROM read_parquet($chunks, hive_partitioning = false))
            ORDER BY {order}, file_index DESC
        ) TO '{out_path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)
    """
    with _one_cpu(enabled=threads == 1), duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("SET enable_progress_bar = false")
        began = time.perf_counter()
        connection.execute(query, {"chunks": [str(path) for path in chunk_paths]})
        return time.perf_counter() - began


@contextmanager
def _one_cpu(enabled: bool = True) -> Iterator[None]:
    """Confine Arrow's pool, this thread and those it starts to one CPU, where the system can."""
    if not enabled:
        yield
        return
    pool = pa.cpu_count()
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    pa.set_cpu_count(1)
    if cpus:
        os.sched_setaffinity(0, {max(cpus)})
    try:
        yield
    finally:
        pa.set_cpu_count(pool)
        if cpus:
            os.sched_setaffinity(0, cpus)


def _chunks(payload_path: Path, schema: pa.Schema, folder: Path, parts: int = 4) -> list[Path]:
    """The payload as ``parts`` canonical chunks, and one that repeats the first twentieth late."""
    table = pq.read_table(payload_path).rename_columns(schema.names).cast(schema)
    size = -(-table.num_rows // parts)
    pieces = [table.slice(i * size, size) for i in range(parts)] + [table.slice(0, table.num_rows // 20)]
    paths = [folder / f"chunk_{number}.parquet" for number in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        pq.write_table(piece, path, **PARQUET_OPTIONS)
    return paths


def main(sizes: Sequence[int]) -> None:
    """Print the rate of each floor for payloads of ``sizes`` rows, best of three."""
    schema = canonical_schema(station_metadata().ingestion_map)
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            payload = station_payload(folder / "payload.parquet", rows, length=timedelta(hours=1))
            ingestion = min(pyarrow_floor(payload, schema, folder) for _ in range(3))
            chunks = _chunks(payload, schema, folder)
            read = sum(pq.read_metadata(chunk).num_rows for chunk in chunks)
            build = min(duckdb_floor(chunks, folder / "window.parquet") for _ in range(3))
            assert pq.read_metadata(folder / "window.parquet").num_rows == rows
        print(f"{rows:>10,} rows: PyArrow {rows / ingestion:>10,.0f} rows/s, DuckDB {read / build:>10,.0f}")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [1_000_000, 5_000_000])
