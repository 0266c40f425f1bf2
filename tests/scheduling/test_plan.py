from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam.observations.timespan import EPOCH, TimeSpan
from ionbeam.scheduling.plan import CATCH_UP, Schedule, due_triggers

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

MOMENTS = st.integers(1_600_000_000, 1_900_000_000).map(lambda s: EPOCH + timedelta(seconds=s))
INTERVALS = st.sampled_from([timedelta(seconds=90), 5 * MINUTE, 7 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY])
PAUSES = st.integers(0, 20 * 86_400).map(lambda s: timedelta(seconds=s))


def hourly(**changes: timedelta) -> Schedule:
    return Schedule(**({"source_name": "feed", "window_size": HOUR, "trigger_interval": HOUR} | changes))


def test_a_span_ends_at_its_boundary_less_the_lag():
    assert hourly().span_at(NOON) == TimeSpan(NOON - HOUR, NOON)
    lagging = hourly(window_size=2 * HOUR, window_lag=5 * MINUTE)
    assert lagging.span_at(NOON) == TimeSpan(NOON - 2 * HOUR - 5 * MINUTE, NOON - 5 * MINUTE)


@pytest.mark.parametrize(
    ("interval", "now", "expected"),
    [
        (HOUR, NOON, NOON + HOUR),
        (HOUR, NOON + timedelta(microseconds=1), NOON + HOUR),
        (HOUR, NOON - timedelta(microseconds=1), NOON),
        (5 * MINUTE, NOON + 7 * MINUTE, NOON + 10 * MINUTE),
        (DAY, NOON, datetime(2024, 1, 2, tzinfo=UTC)),
    ],
)
def test_triggers_are_multiples_of_the_interval_since_the_epoch(
    interval: timedelta, now: datetime, expected: datetime
):
    assert hourly(trigger_interval=interval).next_trigger(now) == expected


def test_a_new_schedule_begins_with_the_newest_trigger():
    assert list(due_triggers(hourly(), None, NOON + 20 * MINUTE)) == [NOON]


def test_nothing_is_due_twice():
    assert list(due_triggers(hourly(), NOON, NOON)) == []
    assert list(due_triggers(hourly(), NOON, NOON + 59 * MINUTE)) == []
    assert list(due_triggers(hourly(), NOON, NOON + HOUR)) == [NOON + HOUR]


def test_missed_triggers_are_made_up_for_oldest_first():
    assert list(due_triggers(hourly(), NOON - 4 * HOUR, NOON + MINUTE)) == [
        NOON - h * HOUR for h in (3, 2, 1, 0)
    ]


def test_what_was_missed_more_than_a_week_ago_is_left_to_a_backfill():
    triggers = list(due_triggers(hourly(), NOON - 30 * DAY, NOON))
    assert (triggers[0], triggers[-1], len(triggers)) == (NOON - CATCH_UP + HOUR, NOON, 7 * 24)
    assert CATCH_UP == 7 * DAY


def test_a_clock_that_was_set_back_triggers_nothing():
    assert list(due_triggers(hourly(), NOON + 5 * HOUR, NOON)) == []


@given(now=MOMENTS, interval=INTERVALS, pause=PAUSES)
def test_due_triggers_are_aligned_recent_and_complete(now: datetime, interval: timedelta, pause: timedelta):
    last, schedule = now - pause, hourly(trigger_interval=interval)
    triggers = list(due_triggers(schedule, last, now))
    assert all((trigger - EPOCH) % interval == timedelta(0) for trigger in triggers)
    assert all(max(last, now - CATCH_UP) < trigger <= now for trigger in triggers)
    assert all(two - one == interval for one, two in pairwise(triggers))
    following = schedule.next_trigger(triggers[-1] if triggers else max(last, now - CATCH_UP))
    assert now < following <= now + interval


@given(now=MOMENTS, interval=INTERVALS, steps=st.lists(PAUSES, min_size=1, max_size=6))
def test_how_often_one_looks_decides_nothing(now: datetime, interval: timedelta, steps: list[timedelta]):
    """As long as nobody looks away for more than a week."""
    schedule = hourly(trigger_interval=interval)
    steps = [min(step, CATCH_UP) for step in steps]
    last, seen = now, []
    for step in steps:
        now += step
        for trigger in due_triggers(schedule, last, now):
            seen.append(trigger)
            last = trigger
    missed = sum(steps, timedelta(0))
    assert seen == all_triggers(interval, now - missed, now)


def all_triggers(interval: timedelta, after: datetime, until: datetime) -> list[datetime]:
    first = EPOCH + (after - EPOCH) // interval * interval
    count = (until - first) // interval
    return [first + n * interval for n in range(1, count + 1)]


@given(now=MOMENTS, interval=INTERVALS, lag=PAUSES, count=st.integers(2, 9))
def test_spans_follow_each_other_without_hole_where_size_is_interval(
    now: datetime, interval: timedelta, lag: timedelta, count: int
):
    schedule = hourly(window_size=interval, trigger_interval=interval, window_lag=lag)
    spans = [schedule.span_at(trigger) for trigger in all_triggers(interval, now, now + count * interval)]
    assert all(one.end == two.start for one, two in pairwise(spans))


def test_another_plan_for_the_same_source_is_remembered_apart():
    schedules = [hourly(), hourly(window_size=DAY), hourly(trigger_interval=DAY), hourly(window_lag=DAY)]
    assert len({schedule.bookmark for schedule in schedules}) == 4
    assert hourly().bookmark == "schedule/feed/PT1H/PT1H/PT0S"
