from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from ionbeam.cli.account import Account, Announced, rows_sentence, tally_form, waiting, waiting_sentence
from ionbeam.cli.session import remarks
from ionbeam.config import load
from ionbeam.records import Tally
from ionbeam.testing.scenario import a_dataset, a_platform, minutes
from ionbeam.wiring import open_platform

HOUR = ("2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z")


async def test_only_what_happens_after_it_began_to_listen_counts(tmp_path: Path) -> None:
    async with a_platform(tmp_path, now="2024-01-03T00:00:00Z") as story:
        early = await story.ingest(minutes(*HOUR), *HOUR)
    async with open_platform(load(data_dir=tmp_path)) as platform:
        account = Account(platform)
        settled = await account.settled([early.id, early.id])
        assert (settled.rows, settled.known, settled.failures) == (Tally(), 1, {})
        assert account.windows() == {"built": 0, "revised": 0}


async def test_revisions_are_told_with_the_rows_they_add(tmp_path: Path) -> None:
    told: list[Announced] = []
    async with a_platform(tmp_path, now="2100-01-01T00:00:00Z") as story:
        account = Account(story.platform, told.append)
        await account.listen()
        first = await story.ingest(minutes(*HOUR), *HOUR)
        second = await story.ingest(minutes(*HOUR, station="B", step="PT10M"), *HOUR)
        assert [(news.revision.number, news.added) for news in told] == [(1, 60), (2, 6)]
        assert account.windows() == {"built": 1, "revised": 1}
        settled = await account.settled([first.id, second.id])
        assert settled.rows == Tally(66, 66)
        assert (await account.summary(settled.rows))["waiting"] == {}


async def test_what_was_refused_or_is_not_done_is_a_failure(tmp_path: Path) -> None:
    async with a_platform(tmp_path, now="2100-01-01T00:00:00Z") as story:
        account = Account(story.platform)
        refused = await story.ingest(pa.table({"x": [1]}), *HOUR)
        unknown = uuid4()
        settled = await account.settled([refused.id, unknown])
        assert settled.failures[refused.id].startswith("refused: the payload has no column")
        assert settled.failures[unknown] == "not ingested yet; `ionbeam reconcile` takes it up"


async def test_windows_that_wait_are_counted_by_reason(tmp_path: Path) -> None:
    async with a_platform(tmp_path, now="2024-01-01T01:30:00Z") as story:
        await story.ingest(minutes(*HOUR), *HOUR, a_dataset("late", lateness="P1D"))
        await story.ingest(minutes(*HOUR), HOUR[0], "2024-01-01T00:30:00Z", a_dataset("short"))
        reasons = waiting(await story.state.windows.windows())
    assert reasons == {"subject_to_change": 1, "incomplete_coverage": 1}
    assert waiting_sentence(reasons) == "2 windows: 1 subject_to_change, 1 incomplete_coverage"
    assert waiting_sentence({}) == ""


def test_rows_are_told_as_their_equation() -> None:
    form = tally_form(Tally(10, 7, 2, 1))
    assert rows_sentence(form) == "10 received = 7 stored + 2 duplicate + 1 rejected"


def test_a_schedule_of_a_source_that_is_not_here_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "scheduler: {windows: [{source_name: netatmo, window_size: PT1H, trigger_interval: PT1H}]}"
    )
    assert remarks(load(path)) == [
        "scheduler.windows: netatmo is never asked: this version has no such source"
    ]
