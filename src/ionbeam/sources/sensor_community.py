"""Sensor.Community: citizen sensors for particulate matter and weather, from the daily archive.

::

    Network   Sensor.Community (once luftdaten.info): some ten thousand low-cost sensors world-wide.
    Licence   Database Contents License (DbCL) 1.0.
    Where     https://archive.sensor.community/YYYY-MM-DD/, past years under /YYYY/YYYY-MM-DD/. One
              file per sensor and day, {date}_{type}_sensor_{id}[_indoor].csv, gzipped in old years.
    Cadence   A whole day at once, in the morning (UTC) after; a reading every two to three minutes.
    Limits    None published. Files are fetched a few at a time, and again only when they changed.
    Quirks    Times are UTC without saying so. Missing values are empty, unknown, unavailable or
              nan. A box with two sensors has two ids and two files. Humidity is in percent. P0, P1
              and P2 are PM1, PM10 and PM2.5. Files of sensors that measure none of our variables
              (noise, light) hold nothing for this dataset.

All but the time is passed on as the text the archive holds: what cannot be read as a number is for
ingestion to refuse, row by row, and so no content changes a batch's schema. A line that is broken,
or whose time cannot be read, is passed on without a time, at the start of its day.
"""

import asyncio
import gzip
import html
import io
import re
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pydantic import BaseModel, Field, field_validator

from ionbeam.errors import SourceMalformed, SourceUnavailable
from ionbeam.observations.columns import TIME_TYPE, raw_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata, Link
from ionbeam.observations.timespan import TimeSpan, windows_over
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)
from ionbeam.ports import Fetcher

ARCHIVE = "https://archive.sensor.community"
DAY = timedelta(days=1)

DATASET = DatasetMetadata(
    name="sensor.community",
    description="Particulate matter, temperature, humidity and pressure from citizen sensors",
    aggregation_span=timedelta(hours=1),
    subject_to_change_window=DAY,
    source_links=[Link(mime_type="text/html", title="Sensor.Community archive", href=ARCHIVE)],
    keywords=["air quality", "particulate matter", "weather", "citizen science"],
)

_PARTICLES = "mass_concentration_of_{}_ambient_aerosol_in_air"
VARIABLES = [
    CanonicalVariable(column=column, standard_name=standard_name, cf_unit=unit)
    for column, standard_name, unit in (
        ("temperature", "air_temperature", "degC"),
        ("humidity", "relative_humidity", "%"),
        ("pressure", "air_pressure", "Pa"),
        ("pressure_sealevel", "air_pressure_at_mean_sea_level", "Pa"),
        ("P0", _PARTICLES.format("pm1"), "ug m-3"),
        ("P1", _PARTICLES.format("pm10"), "ug m-3"),
        ("P2", _PARTICLES.format("pm2p5"), "ug m-3"),
    )
]
METADATA = IngestionMetadata(
    dataset=DATASET,
    ingestion_map=DataIngestionMap(
        datetime=TimeAxis(from_col="timestamp"),
        lat=LatitudeAxis(standard_name="latitude", cf_unit="degrees_north"),
        lon=LongitudeAxis(standard_name="longitude", cf_unit="degrees_east"),
        canonical_variables=VARIABLES,
        metadata_variables=[
            MetadataVariable(column="sensor_id", dtype="int32"),
            MetadataVariable(column="sensor_type"),
        ],
    ),
)

TIME = "timestamp"
COLUMNS = raw_schema(METADATA.ingestion_map).names
SCHEMA = pa.schema([pa.field(name, TIME_TYPE if name == TIME else pa.string()) for name in COLUMNS])
_TEXT = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])
_MISSING = ["", "unknown", "unavailable", "nan", "NaN", "Unknown", "Unavailable"]
_INSTANT = pa.timestamp("us", tz="UTC")

_HREF = re.compile(r"""\bhref\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_FILE = re.compile(r"(?P<stem>(?P<date>\d{4}-\d{2}-\d{2})_.+_sensor_\d+(?:_indoor)?)\.csv(?:\.gz)?")
_FOLDERS = ("{day:%Y-%m-%d}/", "{day:%Y}/{day:%Y-%m-%d}/")
_BATCH_ROWS = 65_536
_MAX_FILE_BYTES = 256 * 2**20


class SensorCommunitySettings(BaseModel):
    """The block ``sensor_community`` of the configuration."""

    base_url: str = ARCHIVE
    """Where the archive is; empty means the public one."""
    timeout_seconds: float = Field(default=60, gt=0)
    """How long one request may stay without an answer."""
    concurrency: int = Field(default=10, ge=1)
    """Files under way at once."""
    use_cache: bool = False
    """Answer from the fetch cache alone."""
    data_path: Path | None = None
    """Accepted and without effect."""

    @field_validator("base_url")
    @classmethod
    def _usable(cls, value: str) -> str:
        return value.strip().rstrip("/") or ARCHIVE


class SensorCommunity:
    """The archive as a source: a span is answered from the files of every UTC day it touches."""

    name = "sensor_community"
    metadata = METADATA
    settings_model = SensorCommunitySettings
    max_span = DAY

    def __init__(self, settings: SensorCommunitySettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._folder_of_year: dict[int, str] = {}

    async def fetch(self, span: TimeSpan) -> AsyncIterator[pa.RecordBatch]:
        """Batches of ``SCHEMA`` with at most 65 536 rows, in the order of the archive's listing.

        `SourceUnavailable` when a day is not published or a file cannot be had, `SourceMalformed`
        when a file is none of the archive's: nothing of such a fetch covers anything.
        """
        gathered: list[pa.Table] = []
        rows = 0
        async with aclosing(self._tables(span)) as tables:
            async for table in tables:
                gathered.append(table)
                rows += table.num_rows
                if rows >= _BATCH_ROWS:
                    for batch in _batches(gathered):
                        yield batch
                    gathered, rows = [], 0
        for batch in _batches(gathered):
            yield batch

    async def _tables(self, span: TimeSpan) -> AsyncGenerator[pa.Table, None]:
        """One table per file, in listing order, with a few files on their way at any time."""
        under_way: deque[asyncio.Task[pa.Table]] = deque()
        days = windows_over(span, DAY) if span.length else ()
        try:
            for day in days:
                for url in await self._listing(day.start):
                    under_way.append(asyncio.create_task(self._table(url, day.start, span)))
                    if len(under_way) >= self._settings.concurrency:
                        yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _listing(self, day: datetime) -> list[str]:
        """The addresses of a day's files; tries first the folder that served this year before."""
        known = self._folder_of_year.get(day.year)
        for folder in sorted(_FOLDERS, key=lambda form: form != known):
            url = f"{self._settings.base_url}/{folder.format(day=day)}"
            answer = await self._fetcher.get(url)
            if answer.status == 404:
                continue
            files = _files(answer.text, f"{day:%Y-%m-%d}")
            if not files:
                raise SourceUnavailable(f"{url} lists no files of that day; it may not be published yet")
            self._folder_of_year[day.year] = folder
            return [url + quote(name) for name in files]
        raise SourceUnavailable(
            f"{self._settings.base_url} has no folder for {day:%Y-%m-%d}; it may not be published yet"
        )

    async def _table(self, url: str, day: datetime, span: TimeSpan) -> pa.Table:
        answer = await self._fetcher.get(url)
        if answer.status == 404:
            raise SourceUnavailable(f"{url} is listed but not there")
        return await asyncio.to_thread(_read, answer.content, url, day, span)


def _batches(tables: list[pa.Table]) -> list[pa.RecordBatch]:
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
    return [batch for batch in whole.to_batches(_BATCH_ROWS) if batch.num_rows]


def _files(page: str, date: str) -> list[str]:
    """The names of a day's files as a directory page links them, one per sensor."""
    names = (unquote(html.unescape(href)).rpartition("/")[2] for href in _HREF.findall(page))
    matches = (match for name in names if (match := _FILE.fullmatch(name)) and match["date"] == date)
    by_sensor: dict[str, str] = {}
    for match in matches:
        by_sensor.setdefault(match["stem"], match.string)
    return list(by_sensor.values())


def _read(content: bytes, url: str, day: datetime, span: TimeSpan) -> pa.Table:
    """A file's rows inside ``span``, as ``SCHEMA``."""
    text = _plain(content, url).decode("utf-8-sig", errors="replace")
    first, _, body = text.partition("\n")
    header = first.strip().split(";")
    if not {"sensor_id", TIME, "lat", "lon"} <= set(header):
        raise SourceMalformed(f"{url} does not start with the archive's header but with {text[:80]!r}")
    if not body.strip() or not {variable.column for variable in VARIABLES} & set(header):
        return SCHEMA.empty_table()
    table = _rows(body, header, url)
    times = _times(table[TIME])
    inside = pc.and_(
        pc.greater_equal(times, pa.scalar(span.start, _INSTANT)),
        pc.less(times, pa.scalar(span.end, _INSTANT)),
    )
    # Rows without a time belong to the start of their day, so that one span alone delivers them.
    chosen = pc.fill_null(inside, span.start <= day < span.end)
    table = table.set_column(table.schema.get_field_index(TIME), pa.field(TIME, _INSTANT), times)
    return table.filter(chosen).cast(SCHEMA)


def _plain(content: bytes, url: str) -> bytes:
    """The file without compression, which its first bytes tell better than its name."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MAX_FILE_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise SourceMalformed(f"{url} is damaged: {error}") from error
    if len(plain) > _MAX_FILE_BYTES:
        raise SourceMalformed(f"{url} unpacks to more than {_MAX_FILE_BYTES} bytes")
    return plain


def _rows(body: str, header: list[str], url: str) -> pa.Table:
    """All rows as text, absent columns null; lines with the wrong number of fields come last."""
    broken: list[str] = []

    def put_aside(row: csv.InvalidRow) -> str:
        broken.append(row.text)
        return "skip"

    try:
        table = csv.read_csv(
            pa.BufferReader(body.encode()),
            read_options=csv.ReadOptions(use_threads=False, column_names=header),
            parse_options=csv.ParseOptions(
                delimiter=";", quote_char=False, invalid_row_handler=put_aside, newlines_in_values=False
            ),
            convert_options=csv.ConvertOptions(
                include_columns=COLUMNS,
                include_missing_columns=True,
                column_types=_TEXT,
                null_values=_MISSING,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise SourceMalformed(f"{url} is no table: {error}") from error
    fields = [dict(zip(header, line.split(";"), strict=False)) | {TIME: None} for line in broken]
    return pa.concat_tables([table, pa.Table.from_pylist(fields, schema=_TEXT)])


def _times(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """The archive's times in UTC, null where they cannot be read."""
    try:
        return text.cast(pa.timestamp("us")).cast(_INSTANT)
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array([_time(value) for value in text.to_pylist()], _INSTANT)])


def _time(text: str | None) -> datetime | None:
    try:
        value = datetime.fromisoformat(text or "")
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
