"""What a window holds does not depend on how its observations came: order, cuts, repetitions."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbeam.aggregation import builder, window_file
from ionbeam.ingestion import ingest
from ionbeam.testing.scenario import Scenario, a_dataset, a_platform, a_row

SPAN = ("2024-01-01T10:00:00Z", "2024-01-01T12:30:00Z")
DATASET = a_dataset(span="PT30M", metadata=("station_id", "floor", "T_qc"))
SCHEMA = pa.schema(
    [
        ("time", pa.string()),
        *((name, pa.float64()) for name in ("lat", "lon", "T", "RH")),
        *((name, pa.string()) for name in ("station_id", "floor", "T_qc")),
    ]
)


def observations() -> list[dict[str, Any]]:
    """Rows that agree with each other: some of the same observation, each with a part of its fields."""
    draw = random.Random(2018)
    rows: list[dict[str, Any]] = []
    for minute in range(0, 150, 6):
        for station in ("A", "B", None):
            second = draw.choice(["00", "30.5", "59.999999999"])
            time = f"2024-01-01T{10 + minute // 60}:{minute % 60:02}:{second}Z"
            position = {"lat": None, "lon": None} if draw.random() < 0.1 else {"lat": 50.0, "lon": 7.25}
            whole = a_row(time, station, T=draw.choice([-0.0, 1.5, 20.25]), RH=float(draw.randrange(100)))
            whole |= position | {"floor": draw.choice([None, "1"]), "T_qc": draw.choice([None, "0", "2"])}
            if draw.random() < 0.2:
                rows += [whole | {"T": None, "T_qc": None}, whole | {"RH": None}]
            else:
                rows.append(whole)
    return rows


ROWS = observations()


async def told(story: Scenario, deliveries: list[list[dict[str, Any]]], *, at_once: bool) -> dict[str, bytes]:
    """The windows after every delivery has come; each claims the whole span."""
    for rows in deliveries:
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        await story.ingest(table, *SPAN, DATASET, settle=not at_once)
    await story.settle()
    return await story.files()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The windows when everything comes in one piece."""

    async def once() -> dict[str, bytes]:
        async with a_platform(tmp_path_factory.mktemp("undisturbed")) as story:
            return await told(story, [ROWS], at_once=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_file, "ROW_GROUP_ROWS", 8)
        return asyncio.run(once())


def test_there_is_something_to_compare(undisturbed: dict[str, bytes]) -> None:
    assert len(undisturbed) == 5
    assert len(set(undisturbed.values())) == 5


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32),
    parts=st.integers(1, 6),
    repeated=st.integers(0, 3),
    piece=st.sampled_from([1 << 19, 31, 10]),
    slice_rows=st.sampled_from([1 << 21, 7]),
    at_once=st.booleans(),
    deletes=st.booleans(),
)
async def test_order_cuts_and_repetitions_leave_no_trace(
    undisturbed: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    parts: int,
    repeated: int,
    piece: int,
    slice_rows: int,
    at_once: bool,
    deletes: bool,
) -> None:
    draw = random.Random(seed)
    rows = draw.sample(ROWS, len(ROWS))
    deliveries = [rows[part::parts] for part in range(parts)]
    deliveries += [draw.sample(ROWS, draw.randrange(1, len(ROWS))) for _ in range(repeated)]
    draw.shuffle(deliveries)
    config = f"dataset_aggregator: {{delete_after_export: {str(deletes).lower()}}}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_file, "ROW_GROUP_ROWS", 8)
        patch.setattr(ingest, "PIECE_ROWS", piece)
        patch.setattr(builder, "SLICE_ROWS", slice_rows)
        async with a_platform(tmp_path_factory.mktemp("story"), config=config) as story:
            assert await told(story, deliveries, at_once=at_once) == undisturbed
            assert all(line.closes for line in await story.state.ingestions.books())


async def test_the_same_commands_delivered_twice_in_any_order_change_nothing(tmp_path: Path) -> None:
    async with a_platform(tmp_path) as story:
        commands = [
            await story.ingest(pa.Table.from_pylist(ROWS[part::3], schema=SCHEMA), *SPAN, DATASET)
            for part in range(3)
        ]
        files, events = await story.files(), len(story.events)
        books = await story.state.ingestions.books()
        for command in [*commands[::-1], *commands]:
            await story.tell(command)
        await story.settle()
        assert await story.files() == files
        assert len(story.events) == events
        assert await story.state.ingestions.books() == books
