"""Instants, durations and half-open windows."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbeam.errors import InvalidInput, NaiveDatetime
from ionbeam.observations.timespan import (
    EPOCH,
    TimeSpan,
    align,
    format_duration,
    format_stamp,
    from_nanoseconds,
    parse_duration,
    parse_time,
    to_nanoseconds,
    to_utc,
    windows_over,
)

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001
LENGTHS = st.timedeltas(timedelta(seconds=1), timedelta(days=400))
MICROSECOND = timedelta(microseconds=1)


@st.composite
def spans_and_lengths(draw: st.DrawFn) -> tuple[TimeSpan, timedelta]:
    """A span and a window length that cut it into at most a few dozen windows."""
    length, start = draw(LENGTHS), draw(TIMES)
    return TimeSpan(start, start + draw(st.floats(0, 30)) * length), length


def test_a_naive_datetime_is_refused_with_what_to_write() -> None:
    with pytest.raises(NaiveDatetime, match="write 2024-01-01T00:00:00Z or another offset"):
        to_utc(datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(NaiveDatetime, match="no time zone"):
        parse_time("2024-01-01T00:00:00")
    with pytest.raises(NaiveDatetime):
        TimeSpan(datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC))  # noqa: DTZ001


def test_any_offset_becomes_utc() -> None:
    assert parse_time("2024-01-01T12:00:00+02:00") == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert parse_time("2024-01-01T12:00:00Z").tzinfo is UTC


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_utc_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="outside the years"):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01T00:00:00Z", "1704067200"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="such as 2024-01-01T00:00:00Z"):
        parse_time(text)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("PT1H", timedelta(hours=1)),
        ("PT05M", timedelta(minutes=5)),
        ("P1DT12H", timedelta(hours=36)),
        ("01:00:00", timedelta(hours=1)),
        (90, timedelta(seconds=90)),
        (timedelta(days=2), timedelta(days=2)),
    ],
)
def test_durations_are_read_in_every_form(form: str | int | timedelta, value: timedelta) -> None:
    assert parse_duration(form) == value


@pytest.mark.parametrize("form", ["", "3600", "an hour", "P99999999Y", float("nan"), float("inf")])
def test_what_is_no_duration_is_refused_with_an_example(form: str | float) -> None:
    with pytest.raises(InvalidInput, match="such as PT1H or P1D"):
        parse_duration(form)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (timedelta(0), "PT0S"),
        (timedelta(minutes=5), "PT5M"),
        (timedelta(hours=1), "PT1H"),
        (timedelta(minutes=90), "PT1H30M"),
        (timedelta(days=1), "P1D"),
        (timedelta(hours=36), "P1DT12H"),
    ],
)
def test_durations_are_written_as_published(value: timedelta, written: str) -> None:
    assert format_duration(value) == written


@settings(deadline=None)
@given(st.timedeltas(-timedelta(days=1000), timedelta(days=1000)))
def test_every_duration_written_reads_back(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


def test_a_stamp_is_compact_and_in_utc() -> None:
    assert format_stamp(parse_time("2024-01-01T14:00:00+02:00")) == "20240101T120000"


@settings(deadline=None)
@given(TIMES)
def test_nanoseconds_and_datetimes_are_exact_inverses(time: datetime) -> None:
    assert from_nanoseconds(to_nanoseconds(time)) == time
    assert from_nanoseconds(to_nanoseconds(time) + 999) == time


def test_nanoseconds_before_the_epoch_round_down_too() -> None:
    assert from_nanoseconds(-1) == EPOCH - MICROSECOND


def test_a_backward_span_is_refused_and_an_empty_one_is_not() -> None:
    start = parse_time("2024-01-01T00:00:00Z")
    with pytest.raises(InvalidInput, match="before it starts"):
        TimeSpan(start, start - MICROSECOND)
    assert TimeSpan(start, start).length == timedelta(0)


def test_a_span_is_kept_and_printed_in_utc() -> None:
    span = TimeSpan(parse_time("2024-01-01T02:00:00+02:00"), parse_time("2024-01-01T01:00:00Z"))
    assert str(span) == "2024-01-01T00:00:00+00:00/2024-01-01T01:00:00+00:00"


def test_spans_that_only_touch_do_not_overlap() -> None:
    noon = parse_time("2024-01-01T12:00:00Z")
    hour = timedelta(hours=1)
    assert not TimeSpan(noon - hour, noon).overlaps(TimeSpan(noon, noon + hour))
    assert TimeSpan(noon - hour, noon + MICROSECOND).overlaps(TimeSpan(noon, noon + hour))
    assert TimeSpan(noon - hour, noon + hour).contains(TimeSpan(noon, noon + hour))
    assert not TimeSpan(noon, noon + hour).contains(TimeSpan(noon, noon + hour + MICROSECOND))


def test_a_widened_span_grows_on_both_sides() -> None:
    noon, hour = parse_time("2024-01-01T12:00:00Z"), timedelta(hours=1)
    assert TimeSpan(noon, noon).widened(hour) == TimeSpan(noon - hour, noon + hour)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(hours=-1)])
def test_a_window_without_length_is_refused(length: timedelta) -> None:
    with pytest.raises(InvalidInput, match="positive length"):
        align(EPOCH, length)


def test_windows_are_aligned_to_the_epoch_and_not_to_the_data() -> None:
    day, seven_hours = timedelta(days=1), timedelta(hours=7)
    assert align(parse_time("2024-01-01T23:59:59Z"), day) == parse_time("2024-01-01T00:00:00Z")
    assert (align(parse_time("2024-01-01T12:00:00Z"), seven_hours) - EPOCH) % seven_hours == timedelta(0)


@settings(deadline=None)
@given(TIMES, LENGTHS)
def test_every_instant_lies_in_exactly_one_window_aligned_to_the_epoch(
    time: datetime, length: timedelta
) -> None:
    start = align(time, length)
    assert (start - EPOCH) % length == timedelta(0)
    assert start <= time < start + length
    assert align(start, length) == start
    assert align(start + length - MICROSECOND, length) == start
    assert align(start + length, length) == start + length


@settings(deadline=None)
@given(spans_and_lengths())
def test_windows_over_a_span_are_aligned_adjacent_and_just_enough(case: tuple[TimeSpan, timedelta]) -> None:
    span, length = case
    windows = list(windows_over(span, length))
    assert all(w.length == length and align(w.start, length) == w.start for w in windows)
    assert all(a.end == b.start for a, b in itertools.pairwise(windows))
    if span.length:
        assert all(w.overlaps(span) for w in windows)
        assert windows[0].start <= span.start
        assert span.end <= windows[-1].end
    else:
        assert all(w.contains(span) for w in windows)


@settings(deadline=None)
@given(spans_and_lengths())
def test_split_parts_are_adjacent_cut_at_window_borders_and_add_up(case: tuple[TimeSpan, timedelta]) -> None:
    span, length = case
    parts = list(span.split(length))
    assert sum((p.length for p in parts), timedelta(0)) == span.length
    assert all(p.length > timedelta(0) for p in parts)
    assert all(a.end == b.start and align(b.start, length) == b.start for a, b in itertools.pairwise(parts))
    assert all(align(p.start, length) == align(p.end - MICROSECOND, length) for p in parts)
    if parts:
        assert (parts[0].start, parts[-1].end) == (span.start, span.end)


def test_an_empty_span_on_a_border_shares_no_instant_with_any_window() -> None:
    assert list(windows_over(TimeSpan(EPOCH, EPOCH), timedelta(hours=1))) == []
    assert list(TimeSpan(EPOCH, EPOCH).split(timedelta(hours=1))) == []
