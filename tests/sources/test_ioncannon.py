from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ionbeam.observations.columns import raw_schema
from ionbeam.observations.registration import register
from ionbeam.observations.timespan import TimeSpan, align
from ionbeam.sources.ioncannon import METADATA, VARIABLES, IonCannon, IonCannonSettings
from ionbeam.sources.ioncannon.draws import Draws
from ionbeam.sources.ioncannon.weather import Places, observe
from ionbeam.testing.source_contract import SourceContract

HOUR = timedelta(hours=1)
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
FAULTS = {"late_share": 0.3, "gap_share": 0.1, "duplicate_share": 0.1, "malformed_share": 0.1}


def cannon(**settings: Any) -> IonCannon:
    return IonCannon(IonCannonSettings.model_validate({"num_stations": 20, **settings}))


async def table(source: IonCannon, start: datetime, length: timedelta) -> pa.Table:
    batches = [batch async for batch in source.fetch(TimeSpan(start, start + length))]
    return pa.Table.from_batches(batches, raw_schema(METADATA.ingestion_map))


def counted(rows: pa.Table) -> Counter[str]:
    return Counter(map(repr, rows.to_pylist()))


def column(rows: pa.Table, quantity: str) -> np.ndarray:
    return rows[VARIABLES[quantity].column].to_numpy()


class TestIonCannon(SourceContract):
    span = TimeSpan(NOON, NOON + 2 * HOUR)

    @pytest.fixture
    def source(self) -> IonCannon:
        return cannon()


class TestIonCannonWithFaultyRows(SourceContract):
    span = TimeSpan(NOON, NOON + 2 * HOUR)

    @pytest.fixture
    def source(self) -> IonCannon:
        return cannon(gap_share=0.2, duplicate_share=0.2, disorder_share=0.5)


def settings(**given: Any) -> IonCannonSettings:
    return IonCannonSettings.model_validate(given)


def test_both_published_spellings_of_the_settings_say_the_same():
    nested = {"min_lat": 40, "max_lat": 41, "min_lon": 1, "max_lon": 2}
    one = settings(measurement_frequency="PT05M", geographic_bounds=nested)
    other = settings(measurement_frequency_minutes=5, **nested)
    assert one.measurement_frequency == other.measurement_frequency == timedelta(minutes=5)
    assert one.geographic_bounds == other.geographic_bounds


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_lat": 60},
        {"max_lon": 181},
        {"measurement_frequency": "PT0S"},
        {"num_stations": 0},
        {"late_share": 1.5},
        {"measurement_frequency": "often"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_the_map_is_free_of_remarks():
    assert not register(METADATA).findings


async def test_times_lie_on_multiples_of_the_frequency_whatever_the_span():
    rows = await table(cannon(measurement_frequency="PT7M"), NOON + timedelta(seconds=17), HOUR)
    times = pc.unique(rows["datetime"]).to_pylist()
    assert len(times) in (8, 9)
    assert all(time == align(time, timedelta(minutes=7)) for time in times)


async def test_stations_keep_their_place_and_tags_and_stay_inside_the_bounds():
    source = cannon(num_stations=300, measurement_frequency="PT1H", metadata_cardinality=3)
    rows = await table(source, NOON, 48 * HOUR)
    tags = ["station_id", "lat", "lon", "sensor_type", "location_type"]
    assert rows.group_by(tags).aggregate([]).num_rows == 300
    assert rows.num_rows == 300 * 48
    assert 47 <= pc.min(rows["lat"]).as_py() < pc.max(rows["lat"]).as_py() <= 55
    assert 5 <= pc.min(rows["lon"]).as_py() < pc.max(rows["lon"]).as_py() <= 15
    assert pc.count_distinct(rows["sensor_type"]).as_py() == 3


async def test_another_number_of_stations_changes_nothing_for_the_others():
    few, many = await table(cannon(), NOON, HOUR), await table(cannon(num_stations=30), NOON, HOUR)
    assert counted(few) < counted(many)


async def test_another_seed_gives_other_weather_at_other_places():
    one, other = await table(cannon(seed=1), NOON, HOUR), await table(cannon(seed=2), NOON, HOUR)
    assert one["lat"] != other["lat"]
    assert column(one, "temperature").tolist() != column(other, "temperature").tolist()


async def test_batches_hold_at_most_65536_rows():
    source = cannon(num_stations=70_000)
    batches = [batch async for batch in source.fetch(TimeSpan(NOON, NOON + timedelta(minutes=20)))]
    assert [batch.num_rows for batch in batches] == [65_536, 65_536, 140_000 - 2 * 65_536]


# Weather


@pytest.fixture(scope="module")
def year() -> dict[str, np.ndarray]:
    """Values of 400 stations all over the world at 500 times each."""
    draws, numbers = Draws(7), np.random.default_rng(7)
    places = Places.drawn(draws, 400, -90, 90, -180, 180)
    station = np.repeat(np.arange(400), 500)
    time_ns = numbers.integers(0, 10**18, len(station))
    here = places.take(station)
    values = observe(draws, places, station, time_ns)
    return {
        **values,
        "lat": here.latitude,
        "lon": here.longitude,
        "elevation": here.elevation_m,
        "time": time_ns,
    }


def test_temperatures_are_earthly_and_in_order(year: dict[str, np.ndarray]):
    assert year["temperature"].min() > -60
    assert year["temperature"].max() < 50
    assert (year["temperature_minimum"] <= year["temperature"]).all()
    assert (year["temperature"] <= year["temperature_maximum"]).all()


def test_humidity_agrees_with_temperature_and_dew_point(year: dict[str, np.ndarray]):
    assert (year["dew_point"] <= year["temperature"]).all()
    assert year["humidity"].max() <= 100
    pressure = [6.112 * np.exp(17.62 * t / (243.12 + t)) for t in (year["dew_point"], year["temperature"])]
    assert np.abs(year["humidity"] - 100 * pressure[0] / pressure[1]).max() < 0.5


def test_the_sun_does_not_shine_at_night(year: dict[str, np.ndarray]):
    solar_hour = (year["time"] / 3.6e12 + year["lon"] / 15) % 24
    tropics = np.abs(year["lat"]) < 23
    midnight = tropics & ((solar_hour < 4) | (solar_hour > 20))
    noon = tropics & (np.abs(solar_hour - 12) < 2)
    assert midnight.sum() > 1000
    assert year["irradiance"][midnight].max() == 0
    assert year["irradiance"][noon].min() > 100
    assert year["irradiance"].max() < 1361


def test_winter_is_cold_and_dark_on_each_half_of_the_earth(year: dict[str, np.ndarray]):
    month = year["time"].astype("datetime64[ns]").astype("datetime64[M]").astype(int) % 12
    for quantity in ("temperature", "irradiance"):
        north, south = year["lat"] > 45, year["lat"] < -45
        january, july = month == 0, month == 6
        assert year[quantity][north & january].mean() < year[quantity][north & july].mean()
        assert year[quantity][south & july].mean() < year[quantity][south & january].mean()


def test_afternoons_are_warmer_than_mornings(year: dict[str, np.ndarray]):
    solar_hour = (year["time"] / 3.6e12 + year["lon"] / 15) % 24
    afternoon, morning = np.abs(solar_hour - 14.5) < 1, np.abs(solar_hour - 4) < 1
    assert year["temperature"][afternoon].mean() > year["temperature"][morning].mean() + 2


def test_pressure_falls_with_height_and_wind_has_a_speed_and_a_direction(year: dict[str, np.ndarray]):
    assert 950 < year["sea_level_pressure"].min() < year["sea_level_pressure"].max() < 1060
    high = year["elevation"] > 300
    assert (year["pressure"] <= year["sea_level_pressure"]).all()
    assert (year["sea_level_pressure"][high] - year["pressure"][high]).min() > 30
    assert year["wind_speed"].min() >= 0
    assert year["wind_direction"].min() >= 0
    assert year["wind_direction"].max() < 360


async def test_the_weather_does_not_jump():
    rows = await table(cannon(num_stations=1, measurement_frequency="PT10M"), NOON, 72 * HOUR)
    assert np.abs(np.diff(column(rows, "temperature"))).max() < 1.2
    assert np.abs(np.diff(column(rows, "sea_level_pressure"))).max() < 0.3


@hypothesis.settings(deadline=None)
@given(st.integers(0, 2**63), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2 * 10**18)), min_size=1))
def test_a_value_depends_on_seed_station_and_time_alone(seed: int, points: list[tuple[int, int]]):
    draws = Draws(seed)
    places = Places.drawn(draws, 100, 47, 55, 5, 15)
    station, time_ns = np.array(points, np.int64).T
    together = observe(draws, places, station, time_ns)
    for at in range(len(points)):
        alone = observe(draws, places, station[at : at + 1], time_ns[at : at + 1])
        assert {q: v[0] for q, v in alone.items()} == {q: v[at] for q, v in together.items()}


# Faults


async def test_a_late_hour_arrives_with_the_next_one():
    everything = counted(await table(cannon(), NOON, HOUR))
    source = cannon(late_share=0.3)
    now = await table(source, NOON, HOUR)
    following = await table(source, NOON + HOUR, HOUR)
    of_noon = following.filter(
        pc.less(following["datetime"], pa.scalar(NOON + HOUR, pa.timestamp("ns", "UTC")))
    )
    in_time = now.filter(pc.greater_equal(now["datetime"], pa.scalar(NOON, pa.timestamp("ns", "UTC"))))
    assert counted(in_time) + counted(of_noon) == everything
    stations = set(of_noon["station_id"].to_pylist())
    assert 0 < len(stations) < 20
    assert of_noon.num_rows == 6 * len(stations)


async def test_a_late_hour_comes_whole_with_the_fetch_that_holds_its_end():
    source, minutes = cannon(late_share=0.3), timedelta(minutes=5)
    first = await table(source, NOON + HOUR, minutes)
    second = await table(source, NOON + HOUR + minutes, minutes)
    before = pa.scalar(NOON + HOUR, pa.timestamp("ns", "UTC"))
    assert pc.sum(pc.less(first["datetime"], before)).as_py() % 6 == 0
    assert pc.any(pc.less(first["datetime"], before)).as_py()
    assert second.num_rows == 0


async def test_a_gap_never_arrives():
    everything = await table(cannon(), NOON, 6 * HOUR)
    holed = await table(cannon(gap_share=0.2, late_share=0.3), NOON - HOUR, 9 * HOUR)
    missing = counted(everything) - counted(holed)
    assert 0 < missing.total() < everything.num_rows
    assert missing.total() % 6 == 0


async def test_duplicates_are_identical_and_as_many_as_asked():
    source = cannon(num_stations=500, duplicate_share=0.1)
    rows = counted(await table(source, NOON, HOUR))
    assert set(rows.values()) == {1, 2}
    assert 0.07 < (rows.total() - len(rows)) / 3000 < 0.13


async def test_disorder_moves_rows_and_changes_none():
    sorted_rows = await table(cannon(num_stations=500), NOON, HOUR)
    mixed = await table(cannon(num_stations=500, disorder_share=0.2), NOON, HOUR)
    moved = pc.sum(pc.not_equal(sorted_rows["station_id"], mixed["station_id"])).as_py()
    assert 0.15 < moved / 3000 < 0.25
    assert counted(sorted_rows) == counted(mixed)


async def test_malformed_rows_come_besides_the_good_ones_in_every_kind():
    good = counted(await table(cannon(num_stations=500), NOON, HOUR))
    rows = await table(cannon(num_stations=500, malformed_share=0.1), NOON, HOUR)
    kinds = {
        "time": pc.is_null(rows["datetime"]),
        "lat": pc.equal(rows["lat"], 95.0),
        "lon": pc.equal(rows["lon"], 400.0),
    }
    assert all(pc.sum(kind).as_py() > 50 for kind in kinds.values())
    bad = pc.or_(pc.or_(kinds["time"], kinds["lat"]), kinds["lon"])
    assert counted(rows.filter(pc.invert(bad))) == good
    assert 0.07 < pc.sum(bad).as_py() / 3000 < 0.13


@hypothesis.settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6 * 60), max_size=5))
async def test_however_a_span_is_split_the_parts_bring_the_same_rows(cuts: list[int]):
    source = cannon(measurement_frequency="PT20M", disorder_share=0.5, **FAULTS)
    whole = counted(await table(source, NOON, 6 * HOUR))
    edges = [0, *sorted(cuts), 6 * 60]
    parts: Counter[str] = Counter()
    for start, end in pairwise(edges):
        parts += counted(await table(source, NOON + timedelta(minutes=start), timedelta(minutes=end - start)))
    assert parts == whole
