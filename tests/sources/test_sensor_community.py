import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ionbeam.errors import SourceMalformed, SourceUnavailable
from ionbeam.fetching import HttpFetcher
from ionbeam.observations.registration import register
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import Fetcher, Response
from ionbeam.sources.sensor_community import (
    ARCHIVE,
    METADATA,
    SCHEMA,
    SensorCommunity,
    SensorCommunitySettings,
)
from ionbeam.testing.archive import ArchiveServer
from ionbeam.testing.source_contract import SourceContract

DAY = datetime(2018, 11, 22, tzinfo=UTC)
WHOLE_DAY = TimeSpan(DAY, DAY + timedelta(days=1))
FOLDER = "https://archive.test/2018-11-22/"
RECORDED = Path(__file__).parents[3] / "shared/data/sensor-community"

HEADERS = {
    "sds011": "P1;durP1;ratioP1;P2;durP2;ratioP2",
    "pms5003": "P1;P2;P0",
    "dht22": "temperature;humidity",
    "bmp280": "pressure;altitude;pressure_sealevel;temperature",
    "bme280": "pressure;altitude;pressure_sealevel;temperature;humidity",
    "ds18b20": "temperature",
    "photoresistor": "brightness",
}


def csv_of(kind: str, *rows: str, sensor: int = 1) -> bytes:
    """A file; each row is ``HH:MM:SS;values``."""
    lines = [f"sensor_id;sensor_type;location;lat;lon;timestamp;{HEADERS[kind]}"]
    lines += [f"{sensor};{kind.upper()};99;57.1;-2.1;2018-11-22T{row}" for row in rows]
    return "\n".join([*lines, ""]).encode()


def page_of(*names: str) -> str:
    return "<html>" + "".join(f'<a href="{name}">{name}</a>' for name in names) + "</html>"


class FakeFetcher:
    """Answers from a dict of addresses; what is not in there is 404."""

    def __init__(self, files: dict[str, bytes], folder: str = FOLDER) -> None:
        self.content = {folder + name: content for name, content in files.items()}
        if files:
            self.content.setdefault(folder, page_of(*files).encode())
        self.asked: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    async def get(self, url: str) -> Response:
        self.asked.append(url)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        content = self.content.get(url)
        return Response(404, {}, b"") if content is None else Response(200, {}, content)


def source_on(fetcher: Fetcher, **settings: object) -> SensorCommunity:
    given = {"base_url": "https://archive.test", **settings}
    return SensorCommunity(SensorCommunitySettings.model_validate(given), fetcher)


async def fetched(files: dict[str, bytes], span: TimeSpan = WHOLE_DAY) -> list[dict[str, object]]:
    batches = [batch async for batch in source_on(FakeFetcher(files)).fetch(span)]
    assert all(batch.schema == SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def name_of(kind: str, sensor: int = 1, ending: str = ".csv") -> str:
    return f"2018-11-22_{kind}_sensor_{sensor}{ending}"


class TestSensorCommunity(SourceContract):
    span = WHOLE_DAY

    @pytest.fixture
    def source(self) -> SensorCommunity:
        files = {
            name_of("dht22", 1): csv_of("dht22", "00:00:00;1.5;80", "06:00:00;2;81", "23:59:59;3;", sensor=1),
            name_of("sds011", 2): csv_of("sds011", "05:59:59;1;;;2;;", "14:24:00;1;;;2;;", sensor=2),
        }
        return source_on(FakeFetcher(files))


# What a file says


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        ("sds011", "5.43;;;5.33;;", {"P1": "5.43", "P2": "5.33"}),
        ("pms5003", "3;2;1", {"P1": "3", "P2": "2", "P0": "1"}),
        ("dht22", "11.10;68.90", {"temperature": "11.10", "humidity": "68.90"}),
        (
            "bmp280",
            "99000;;101000.5;4",
            {"pressure": "99000", "pressure_sealevel": "101000.5", "temperature": "4"},
        ),
        (
            "bme280",
            "97989.31;;;14.02;61.77",
            {"pressure": "97989.31", "temperature": "14.02", "humidity": "61.77"},
        ),
        ("ds18b20", "-0.5", {"temperature": "-0.5"}),
    ],
)
async def test_every_type_of_sensor_is_read(kind: str, row: str, expected: dict[str, str]):
    (only,) = await fetched({name_of(kind): csv_of(kind, f"01:02:03;{row}")})
    values = {v.column: only[v.column] for v in METADATA.ingestion_map.canonical_variables}
    assert {column: value for column, value in values.items() if value is not None} == expected
    assert only["timestamp"] == datetime(2018, 11, 22, 1, 2, 3, tzinfo=UTC)
    assert (only["sensor_id"], only["sensor_type"]) == ("1", kind.upper())
    assert (only["lat"], only["lon"]) == ("57.1", "-2.1")


@pytest.mark.parametrize("missing", ["", "unknown", "unavailable", "nan"])
async def test_every_spelling_of_missing_is_null(missing: str):
    (only,) = await fetched({name_of("dht22"): csv_of("dht22", f"00:00:00;{missing};50")})
    assert only["temperature"] is None
    assert only["humidity"] == "50"


async def test_a_sensor_of_other_things_has_no_observations():
    assert await fetched({name_of("photoresistor"): csv_of("photoresistor", "00:00:00;17")}) == []


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
async def test_a_file_with_a_header_alone_is_fine(ending: bytes):
    assert await fetched({name_of("dht22"): csv_of("dht22").rstrip() + ending}) == []


async def test_one_number_that_cannot_be_read_costs_no_other_row():
    rows = await fetched(
        {name_of("dht22"): csv_of("dht22", "00:00:00;1,5;50", "00:01:00;oops;51", "00:02:00;2;52")}
    )
    assert [row["temperature"] for row in rows] == ["1,5", "oops", "2"]


async def test_a_time_that_cannot_be_read_is_null_and_comes_with_the_start_of_the_day():
    files = {name_of("dht22"): csv_of("dht22", "00:00:00;1;50", "25:61:00;2;51", "12:00:00;3;52")}
    morning, evening = (
        TimeSpan(DAY, DAY + timedelta(hours=6)),
        TimeSpan(DAY + timedelta(hours=6), WHOLE_DAY.end),
    )
    assert [row["timestamp"] for row in await fetched(files, morning)] == [DAY, None]
    assert [row["temperature"] for row in await fetched(files, evening)] == ["3"]


async def test_a_zone_given_all_the_same_is_understood():
    text = csv_of("dht22", "12:00:00+02:00;1;50", "12:00:00.5;2;51")
    rows = await fetched({name_of("dht22"): text})
    assert [row["timestamp"].isoformat() for row in rows] == [
        "2018-11-22T10:00:00+00:00",
        "2018-11-22T12:00:00.500000+00:00",
    ]


@pytest.mark.parametrize("line", ["7;DHT22;99;57.1", "1;DHT22;99;57.1;-2.1;2018-11-22T00:01:00;1;2;3"])
async def test_a_broken_line_is_passed_on_without_a_time(line: str):
    text = (
        csv_of("dht22", "00:00:00;1;50")
        + line.encode()
        + b"\n"
        + csv_of("dht22", "00:02:00;2;51").split(b"\n")[1]
    )
    rows = await fetched({name_of("dht22"): text})
    assert [row["temperature"] for row in rows if row["timestamp"]] == ["1", "2"]
    (broken,) = (row for row in rows if row["timestamp"] is None)
    assert broken["sensor_id"] == line[0]


async def test_quotes_bytes_that_are_no_text_and_a_byte_order_mark_do_no_harm():
    text = b"\xef\xbb\xbf" + csv_of("dht22", '00:00:00;"1;50', "00:01:00;?;51").replace(b"?", b"\xff")
    assert [row["humidity"] for row in await fetched({name_of("dht22"): text})] == ["50", "51"]


async def test_the_first_bytes_tell_whether_a_file_is_compressed():
    text = csv_of("dht22", "00:00:00;1;50")
    files = {
        name_of("dht22", 1, ".csv.gz"): gzip.compress(text),
        name_of("dht22", 2, ".csv.gz"): text,
        name_of("dht22", 3, ".csv"): gzip.compress(text),
    }
    assert len(await fetched(files)) == 3


@pytest.mark.parametrize(
    "content", [b"", b"<html>busy</html>", gzip.compress(b"x" * 99)[:-9], b"\x1f\x8bxyz"]
)
async def test_what_is_no_file_of_the_archive_fails_the_fetch(content: bytes):
    with pytest.raises(SourceMalformed):
        await fetched({name_of("dht22"): content, name_of("dht22", 2): csv_of("dht22", "00:00:00;1;2")})


# Which files there are


@pytest.mark.parametrize(
    "link",
    [
        '<td><a href="{}">x</a></td>',
        "<A HREF='{}'>x</A>",
        "<a class=f href={}>x</a>",
        '<a href="/2018-11-22/{}">x</a>',
        '<a href="https://archive.test/2018-11-22/{}">',
    ],
)
async def test_a_listing_is_read_by_its_links_whatever_is_around_them(link: str):
    fetcher = FakeFetcher({name_of("dht22", 5, "_indoor.csv"): csv_of("dht22", "00:00:00;1;2")})
    noise = (
        '<a href="?C=N;O=D">Name</a><a href="/">Parent</a><a href="2018-11-21_dht22_sensor_5.csv">other</a>'
    )
    fetcher.content[FOLDER] = (noise + link.format(name_of("dht22", 5, "_indoor.csv"))).encode()
    assert len([batch async for batch in source_on(fetcher).fetch(WHOLE_DAY)]) == 1
    assert fetcher.asked == [FOLDER, FOLDER + name_of("dht22", 5, "_indoor.csv")]


async def test_a_file_offered_in_two_forms_is_fetched_once():
    text = csv_of("dht22", "00:00:00;1;2")
    assert (
        len(await fetched({name_of("dht22"): text, name_of("dht22", ending=".csv.gz"): gzip.compress(text)}))
        == 1
    )


async def test_a_past_year_is_found_in_its_folder_and_looked_for_there_next_time():
    folder = "https://archive.test/2018/2018-11-22/"
    fetcher = FakeFetcher({name_of("dht22"): csv_of("dht22", "00:00:00;1;2")}, folder)
    source = source_on(fetcher)
    for _ in range(2):
        assert [batch.num_rows async for batch in source.fetch(WHOLE_DAY)] == [1]
    assert fetcher.asked == [FOLDER, folder, folder + name_of("dht22"), folder, folder + name_of("dht22")]


async def test_a_day_that_is_not_there_is_unavailable_rather_than_empty():
    with pytest.raises(SourceUnavailable, match="not be published yet"):
        await fetched({})


async def test_a_listing_without_files_is_unavailable_rather_than_empty():
    fetcher = FakeFetcher({})
    fetcher.content[FOLDER] = page_of("2018-11-21_dht22_sensor_5.csv").encode()
    with pytest.raises(SourceUnavailable, match="lists no files"):
        [batch async for batch in source_on(fetcher).fetch(WHOLE_DAY)]


async def test_one_missing_day_fails_the_whole_span():
    two_days = TimeSpan(DAY, DAY + timedelta(days=2))
    with pytest.raises(SourceUnavailable, match="2018-11-23"):
        await fetched({name_of("dht22"): csv_of("dht22", "00:00:00;1;2")}, two_days)


async def test_a_listed_file_that_is_gone_fails_the_fetch():
    fetcher = FakeFetcher({name_of("dht22"): csv_of("dht22", "00:00:00;1;2")})
    fetcher.content[FOLDER] = page_of(name_of("dht22"), name_of("dht22", 2)).encode()
    with pytest.raises(SourceUnavailable, match="listed but not there"):
        [batch async for batch in source_on(fetcher).fetch(WHOLE_DAY)]


async def test_a_span_that_ends_at_midnight_does_not_ask_for_the_day_after():
    fetcher = FakeFetcher({name_of("dht22"): csv_of("dht22", "00:00:00;1;2")})
    [batch async for batch in source_on(fetcher).fetch(WHOLE_DAY)]
    assert not [url for url in fetcher.asked if "2018-11-23" in url]


async def test_files_are_fetched_a_few_at_a_time_and_delivered_in_the_order_of_the_listing():
    files = {name_of("dht22", n): csv_of("dht22", "00:00:00;1;2", sensor=n) for n in range(40, 0, -1)}
    fetcher = FakeFetcher(files)
    batches = [batch async for batch in source_on(fetcher, concurrency=3).fetch(WHOLE_DAY)]
    assert [row["sensor_id"] for batch in batches for row in batch.to_pylist()] == [
        str(n) for n in range(40, 0, -1)
    ]
    assert 1 < fetcher.most_under_way <= 3


async def test_a_failure_leaves_no_fetch_running():
    files = {name_of("dht22", n): csv_of("dht22", "00:00:00;1;2", sensor=n) for n in range(1, 20)}
    with pytest.raises(SourceMalformed):
        await fetched({name_of("dht22", 0): b"", **files})
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_many_rows_come_in_batches_of_at_most_65536():
    rows = [f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02};1;2" for n in range(40_000)]
    fetcher = FakeFetcher({name_of("dht22", n): csv_of("dht22", *rows, sensor=n) for n in range(3)})
    sizes = [batch.num_rows async for batch in source_on(fetcher).fetch(WHOLE_DAY)]
    assert sum(sizes) == 120_000
    assert max(sizes) <= 65_536
    assert len(sizes) <= 4


# What it is


def test_the_map_needs_no_repair_and_humidity_is_in_percent():
    assert register(METADATA).metadata == METADATA
    units = {v.column: v.cf_unit for v in METADATA.ingestion_map.canonical_variables}
    assert units["humidity"] == "%"
    assert METADATA.ingestion_map.identity_columns() == ["sensor_id", "sensor_type"]


@pytest.mark.parametrize("address", ["", "https://archive.sensor.community/"])
def test_the_address_is_the_public_archive_unless_another_is_given(address: str):
    assert SensorCommunitySettings(base_url=address).base_url == ARCHIVE


# The recorded days

PER_DAY = [8672, 8610, 8642, 8580, 8562, 8628, 8525]


@pytest.fixture
async def fetcher(tmp_path: Path) -> AsyncIterator[HttpFetcher]:
    fetcher = HttpFetcher(tmp_path)
    yield fetcher
    await fetcher.close()


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"needs the recorded days in {RECORDED}")
@pytest.mark.parametrize(("gzipped", "year_folders"), [(False, False), (True, True)])
async def test_seven_recorded_days_hold_their_60219_observations(
    fetcher: HttpFetcher, gzipped: bool, year_folders: bool
):
    with ArchiveServer(RECORDED, gzipped=gzipped, year_folders=year_folders) as archive:
        source = source_on(fetcher, base_url=archive.url)
        days = [TimeSpan(DAY + timedelta(days=n), DAY + timedelta(days=n + 1)) for n in range(7)]
        tables = [pa.Table.from_batches([b async for b in source.fetch(day)], SCHEMA) for day in days]
        assert [table.num_rows for table in tables] == PER_DAY
        kinds = Counter(pa.concat_tables(tables)["sensor_type"].to_pylist())
        assert kinds == {"SDS011": 27_979, "DHT22": 20_088, "BME280": 12_152}
        again = [batch async for batch in source.fetch(TimeSpan(DAY, DAY + timedelta(days=7)))]
        assert pa.Table.from_batches(again).equals(pa.concat_tables(tables))
        assert archive.answers[304] == 105
        assert archive.answers[404] == (1 if year_folders else 0)
