"""What the original platform got wrong, each with the right outcome; numbers are those of its list."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from ionbeam.errors import StoreUnavailable
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.observations.timespan import parse_time
from ionbeam.records import IngestionStatus, WindowStatus
from ionbeam.testing.scenario import (
    HUMIDITY,
    TEMPERATURE,
    Scenario,
    a_dataset,
    a_platform,
    a_row,
    minutes,
)

HOUR = ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z")
NEXT = ("2024-01-01T11:00:00Z", "2024-01-01T12:00:00Z")
DELETING = "dataset_aggregator: {delete_after_export: true}"


async def test_1_late_data_joins_a_window_whose_inputs_were_deleted(tmp_path: Path) -> None:
    async with a_platform(tmp_path, config=DELETING) as story:
        await story.ingest(minutes(*HOUR), *HOUR)
        assert [o.key async for o in story.platform.stores.objects.list("observations/")] == []

        await story.ingest([a_row("2024-01-01T10:59:30Z", "late", T=5.0)], *HOUR)
        assert await story.built() == {"2024-01-01T10:00:00": 61}
        await story.ingest([a_row("2024-01-01T10:00:00Z", "A", RH=80.0, T=None)], *HOUR)
        table = (await story.table()).slice(0, 1).to_pylist()[0]
        assert (table[TEMPERATURE], table[HUMIDITY]) == (600.0, 80.0)
        assert len((await story.windows())[0].revision.inputs) == 3


async def test_1_deletion_waits_for_every_window_over_a_chunk(tmp_path: Path) -> None:
    short = a_dataset(span="PT30M", lateness="PT30M")
    async with a_platform(tmp_path, now="2024-01-01T11:15:00Z", config=DELETING) as story:
        await story.ingest(minutes(*HOUR), *HOUR, short)
        assert await story.built() == {"2024-01-01T10:00:00": 30}
        assert len([o async for o in story.platform.stores.objects.list("observations/")]) == 1

        await story.advance("PT15M")
        assert len(await story.built()) == 2
        assert [o async for o in story.platform.stores.objects.list("observations/")] == []


async def test_1_a_changed_window_length_still_finds_what_was_deleted(tmp_path: Path) -> None:
    both = (HOUR[0], NEXT[1])
    async with a_platform(tmp_path, config=DELETING) as story:
        await story.ingest(minutes(*both), *both, a_dataset(span="PT2H"))
        await story.ingest([a_row("2024-01-01T10:00:30Z", "late")], *both, a_dataset(version=2))
        rows = {w.key.id: w.revision.rows for w in await story.windows() if w.revision}
    assert rows == {"2024-01-01T10:00:00+00:00_PT2H": 120, "2024-01-01T10:00:00+00:00_PT1H": 61}


async def test_2_a_rebuild_never_replaces_a_finished_window_by_fewer_rows(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    before = await story.files()
    await story.ingest([], *HOUR)
    await story.platform.rebuild("story", (await story.windows())[0].key.span)

    assert await story.files() == before
    assert len(story.events) == 1


async def test_2_a_covered_window_without_rows_has_no_file_and_no_event(story: Scenario) -> None:
    await story.ingest([], *HOUR)
    assert await story.built() == {}
    assert story.events == []
    assert len(await story.state.datasets.coverage("story")) == 1


async def test_3_rows_with_a_null_tag_stay(story: Scenario) -> None:
    rows = [a_row("2024-01-01T10:05:00Z", None, T=1.0), a_row("2024-01-01T10:05:00Z", "A", T=2.0)]
    await story.ingest(rows, *HOUR)
    table = await story.table()
    assert table["station_id"].to_pylist() == ["A", None]
    assert table[TEMPERATURE].to_pylist() == [2.0, 1.0]


async def test_4_positions_tell_observations_apart_where_nothing_else_does(story: Scenario) -> None:
    untagged = a_dataset(metadata=())
    rows = [a_row("2024-01-01T10:05:00Z", lat=50.0, T=1.0), a_row("2024-01-01T10:05:00Z", lat=51.0, T=2.0)]
    await story.ingest(rows, *HOUR, untagged)
    assert (await story.table())[TEMPERATURE].to_pylist() == [1.0, 2.0]


async def test_4_sparse_deliveries_complete_one_observation(story: Scenario) -> None:
    await story.ingest([a_row("2024-01-01T10:05:00Z", T=1.0)], *HOUR)
    await story.ingest([a_row("2024-01-01T10:05:00Z", T=None, RH=70.0)], *HOUR)
    row = (await story.table()).to_pylist()[0]
    assert (row[TEMPERATURE], row[HUMIDITY]) == (1.0, 70.0)


async def test_5_a_window_in_which_no_row_has_a_position_is_built(story: Scenario) -> None:
    await story.ingest([a_row("2024-01-01T10:05:00Z", lat=None, lon=None)], *HOUR)
    table = await story.table()
    assert table["lat"].to_pylist() == [None]
    assert table.schema.field("lat").type == pa.float64()


async def test_6_an_absent_tag_is_null_and_not_an_empty_string(story: Scenario) -> None:
    tagged = a_dataset(metadata=("station_id", "owner"))
    await story.ingest([a_row("2024-01-01T10:05:00Z")], *HOUR, tagged)
    table = await story.table()
    assert table["owner"].to_pylist() == [None]
    assert table.schema.field("owner").type == pa.string()


async def test_8_late_data_is_taken_whenever_it_comes(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    await story.advance("P400D")
    await story.ingest([a_row("2024-01-01T10:00:30Z", "late")], *HOUR)
    assert await story.built() == {"2024-01-01T10:00:00": 61}


async def test_9_fetching_the_same_again_revises_and_announces_nothing(story: Scenario) -> None:
    for _ in range(3):
        await story.ingest(minutes(*HOUR), *HOUR)
    window = (await story.windows())[0]
    assert window.revision is not None
    assert window.revision.number == 1
    assert len(story.events) == 1
    line = (await story.state.ingestions.books())[0]
    assert (line.tally.received, line.tally.stored, line.tally.duplicate) == (180, 60, 120)


async def test_10_frequent_flushes_rebuild_only_the_windows_they_touch(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    await story.ingest([a_row("2024-01-01T11:00:30Z")], "2024-01-01T11:00:30Z", "2024-01-01T11:00:31Z")
    assert [w.version for w in await story.windows()] == [1, 1]
    assert len(story.events) == 1


async def test_11_an_honest_empty_answer_covers(story: Scenario) -> None:
    daily = a_dataset(span="P1D")
    day, noon = "2024-01-01T00:00:00Z", "2024-01-01T12:00:00Z"
    await story.ingest([], day, noon, daily)
    await story.ingest([a_row("2024-01-01T15:00:00Z")], noon, "2024-01-02T00:00:00Z", daily)
    assert await story.built() == {"2024-01-01T00:00:00": 1}


@pytest.mark.parametrize("name", ["a*b", "a?[b]", "x:y", "ä/ö", "..", ".hidden", "a b"])
async def test_12_any_dataset_name_keeps_to_itself(story: Scenario, name: str) -> None:
    await story.ingest(minutes(*HOUR), *HOUR, a_dataset(name))
    await story.ingest(minutes(*HOUR, station="B"), *HOUR, a_dataset("other"))
    assert await story.built(name) == {"2024-01-01T10:00:00": 60}
    assert await story.built("other") == {"2024-01-01T10:00:00": 60}


async def test_13_many_events_at_once_make_one_right_window(story: Scenario) -> None:
    stations = [f"S{i}" for i in range(12)]
    async with asyncio.TaskGroup() as group:
        for station in stations:
            group.create_task(story.ingest(minutes(*HOUR, station=station), *HOUR, settle=False))
    await story.settle()
    assert await story.built() == {"2024-01-01T10:00:00": 60 * len(stations)}


async def test_14_a_revision_that_was_not_told_is_told_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_platform(tmp_path) as story:

        async def die(event: object) -> None:
            raise StoreUnavailable("the process dies between recording and telling")

        monkeypatch.setattr(story.platform.builder, "announce", die)
        await story.ingest(minutes(*HOUR), *HOUR)
        assert story.events == []
    async with a_platform(tmp_path) as story:
        await story.settle()
        assert len(story.events) == 1
        assert await story.built() == {"2024-01-01T10:00:00": 60}
        assert (await story.table()).num_rows == 60


async def test_15_a_failing_build_backs_off_parks_and_can_be_taken_up_again(
    story: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = story.platform.stores.observations.read

    def fail(*_: object) -> object:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(story.platform.stores.observations, "read", fail)
    await story.ingest(minutes(*HOUR), *HOUR)
    window = (await story.windows())[0]
    assert (window.status, window.attempts) == (WindowStatus.QUEUED, 1)
    assert window.due_at is not None
    assert (window.due_at - story.clock.now()).total_seconds() == 5
    assert "the disk is gone" in window.reason

    for _ in range(11):
        await story.advance("PT10M")
    window = (await story.windows())[0]
    assert window.status is WindowStatus.PARKED

    monkeypatch.setattr(story.platform.stores.observations, "read", read)
    await story.platform.rebuild("story", window.key.span)
    assert await story.built() == {"2024-01-01T10:00:00": 60}


async def test_16_a_changed_map_keeps_the_columns_of_the_old_one(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR, a_dataset(metadata=("station_id", "owner")))
    await story.ingest(
        minutes(*HOUR, station="B"), *HOUR, a_dataset(metadata=("station_id", "site"), version=2)
    )
    assert (await story.table()).schema.names[-3:] == ["station_id", "site", "owner"]


async def test_17_an_ingestion_counts_only_when_it_is_whole(
    story: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = story.platform.stores.observations.write
    calls = 0

    async def fail_once(chunk: object, table: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoreUnavailable("half way")
        assert await story.built() == {}
        return await write(chunk, table)

    monkeypatch.setattr(story.platform.stores.observations, "write", fail_once)
    both = (HOUR[0], NEXT[1])
    await story.ingest(minutes(*both), *both)
    assert await story.built() == {"2024-01-01T10:00:00": 60, "2024-01-01T11:00:00": 60}
    assert (await story.state.ingestions.books())[0].tally.stored == 120


async def test_18_a_quality_flag_is_a_field_and_never_a_second_observation(story: Scenario) -> None:
    flagged = a_dataset(metadata=("station_id", "T_qc"))
    await story.ingest([a_row("2024-01-01T10:05:00Z", T_qc="0")], *HOUR, flagged)
    await story.ingest([a_row("2024-01-01T10:05:00Z", T_qc="3")], *HOUR, flagged)
    assert (await story.table())["T_qc"].to_pylist() == ["3"]


async def test_20_coverage_is_remembered_for_ever(tmp_path: Path) -> None:
    async with a_platform(tmp_path) as story:
        await story.ingest(minutes(*HOUR)[:30], HOUR[0], "2024-01-01T10:30:00Z")
    async with a_platform(tmp_path, now="2034-01-01T00:00:00Z") as story:
        await story.ingest(minutes(*HOUR)[30:], "2024-01-01T10:30:00Z", HOUR[1])
        assert await story.built() == {"2024-01-01T10:00:00": 60}


async def test_21_every_command_and_event_is_kept_in_order(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    kinds = [entry.kind async for entry in story.state.log.read()]
    assert kinds == ["IngestDataCommand", "DataAvailableEvent", "DataSetAvailableEvent"]
    assert await story.state.log.open_entries() == []


async def test_bad_rows_go_to_quarantine_and_the_good_ones_land(story: Scenario) -> None:
    good = minutes(*HOUR)
    bad = [
        a_row("2024-01-01T10:00:00Z", "B", lat=95.0),
        a_row("2024-01-01T10:00:00Z", "B", lon=400.0),
        a_row("not a time", "B"),
        a_row("2024-01-01T10:00:00Z", "B", T=float("inf")),
        a_row("2024-01-01T10:00:00Z", "B", T=None),
        a_row("2024-01-01T10:00:00Z", "B", lat=None),
    ]
    await story.ingest([*good, *bad], *HOUR)

    assert await story.built() == {"2024-01-01T10:00:00": 60}
    entry = (await story.state.quarantine.list())[0]
    assert entry.rows == 6
    assert entry.reasons == {"impossible_position": 3, "bad_time": 1, "unreadable_value": 1, "no_value": 1}
    line = (await story.state.ingestions.books())[0]
    assert line.closes
    assert (line.tally.received, line.tally.stored, line.tally.rejected) == (66, 60, 6)


async def test_quarantined_rows_can_be_replayed_under_a_mended_map(story: Scenario) -> None:
    rows = pa.Table.from_pylist(
        [a_row("2024-01-01T10:05:00Z") | {"T": "12.5"}, a_row("2024-01-01T10:06:00Z") | {"T": "x"}]
    )
    await story.ingest(rows, *HOUR)
    entry = (await story.state.quarantine.list())[0]
    assert entry.reasons == {"unreadable_value": 1}

    mended = a_dataset(version=2)
    variables = mended.ingestion_map.canonical_variables
    variables[0] = variables[0].model_copy(update={"dtype": "string"})
    await story.state.datasets.register(mended, [])
    await story.platform.replay.replay(entry)
    await story.settle()
    assert (await story.table())[TEMPERATURE].to_pylist() == ["12.5", "x"]
    assert (await story.state.quarantine.list())[0].status == "replayed"


@pytest.mark.parametrize("fault", ["missing", "not parquet", "no axes", "bad unit"])
async def test_a_payload_that_cannot_work_is_refused_with_its_reason(story: Scenario, fault: str) -> None:
    objects = story.platform.stores.objects
    metadata, location = a_dataset(), "raw/x.parquet"
    if fault == "not parquet":
        await objects.put(location, b"garbage")
    if fault == "no axes":
        await story.ingest(pa.table({"T": [1.0]}), *HOUR)
    else:
        if fault == "bad unit":
            variables = metadata.ingestion_map.canonical_variables
            variables[0] = variables[0].model_copy(update={"cf_unit": "furlongs per jiffy"})
        command = IngestDataCommand(
            id=uuid4(),
            metadata=metadata,
            payload_location=location,
            start_time=parse_time(HOUR[0]),
            end_time=parse_time(HOUR[1]),
        )
        await story.tell(command)
        await story.settle()
    entry = (await story.state.quarantine.list())[0]
    record = await story.state.ingestions.get(entry.ingestion_id)
    assert record.status is IngestionStatus.REFUSED
    assert record.reason
    assert len(await story.platform.broker.dead_letters("ionbeam.ingestion.ingestV1")) == 1
    assert (await story.state.datasets.get("story")) is None or fault == "no axes"
    assert await story.state.log.open_entries() == []


async def test_allow_incomplete_windows_builds_at_once_and_revises_as_data_comes(tmp_path: Path) -> None:
    config = "dataset_coordinator: {allow_incomplete_windows: true}"
    async with a_platform(tmp_path, now="2024-01-01T10:20:00Z", config=config) as story:
        await story.ingest(minutes(*HOUR)[:10], HOUR[0], "2024-01-01T10:10:00Z")
        assert await story.built() == {"2024-01-01T10:00:00": 10}
        await story.ingest(minutes(*HOUR)[10:20], "2024-01-01T10:15:00Z", "2024-01-01T10:20:00Z")
        assert await story.built() == {"2024-01-01T10:00:00": 20}


async def test_rows_outside_the_claimed_span_land_in_their_own_windows(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    await story.ingest([*minutes(*NEXT), a_row("2024-01-01T10:30:30Z", "late")], *NEXT)
    assert await story.built() == {"2024-01-01T10:00:00": 61, "2024-01-01T11:00:00": 60}


async def test_an_answer_that_changes_back_makes_the_window_what_it_was(story: Scenario) -> None:
    values = []
    for value in (1.0, 2.0, 1.0):
        await story.ingest([a_row("2024-01-01T10:05:00Z", T=value)], *HOUR)
        values.append((await story.table())[TEMPERATURE].to_pylist())
    assert values == [[1.0], [2.0], [1.0]]
    hashes = [r.content_hash for r in await story.state.windows.revisions((await story.windows())[0].key)]
    assert hashes[0] == hashes[2]
    assert hashes[0] != hashes[1]


async def test_a_redelivered_command_is_done_once_even_after_newer_values(story: Scenario) -> None:
    first = await story.ingest([a_row("2024-01-01T10:05:00Z", T=1.0)], *HOUR)
    await story.ingest([a_row("2024-01-01T10:05:00Z", T=2.0)], *HOUR)
    await story.tell(first)
    await story.settle()
    assert (await story.table())[TEMPERATURE].to_pylist() == [2.0]


async def test_an_id_that_is_used_again_for_something_else_loses_nothing_silently(story: Scenario) -> None:
    first = await story.ingest([a_row("2024-01-01T10:05:00Z")], *HOUR)
    await story.ingest([a_row("2024-01-01T10:06:00Z", "B")], *HOUR, ingestion_id=first.id)
    assert await story.built() == {"2024-01-01T10:00:00": 1}
    (entry,) = await story.state.quarantine.list()
    assert "belongs to the ingestion of" in next(iter(entry.reasons))


async def test_a_published_file_that_is_lost_is_published_again(story: Scenario) -> None:
    await story.ingest(minutes(*HOUR), *HOUR)
    before = await story.files()
    for path in story.platform.stores.datasets_root.glob("story_*"):
        path.unlink()
    restored = await story.platform.builder.restore_missing()
    assert [key.id for key in restored] == ["2024-01-01T10:00:00+00:00_PT1H"]
    assert await story.files() == before
    assert await story.platform.builder.restore_missing() == []


async def test_a_failing_source_or_store_does_not_end_the_run(
    story: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message that cannot be told, one build that breaks: the others go on."""

    def broken(*_: object) -> object:
        raise ZeroDivisionError("a defect in the store")

    monkeypatch.setattr(story.platform.stores.observations, "read", broken)
    await story.ingest(minutes(*HOUR), *HOUR)
    window = (await story.windows())[0]
    assert (window.status, window.attempts) == (WindowStatus.QUEUED, 1)
    assert window.reason == "ZeroDivisionError: a defect in the store"


async def test_an_event_without_news_leaves_a_failing_window_its_backoff(
    story: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(story.platform.stores.observations, "read", fail)
    await story.ingest(minutes(*HOUR), *HOUR)
    due = (await story.windows())[0].due_at
    await story.ingest([], *HOUR)
    window = (await story.windows())[0]
    assert (window.attempts, window.due_at) == (1, due)
