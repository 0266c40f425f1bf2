"""A platform in a process of its own, a client in another, RabbitMQ and a folder between them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ionbeam.testing.scenario import TEMPERATURE, a_dataset, minutes
from ionbeam_client import IonbeamClient, IonbeamClientConfig
from ionbeam_client.models import DataSetAvailableEvent

pytestmark = pytest.mark.service

START = datetime(2024, 1, 1, 10, tzinfo=UTC)


@pytest.fixture
def platform(tmp_path: Path, rabbit_url: str) -> Iterator[subprocess.Popen[bytes]]:
    config = tmp_path / "config.yaml"
    config.write_text(f"broker: {{url: '{rabbit_url}'}}\ndata_dir: {tmp_path / 'data'}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "ionbeam"], env=os.environ | {"IONBEAM_CONFIG_PATH": str(config)}
    )
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


async def test_a_client_ingests_and_is_handed_the_finished_windows(
    tmp_path: Path, rabbit_url: str, platform: subprocess.Popen[bytes]
) -> None:
    rows: dict[datetime, list[float]] = {}
    complete = asyncio.Event()

    async def export(event: DataSetAvailableEvent, batches: AsyncIterator[pa.RecordBatch]) -> None:
        rows[event.start_time] = [v async for batch in batches for v in batch.column(TEMPERATURE).to_pylist()]
        if len(rows) == 2:
            complete.set()

    async def readings() -> AsyncIterator[pa.Table]:
        yield pa.Table.from_pylist(minutes("2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z"))

    client = IonbeamClient(IonbeamClientConfig(amqp_url=rabbit_url, arrow_store_path=str(tmp_path / "data")))
    client.register_export_handler("everything", export)
    async with client:
        await client.ingest(readings(), a_dataset(), START, START + timedelta(hours=2))
        async with asyncio.timeout(60):
            await complete.wait()

    assert rows[START] == [float(600 + minute) for minute in range(60)]
    assert rows[START + timedelta(hours=1)] == [float(660 + minute) for minute in range(60)]


async def test_a_backfill_in_a_process_of_its_own_tells_projections_elsewhere(
    tmp_path: Path, rabbit_url: str
) -> None:
    told = asyncio.Event()

    async def export(event: DataSetAvailableEvent, _: AsyncIterator[pa.RecordBatch]) -> None:
        assert event.metadata.name == "ioncannon"
        told.set()

    config = tmp_path / "config.yaml"
    config.write_text(
        f"broker: {{url: '{rabbit_url}'}}\n"
        f"data_dir: {tmp_path / 'data'}\n"
        "sources: {ioncannon: {num_stations: 3}}\n"
    )
    client = IonbeamClient(IonbeamClientConfig(amqp_url=rabbit_url, arrow_store_path=str(tmp_path / "data")))
    client.register_export_handler("elsewhere", export, dataset_filter={"ioncannon"})
    span = ["--start", "2024-01-01T00:00:00Z", "--end", "2024-01-01T01:00:00Z"]
    async with client:
        command = [
            sys.executable,
            "-m",
            "ionbeam",
            "source",
            "backfill",
            "ioncannon",
            "-c",
            str(config),
            *span,
        ]
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        async with asyncio.timeout(30):
            await told.wait()


async def test_a_clients_source_is_asked_by_schedule_and_by_hand(tmp_path: Path, rabbit_url: str) -> None:
    """The platform schedules and backfills sources it does not own."""
    asked: asyncio.Queue[tuple[datetime, datetime]] = asyncio.Queue()

    async def fetch(start_time: datetime, end_time: datetime) -> None:
        asked.put_nowait((start_time, end_time))

    config = tmp_path / "config.yaml"
    config.write_text(
        f"broker: {{url: '{rabbit_url}'}}\n"
        f"data_dir: {tmp_path / 'data'}\n"
        "scheduler: {windows: [{source_name: my_source, window_size: PT1H, trigger_interval: P1D}]}\n"
    )
    client = IonbeamClient(IonbeamClientConfig(amqp_url=rabbit_url, arrow_store_path=str(tmp_path / "data")))
    client.register_trigger_handler("my_source", fetch)
    async with client, asyncio.timeout(60):
        ionbeam = [sys.executable, "-m", "ionbeam"]
        up = await asyncio.create_subprocess_exec(*ionbeam, "up", "-c", str(config))
        start, end = await asked.get()
        assert end - start == timedelta(hours=1)
        assert (end.hour, end.minute, end.second) == (0, 0, 0)

        span = ["--start", "2024-01-01T00:00:00Z", "--end", "2024-01-03T00:00:00Z"]
        by_hand = [*ionbeam, "source", "backfill", "my_source", "-c", str(config), *span]
        assert await (await asyncio.create_subprocess_exec(*by_hand)).wait() == 0
        days = sorted([await asked.get(), await asked.get()])
        assert [(first.day, last.day) for first, last in days] == [(1, 2), (2, 3)]
        up.terminate()
        assert await up.wait() == 0
