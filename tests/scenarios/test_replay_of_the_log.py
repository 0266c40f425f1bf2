"""The event log says how conflicts were settled: told again in its order, it makes the same windows."""

import random
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbeam.ingestion import ingest
from ionbeam.ingestion.payload import write_payload
from ionbeam.messages.codec import decode
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, parse_time
from ionbeam.testing.scenario import Scenario, a_dataset, a_platform, a_row

SPAN = ("2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z")
OLD = a_dataset(metadata=("station_id", "T_qc"))
NEW = a_dataset(metadata=("station_id", "T_qc", "owner"), identity=["station_id"], version=2)


def deliveries(draw: random.Random, count: int) -> list[list[dict[str, Any]]]:
    """Deliveries that contradict each other about the same few observations, nulls and all."""
    return [
        [
            a_row(
                f"2024-01-01T{draw.choice([10, 11])}:0{draw.randrange(4)}:00Z",
                draw.choice(["A", "B", None]),
                T=draw.choice([None, 0.0, -0.0, 1.0, 2.0]),
                RH=draw.choice([None, 10.0, 20.0]),
                T_qc=draw.choice([None, "0", "3"]),
                owner=draw.choice([None, "me", "you"]),
                lat=draw.choice([50.0, 51.0]),
            )
            for _ in range(draw.randrange(1, 12))
        ]
        for _ in range(count)
    ]


SCHEMA = pa.schema(
    [
        ("time", pa.string()),
        *((name, pa.float64()) for name in ("lat", "lon", "T", "RH")),
        *((name, pa.string()) for name in ("station_id", "T_qc", "owner")),
    ]
)


async def replayed(
    original: Path, folder: Path, config: str = "", *, settle: bool = True
) -> dict[str, bytes]:
    """The windows a fresh platform makes of the payloads and the log of another one."""
    shutil.copytree(original / "raw", folder / "raw")
    async with a_platform(original) as story:
        log = [entry async for entry in story.state.log.read(kind=IngestDataCommand.__name__)]
    async with a_platform(folder, now="2031-01-01T00:00:00Z") as story:
        for entry in log:
            await story.tell(decode(IngestDataCommand, entry.body))
            if settle:
                await story.settle()
        await story.settle()
        return await story.files()


async def accepted(
    story: Scenario, number: int, rows: list[dict[str, Any]], metadata: IngestionMetadata
) -> IngestDataCommand:
    """An order that stands in the log and is not told yet."""
    span = TimeSpan(*map(parse_time, SPAN))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    payload = await write_payload(story.platform.stores.objects, "story", span, [table])
    command = IngestDataCommand(
        id=UUID(int=number),
        metadata=metadata,
        payload_location=payload.location,
        start_time=span.start,
        end_time=span.end,
    )
    await story.state.log.append(command)
    return command


async def lived(folder: Path, draw: random.Random, count: int, config: str) -> dict[str, bytes]:
    """The windows after a day of contradictions, told out of order and some of them twice."""
    every = deliveries(draw, count)
    every += [[row | {"owner": None} for row in rows] for rows in every[:2]]
    async with a_platform(folder, config=config) as story:
        commands: list[IngestDataCommand] = []
        while len(commands) < len(every):
            news = []
            for rows in every[len(commands) : len(commands) + draw.randrange(1, 4)]:
                news.append(await accepted(story, len(commands) + len(news), rows, draw.choice([OLD, NEW])))
            commands += news
            again = draw.sample(commands, len(commands) // 2)
            for command in draw.sample([*news, *again], len(news) + len(again)):
                await story.tell(command)
                if draw.random() < 0.5:
                    await story.settle()
            await story.settle()
        return await story.files()


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(2, 7),
    deletes=st.booleans(),
    settle=st.booleans(),
    piece=st.sampled_from([1 << 19, 3]),
)
async def test_the_log_makes_the_same_windows_again(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, deletes: bool, settle: bool, piece: int
) -> None:
    original, fresh = tmp_path_factory.mktemp("original"), tmp_path_factory.mktemp("fresh")
    config = f"dataset_aggregator: {{delete_after_export: {str(deletes).lower()}}}"
    files = await lived(original, random.Random(seed), count, config)
    assert len(files) in {1, 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "PIECE_ROWS", piece)
        assert await replayed(original, fresh, settle=settle) == files


async def test_the_order_of_acceptance_is_what_counts(tmp_path: Path) -> None:
    """Two claims on one observation, delivered in the other order than they were accepted."""
    for name in ("original", "reversed", "fresh"):
        (tmp_path / name).mkdir()
    rows = [[a_row("2024-01-01T10:05:00Z", T=value)] for value in (1.0, 2.0)]
    async with a_platform(tmp_path / "original") as story:
        for number, delivery in enumerate(rows):
            await story.ingest(delivery, *SPAN, ingestion_id=UUID(int=number))
        first = await story.files()
    async with a_platform(tmp_path / "reversed") as story:
        for number in (1, 0):
            await story.ingest(rows[number], *SPAN, ingestion_id=UUID(int=number))
        assert await story.files() != first
    assert await replayed(tmp_path / "original", tmp_path / "fresh") == first
