"""The nine behaviours the original platform's tests fixed, as stories."""

from ionbeam.records import WindowStatus
from ionbeam.testing.scenario import Scenario, a_dataset, minutes

DAY = "2024-01-01T"


async def test_one_ingestion_of_a_whole_window_makes_one_dataset(story: Scenario) -> None:
    await story.ingest(minutes(f"{DAY}10:00:00Z", f"{DAY}11:00:00Z"), f"{DAY}10:00:00Z", f"{DAY}11:00:00Z")

    assert await story.built() == {f"{DAY}10:00:00": 60}
    assert [e.dataset_location for e in story.events] == ["datasets/story_20240101T100000_PT1H.parquet"]
    assert story.events[0].span.start.isoformat() == "2024-01-01T10:00:00+00:00"


async def test_hourly_ingestions_close_one_daily_window(story: Scenario) -> None:
    daily = a_dataset(span="P1D")
    for hour in range(24):
        start, end = f"{DAY}{hour:02}:00:00Z", f"{DAY}{hour:02}:59:59.5Z"
        assert await story.built() == {}
        await story.ingest(minutes(start, end), start, end, daily)

    assert await story.built() == {}, "half a second is missing at the end of the day"
    await story.ingest([], f"{DAY}23:59:59Z", "2024-01-02T00:00:00Z", daily)
    assert await story.built() == {f"{DAY}00:00:00": 24 * 60}
    assert len(story.events) == 1


async def test_three_hours_make_three_hourly_windows(story: Scenario) -> None:
    await story.ingest(minutes(f"{DAY}10:00:00Z", f"{DAY}13:00:00Z"), f"{DAY}10:00:00Z", f"{DAY}13:00:00Z")

    assert await story.built() == {f"{DAY}{h}:00:00": 60 for h in (10, 11, 12)}


async def test_a_window_with_a_gap_is_not_built(story: Scenario) -> None:
    for start, end in (("10:00:00", "10:30:00"), ("10:40:00", "11:30:00"), ("11:30:00", "12:00:00")):
        await story.ingest(minutes(f"{DAY}{start}Z", f"{DAY}{end}Z"), f"{DAY}{start}Z", f"{DAY}{end}Z")

    assert await story.built() == {f"{DAY}11:00:00": 60}
    waiting = (await story.windows())[0]
    assert (waiting.status, waiting.reason) == (WindowStatus.WAITING, "gap")


async def test_a_hole_of_one_second_between_claims_is_no_gap(story: Scenario) -> None:
    rows = minutes(f"{DAY}10:00:00Z", f"{DAY}11:00:00Z")
    await story.ingest(rows[:30], f"{DAY}10:00:00Z", f"{DAY}10:29:59Z")
    await story.ingest(rows[30:], f"{DAY}10:30:00Z", f"{DAY}11:00:00Z")

    assert await story.built() == {f"{DAY}10:00:00": 60}


async def test_nothing_is_built_while_subject_to_change_and_time_alone_ends_that(story: Scenario) -> None:
    """The original only looked again when another event came (defect 7)."""
    late = a_dataset(lateness="P3D")
    await story.ingest(
        minutes(f"{DAY}10:00:00Z", f"{DAY}11:00:00Z"), f"{DAY}10:00:00Z", f"{DAY}11:00:00Z", late
    )
    window = (await story.windows())[0]
    assert (window.status, window.reason, story.events) == (WindowStatus.QUEUED, "subject_to_change", [])

    await story.advance("P1DT10H59M")
    assert story.events == []
    await story.advance("PT1M")
    assert await story.built() == {f"{DAY}10:00:00": 60}


async def test_the_next_window_does_not_rebuild_the_one_before(story: Scenario) -> None:
    for hour in ("10", "11"):
        start, end = f"{DAY}{hour}:00:00Z", f"{DAY}{int(hour) + 1}:00:00Z"
        await story.ingest(minutes(start, end), start, end)

    assert [(w.revision.number if w.revision else 0) for w in await story.windows()] == [1, 1]
    assert len(story.events) == 2


async def test_an_overlapping_ingestion_with_news_revises_the_window(story: Scenario) -> None:
    span = (f"{DAY}10:00:00Z", f"{DAY}11:00:00Z")
    await story.ingest(minutes(*span), *span)
    first = (await story.windows())[0].revision
    await story.ingest(minutes(*span, station="B"), *span)
    second = (await story.windows())[0].revision

    assert first is not None
    assert second is not None
    assert (second.number, second.rows, second.supersedes) == (2, 120, first.content_hash)
    assert len({event.id for event in story.events}) == 2


async def test_half_a_window_is_not_built_until_a_backfill_completes_it(story: Scenario) -> None:
    await story.ingest(minutes(f"{DAY}10:30:00Z", f"{DAY}11:00:00Z"), f"{DAY}10:30:00Z", f"{DAY}11:00:00Z")
    assert await story.built() == {}
    assert (await story.windows())[0].reason == "incomplete_coverage"
    await story.ingest(minutes(f"{DAY}10:00:00Z", f"{DAY}10:30:00Z"), f"{DAY}10:00:00Z", f"{DAY}10:30:00Z")
    assert await story.built() == {f"{DAY}10:00:00": 60}


async def test_ingestions_may_arrive_in_any_order(story: Scenario) -> None:
    for start, end in (("10:40:00", "11:00:00"), ("10:00:00", "10:20:00"), ("10:20:00", "10:40:00")):
        await story.ingest(minutes(f"{DAY}{start}Z", f"{DAY}{end}Z"), f"{DAY}{start}Z", f"{DAY}{end}Z")

    assert await story.built() == {f"{DAY}10:00:00": 60}
    assert (await story.table())["datetime"].to_pylist() == sorted(
        (await story.table())["datetime"].to_pylist()
    )
