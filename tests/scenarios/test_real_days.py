"""The seven recorded days of the Sensor.Community archive, end to end."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import duckdb
import pytest

from ionbeam.observations.timespan import TimeSpan, parse_time
from ionbeam.testing.archive import ArchiveServer
from ionbeam.testing.scenario import Scenario, a_platform

SEVEN_DAYS = Path(__file__).parents[2] / "../shared/data/sensor-community"
SPAN = TimeSpan(parse_time("2018-11-22T00:00:00Z"), parse_time("2018-11-29T00:00:00Z"))
DATASET = "sensor.community"

pytestmark = pytest.mark.skipif(
    not SEVEN_DAYS.is_dir(), reason=f"the recorded archive is not at {SEVEN_DAYS}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SEVEN_DAYS, tmp_path / "archive"))


@pytest.fixture
def archive(folder: Path) -> Iterator[ArchiveServer]:
    with ArchiveServer(folder) as server:
        yield server


@pytest.fixture
async def story(tmp_path: Path, archive: ArchiveServer) -> AsyncIterator[Scenario]:
    config = f"sources: {{sensor_community: {{base_url: '{archive.url}'}}}}"
    async with a_platform(tmp_path, now="2018-12-01T00:00:00Z", config=config) as scenario:
        yield scenario


async def revisions(story: Scenario) -> dict[str, int]:
    return {w.key.id: w.revision.number for w in await story.windows(DATASET) if w.revision}


async def test_seven_days_become_168_windows_and_one_changed_row_revises_one(
    story: Scenario, folder: Path
) -> None:
    answers = await story.platform.backfill("sensor_community", SPAN)
    assert [answer.failure for answer in answers] == [""] * 7
    built = await story.built(DATASET)
    assert (len(built), sum(built.values())) == (168, 60_219)
    assert set((await revisions(story)).values()) == {1}
    line = (await story.state.ingestions.books())[0]
    assert line.closes
    assert (line.tally.received, line.tally.stored, line.pending) == (60_219, 60_219, 0)

    files = str(story.platform.stores.datasets_root / "sensor.community_*_PT1H.parquet")
    query = "SELECT sensor_type, count(*) FROM read_parquet(?) GROUP BY 1 ORDER BY 1"
    assert duckdb.execute(query, [files]).fetchall() == [
        ("BME280", 12_152),
        ("DHT22", 20_088),
        ("SDS011", 27_979),
    ]

    await story.platform.backfill("sensor_community", SPAN)
    assert set((await revisions(story)).values()) == {1}

    changed = folder / "2018-11-24/2018-11-24_dht22_sensor_5332.csv"
    lines = changed.read_text().splitlines()
    columns = lines[300].split(";")
    columns[-2] = str(float(columns[-2]) + 1)
    lines[300] = ";".join(columns)
    changed.write_text("\n".join(lines) + "\n")
    await story.platform.backfill("sensor_community", SPAN)
    revised = {window for window, number in (await revisions(story)).items() if number == 2}
    assert revised == {f"{columns[5][:13]}:00:00+00:00_PT1H"}
    assert sum((await story.built(DATASET)).values()) == 60_219
    assert len(story.events) == 169


async def test_a_failed_listing_is_no_coverage(story: Scenario, folder: Path) -> None:
    shutil.rmtree(folder / "2018-11-25")
    answers = await story.platform.backfill("sensor_community", SPAN)
    assert [bool(answer.failure) for answer in answers] == [False, False, False, True, False, False, False]
    assert len(await story.built(DATASET)) == 144
    coverage = await story.state.datasets.coverage(DATASET)
    assert [str(span.start.date()) for span in coverage] == ["2018-11-22", "2018-11-26"]
