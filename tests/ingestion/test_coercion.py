from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ionbeam.errors import PayloadInvalid
from ionbeam.ingestion.coercion import coerce
from ionbeam.observations.columns import TIME_TYPE

NAN, INF = float("nan"), float("inf")
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
TARGETS = [*INTEGERS, *FLOATS, pa.bool_(), pa.string(), TIME_TYPE]
CLOCK = [pa.date32(), pa.date64(), pa.time64("us"), pa.duration("us"), pa.timestamp("us")]


def read(column: pa.Array, target: pa.DataType) -> tuple[list[Any], list[int]]:
    """The values, and the rows that could not be read."""
    result = coerce(column, target, "column")
    assert result.values.type == target
    assert len(result.values) == len(column)
    bad = [] if result.bad is None else np.flatnonzero(result.bad).tolist()
    assert all(result.values[i].as_py() is None for i in bad), "what is bad must be null"
    values = result.values.cast(pa.int64()) if target == TIME_TYPE else result.values
    return values.to_pylist(), bad


def as_floats(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.float64())


PAIRS = [
    (kind, target)
    for kind in [*INTEGERS, *FLOATS, pa.bool_(), *TEXTS]
    for target in TARGETS
    if kind in TEXTS or (target != TIME_TYPE and (kind, target) != (pa.bool_(), pa.float16()))
]


@pytest.mark.parametrize(("kind", "target"), PAIRS, ids=str)
def test_nulls_and_nothing_stay_what_they_are(kind: pa.DataType, target: pa.DataType):
    assert read(pa.nulls(2, kind), target) == ([None, None], [])
    assert read(pa.array([], kind), target) == ([], [])


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_column_without_type_is_missing(target: pa.DataType):
    assert read(pa.nulls(3), target) == ([None, None, None], [])


@pytest.mark.parametrize("target", [*INTEGERS, *FLOATS], ids=str)
@pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS], ids=str)
def test_a_small_number_survives_every_number_type(kind: pa.DataType, target: pa.DataType):
    column = pa.array(np.array([0, 1, 100], kind.to_pandas_dtype()))
    assert read(column, target) == ([0, 1, 100], [])


@pytest.mark.parametrize("target", INTEGERS, ids=str)
@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_whole_numbers_that_do_not_fit_are_marked(kind: pa.DataType, target: pa.DataType):
    source, limits = np.iinfo(kind.to_pandas_dtype()), np.iinfo(target.to_pandas_dtype())
    numbers = [int(source.min), None, int(source.max)]
    fits = [n if n is not None and limits.min <= n <= limits.max else None for n in numbers]
    bad = [i for i, n in enumerate(numbers) if n is not None and fits[i] is None]
    assert read(pa.array(numbers, kind), target) == (fits, bad)


@pytest.mark.parametrize("target", INTEGERS, ids=str)
def test_a_float_that_is_no_whole_number_is_marked(target: pa.DataType):
    column = as_floats([2.0, 2.5, NAN, None, INF, -INF, 1e300, -0.0])
    assert read(column, target) == ([2, None, None, None, None, None, None, 0], [1, 4, 5, 6])


def test_a_float_beyond_2_to_the_53_names_no_single_integer():
    beyond = float(2**53 + 2)
    assert read(as_floats([2.0**53, -(2.0**53), beyond, -beyond]), pa.int64()) == (
        [2**53, -(2**53), None, None],
        [2, 3],
    )


def test_whole_numbers_beyond_2_to_the_53_stay_exact():
    numbers = [2**53 + 1, -(2**63), 2**63 - 1, None]
    assert read(pa.array(numbers, pa.int64()), pa.int64()) == (numbers, [])
    assert read(pa.array(["9007199254740993", "+9007199254740993"]), pa.int64()) == ([2**53 + 1] * 2, [])
    assert read(pa.array([2**64 - 1], pa.uint64()), pa.uint64()) == ([2**64 - 1], [])


@pytest.mark.parametrize("target", FLOATS, ids=str)
@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_infinity_is_marked_and_nan_is_missing(kind: pa.DataType, target: pa.DataType):
    column = pa.array(np.array([1.5, NAN, INF, -INF], kind.to_pandas_dtype()))
    assert read(column, target) == ([1.5, None, None, None], [2, 3])


def test_a_number_too_large_for_the_declared_float_is_marked():
    assert read(as_floats([1e300, 2.0]), pa.float32()) == ([None, 2.0], [0])
    assert read(pa.array(["1e400", "2"]), pa.float64()) == ([None, 2.0], [0])


@pytest.mark.parametrize("kind", TEXTS, ids=str)
@pytest.mark.parametrize("target", [pa.float64(), pa.float32()], ids=str)
def test_numbers_are_read_from_text(kind: pa.DataType, target: pa.DataType):
    good = {"1": 1, " 1.5\t": 1.5, "-2.": -2, ".5": 0.5, "+3": 3, "1e2": 100, "1E-2": 0.01, "007": 7}
    values, bad = read(pa.array(good, kind), target)
    assert values == pytest.approx(list(good.values()))
    assert bad == []


@pytest.mark.parametrize(
    "text", ["x", "1,5", "1.5 °C", "0x10", "--1", "1e", "inf", "1_000", "null", ".", "١"]
)
@pytest.mark.parametrize("target", [pa.float64(), pa.int32()], ids=str)
def test_text_that_is_no_number_is_marked(text: str, target: pa.DataType):
    assert read(pa.array([text, "1"]), target) == ([None, 1], [0])


@pytest.mark.parametrize("target", [*INTEGERS, *FLOATS, pa.bool_()], ids=str)
def test_missing_numbers_have_several_spellings(target: pa.DataType):
    assert read(pa.array(["", "  ", "nan", "NaN", " NAN ", None]), target) == ([None] * 6, [])


@pytest.mark.parametrize("target", INTEGERS, ids=str)
def test_text_that_does_not_fit_an_integer_is_marked(target: pa.DataType):
    column = pa.array(["1", "1.0", "99999999999999999999", "1e2"])
    assert read(column, target) == ([1, None, None, None], [1, 2, 3])


def test_truth_has_four_spellings():
    text = ["true", "FALSE", " 1 ", "0", "", None, "yes", "2"]
    assert read(pa.array(text), pa.bool_()) == ([True, False, True, False, None, None, None, None], [6, 7])


def test_a_number_is_true_or_false_when_it_is_one_or_zero():
    assert read(pa.array([1, 0, 2, None], pa.int8()), pa.bool_()) == ([True, False, None, None], [2])
    assert read(as_floats([1.0, 0.0, NAN, 0.5, INF]), pa.bool_()) == (
        [True, False, None, None, None],
        [3, 4],
    )


def test_anything_with_a_text_form_becomes_text():
    assert read(pa.array([1, None]), pa.string()) == (["1", None], [])
    assert read(pa.array([True, None]), pa.string()) == (["true", None], [])
    assert read(as_floats([1.5, NAN, None]), pa.string()) == (["1.5", None, None], [])
    assert read(pa.array([Decimal("1.50")]), pa.string()) == (["1.50"], [])
    assert read(pa.array([date(2024, 1, 2)]), pa.string()) == (["2024-01-02"], [])
    assert read(pa.array([b"abc"]), pa.string()) == (["abc"], [])


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_text_stays_as_it_is_but_for_the_empty_one(kind: pa.DataType):
    assert read(pa.array(["", " a ", "nan", "ä\0", None], kind), pa.string()) == (
        [None, " a ", "nan", "ä\0", None],
        [],
    )


def test_decimals_are_numbers():
    column = pa.array([Decimal("1.5"), None, Decimal("2.0")])
    assert read(column, pa.float64()) == ([1.5, None, 2.0], [])
    assert read(column, pa.int32()) == ([None, None, 2], [0])


@pytest.mark.parametrize("target", [pa.float64(), pa.int64(), pa.bool_(), pa.string()], ids=str)
def test_dictionaries_are_read_as_their_values(target: pa.DataType):
    for plain in (pa.array(["1", "x", None, "1"]), pa.array([1.0, None, 1.0])):
        assert read(plain.dictionary_encode(), target) == read(plain, target)


def test_chunks_are_read_as_one_column():
    column = pa.chunked_array([["1", "x"], [], ["3"]])
    assert coerce(column, pa.int64(), "n").values.to_pylist() == [1, None, 3]


def test_a_slice_is_read_as_what_it_shows():
    column = pa.array(["x", "1", "y", "2", "z"]).slice(1, 3)
    assert read(column, pa.int64()) == ([1, None, 2], [1])


@pytest.mark.parametrize("target", [pa.float64(), pa.int64(), pa.bool_()], ids=str)
@pytest.mark.parametrize("kind", [*CLOCK, pa.list_(pa.int64())], ids=str)
def test_what_is_no_number_is_refused_by_name(kind: pa.DataType, target: pa.DataType):
    with pytest.raises(PayloadInvalid, match=r"'speed' holds .*, which cannot become"):
        coerce(pa.nulls(1, kind), target, "speed")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("target", [pa.float64(), pa.string(), TIME_TYPE], ids=str)
def test_bytes_are_read_as_text(kind: pa.DataType, target: pa.DataType):
    texts = ["1.5", "2024-01-01", "", None]
    assert read(pa.array(texts).cast(pa.binary()).cast(kind), target) == read(pa.array(texts), target)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(PayloadInvalid, match="'name' holds binary that is no text"):
        coerce(pa.array([b"\xff"]), pa.string(), "name")


# Times


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


TIMES = {
    "2024-01-01T10:00:00Z": "2024-01-01T10:00:00",
    "2024-01-01 10:00:00": "2024-01-01T10:00:00",
    "2024-01-01T10:00": "2024-01-01T10:00:00",
    "2024-01-01T10:00Z": "2024-01-01T10:00:00",
    "2024-01-01": "2024-01-01",
    "2024-01-01T10:00:00+02:00": "2024-01-01T08:00:00",
    "2024-01-01T10:00:00-0230": "2024-01-01T12:30:00",
    "2024-01-01T00:30:00+01": "2023-12-31T23:30:00",
    "2024-02-29T23:59:59.999999999Z": "2024-02-29T23:59:59.999999999",
    "2024-01-01T10:00:00.123456789": "2024-01-01T10:00:00.123456789",
    "2024-01-01T10:00:00.1234567Z": "2024-01-01T10:00:00.1234567",
    "2024-01-01T10:00:00.5+01:00": "2024-01-01T09:00:00.5",
    "1969-12-31T23:59:59.999999999Z": "1969-12-31T23:59:59.999999999",
    " 2024-01-01T10:00:00Z ": "2024-01-01T10:00:00",
    "1677-09-22T00:00:00Z": "1677-09-22T00:00:00",
    "2262-04-11T23:00:00Z": "2262-04-11T23:00:00",
}
NO_TIMES = [
    "2024-02-30T10:00:00Z",
    "2023-02-29",
    "2024-13-01",
    "2024-01-01T24:00:00Z",
    "2024-01-01T10:60:00Z",
    "2024-01-01T10:00:60Z",
    "2024-01-01T10:00:00+99:00",
    "2024-01-01T10:00:00 Z",
    "2024-01-01T10:00:00Zulu",
    "2024-01-01T10:00:00.1234567890Z",
    "2024-01-01T10:00:00,5Z",
    "2024-01-01Z",
    "20240101T100000Z",
    "2024-1-1 1:00",
    "01/02/2024",
    "1704067200",
    "nan",
    "now",
    "0000-01-01",
    "1500-01-01T00:00:00Z",
    "3000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-05:00",
]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_times_are_read_from_text_with_and_without_zone(kind: pa.DataType):
    values, bad = read(pa.array(TIMES, kind), TIME_TYPE)
    assert values == [ns(expected) for expected in TIMES.values()]
    assert bad == []


@pytest.mark.parametrize("text", NO_TIMES)
def test_text_that_is_no_time_is_marked(text: str):
    assert read(pa.array([text]), TIME_TYPE) == ([None], [0])


@given(st.lists(st.sampled_from([*TIMES, *NO_TIMES, "", None]), max_size=8))
@example([*TIMES, *NO_TIMES])
@example([*NO_TIMES, *TIMES])
def test_how_a_time_is_read_does_not_depend_on_its_neighbours(texts: list[str | None]):
    values, bad = read(pa.array(texts, pa.string()), TIME_TYPE)
    assert values == [ns(TIMES[text]) if text in TIMES else None for text in texts]
    assert bad == [i for i, text in enumerate(texts) if text in NO_TIMES]


@given(
    st.integers(-8_500_000_000, 8_500_000_000),
    st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True),
    st.sampled_from(["", "Z", "+00:00", "-23:59", "+0530", "+14"]),
)
def test_both_ways_to_read_a_time_agree(seconds: int, fraction: str, zone: str):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
    alone, _ = read(pa.array([text]), TIME_TYPE)
    beside, _ = read(pa.array([text, "2024-02-30"]), TIME_TYPE)
    assert alone == beside[:1]
    assert alone[0] is not None


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+02:00"])
def test_timestamps_keep_their_instant(unit: str, zone: str | None):
    ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    column = pa.array([1_704_103_200 * ticks, -ticks, None], pa.timestamp(unit, tz=zone))
    assert read(column, TIME_TYPE) == ([ns("2024-01-01T10:00:00"), -(10**9), None], [])


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_beyond_nanoseconds_are_marked(unit: str, zone: str | None):
    reach = (2**63 - 1) // {"s": 10**9, "ms": 10**6, "us": 10**3}[unit]
    per_tick = {"s": 10**9, "ms": 10**6, "us": 10**3}[unit]
    ticks = [reach, reach + 1, -reach, -reach - 1, 2**63 - 1, -(2**63) + 1, None]
    column = pa.array(ticks, pa.int64()).cast(pa.timestamp(unit, tz=zone))
    assert read(column, TIME_TYPE) == (
        [reach * per_tick, None, -reach * per_tick, None, None, None, None],
        [1, 3, 4, 5],
    )


def test_nanoseconds_stay_exact():
    column = pa.array([1_704_103_200_123_456_789], pa.timestamp("ns"))
    assert read(column, TIME_TYPE) == ([1_704_103_200_123_456_789], [])


def test_a_day_begins_at_midnight_utc():
    days = [date(2024, 1, 1), None, date(3000, 1, 1)]
    for kind in (pa.date32(), pa.date64()):
        assert read(pa.array(days, kind), TIME_TYPE) == ([ns("2024-01-01"), None, None], [2])


def test_times_may_lie_in_a_dictionary():
    texts = pa.array(["2024-01-01T10:00:00Z", "x", "2024-01-01T10:00:00Z"]).dictionary_encode()
    at_ten = ns("2024-01-01T10:00:00")
    assert read(texts, TIME_TYPE) == ([at_ten, None, at_ten], [1])
    moments = pa.array([datetime(2024, 1, 1, 10, tzinfo=UTC)]).dictionary_encode()
    assert read(moments, TIME_TYPE) == ([at_ten], [])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_704_067_200]),
        pa.array([1_704_067_200.5]),
        pa.array([True]),
        pa.array([time(10)]),
        pa.array([timedelta(1)]),
    ],
    ids=lambda column: str(column.type),
)
def test_a_number_is_no_time_because_it_does_not_tell_its_unit(column: pa.Array):
    with pytest.raises(PayloadInvalid, match=r"time column 'when' holds .*does not tell its unit"):
        coerce(column, TIME_TYPE, "when")
