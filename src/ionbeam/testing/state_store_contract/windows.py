"""What every `WindowLedger` must do."""

# ruff: noqa: D102 - a contract's clauses are told by their names

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import StateStore
from ionbeam.records import Decision, WindowFacts, WindowKey, WindowState, WindowStatus
from ionbeam.testing.scenario import a_dataset
from ionbeam.testing.state_store_contract.examples import (
    DAY,
    HOUR,
    NOW,
    SECOND,
    a_command,
    a_revision,
    admitted,
    at,
    built,
    claimed,
    event_of,
    queued,
    revised,
    settled,
    span,
    the_window,
)

HALF_SECOND = timedelta(seconds=0.5)
CLAIMS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(
        lambda claim: TimeSpan(DAY + claim[0] * HALF_SECOND, DAY + sum(claim) * HALF_SECOND)
    ),
    max_size=14,
)
WINDOW = timedelta(seconds=8)


class WindowLedgerContract:
    """Clauses about coverage and windows."""

    _examples = 0

    async def test_an_event_counts_up_the_windows_it_touches_once(self, store: StateStore) -> None:
        touched = await admitted(store, a_command(1, 10, 12))
        assert await _versions(store) == {10: 1, 11: 1}
        await store.windows.admit(event_of(a_command(1, 10, 12)), touched)
        assert await _versions(store) == {10: 1, 11: 1}
        await admitted(store, a_command(2, 11, 12))
        assert await _versions(store) == {10: 1, 11: 2}

    async def test_a_touched_window_waits_until_it_is_decided_about(self, store: StateStore) -> None:
        [key] = await admitted(store, a_command(1))
        window = await the_window(store)
        assert window == WindowState(key, WindowStatus.WAITING, "", 1, 0, None, 0, None)
        assert await store.builds.claim(NOW) is None

    async def test_an_empty_answer_covers_and_touches_nothing(self, store: StateStore) -> None:
        await store.datasets.register(a_dataset(), [])
        await admitted(store, a_command(1), [])
        assert await store.windows.windows() == []
        assert await _coverage(store) == [span(10, 11)]

    async def test_an_event_told_again_covers_nothing_new(self, store: StateStore) -> None:
        await store.datasets.register(a_dataset(), [])
        for _ in range(2):
            await store.windows.admit(event_of(a_command(1)), [])
        assert await _coverage(store) == [span(10, 11)]

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    @given(claims=CLAIMS)
    async def test_coverage_is_the_union_with_holes_of_a_second_closed(
        self, store: StateStore, claims: list[TimeSpan]
    ) -> None:
        dataset = await self._claims(store, claims)
        assert await _coverage(store, dataset.dataset.name) == _union(claims)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    @given(claims=CLAIMS)
    async def test_facts_follow_from_the_claims(self, store: StateStore, claims: list[TimeSpan]) -> None:
        dataset = await self._claims(store, claims)
        name, spans = dataset.dataset.name, _union(claims)
        every = [WindowKey(name, DAY + n * WINDOW, WINDOW) for n in range(5)]
        command = a_command(self._examples, 0, 0, dataset)
        await store.windows.admit(await settled(store, command), every)
        found = await store.windows.examine(name, WINDOW, TimeSpan(DAY, DAY + 5 * WINDOW))
        assert found == [_facts_by_definition(key, spans) for key in every]

    async def _claims(self, store: StateStore, claims: Sequence[TimeSpan]) -> IngestionMetadata:
        """A dataset of its own with these claims."""
        type(self)._examples += 1
        dataset = a_dataset(f"dataset {self._examples}")
        await store.datasets.register(dataset, [])
        for number, claim in enumerate(claims):
            event = event_of(a_command(1000 * self._examples + number, metadata=dataset))
            told = event.model_copy(update={"start_time": claim.start, "end_time": claim.end})
            await store.windows.admit(told, [])
        return dataset

    async def test_datasets_have_coverage_of_their_own(self, store: StateStore) -> None:
        for name in ("a", "b"):
            await store.datasets.register(a_dataset(name), [])
        await admitted(store, a_command(1, metadata=a_dataset("a")))
        assert await _coverage(store, "b") == []

    async def test_windows_that_overlap_a_span_are_examined(self, store: StateStore) -> None:
        await admitted(store, a_command(1, 9, 12))
        for part, hours in (
            (span(9.5, 10), [9]),
            (span(9.99, 10.01), [9, 10]),
            (span(10, 11), [10]),
            (span(0, 24), [9, 10, 11]),
            (span(12, 13), []),
        ):
            facts = await store.windows.examine("story", HOUR, part)
            assert [fact.key.start for fact in facts] == [at(hour) for hour in hours]

    async def test_windows_of_other_lengths_and_datasets_are_not_examined(self, store: StateStore) -> None:
        await admitted(store, a_command(1))
        await admitted(store, a_command(2, metadata=a_dataset(span="P1D")))
        await admitted(store, a_command(3, metadata=a_dataset("another")))
        [facts] = await store.windows.examine("story", timedelta(days=1), span(0, 24))
        assert facts.key == WindowKey("story", DAY, timedelta(days=1))

    async def test_a_decision_is_remembered(self, store: StateStore, other: StateStore) -> None:
        keys = await admitted(store, a_command(1, 10, 12))
        later = NOW + timedelta(days=3)
        await store.windows.decide(
            [
                Decision(keys[0], WindowStatus.WAITING, "gap"),
                Decision(keys[1], WindowStatus.QUEUED, "subject_to_change", later),
            ]
        )
        first, second = await other.windows.windows()
        assert (first.status, first.reason, first.due_at) == ("waiting", "gap", None)
        assert (second.status, second.reason, second.due_at) == ("queued", "subject_to_change", later)

    async def test_a_decision_made_on_older_facts_puts_nothing_back(
        self, store: StateStore, other: StateStore
    ) -> None:
        """Coverage only grows; another coordinator may have decided with more of it in the meantime."""
        [key] = await queued(store)
        await other.windows.decide([Decision(key, WindowStatus.WAITING, "incomplete_coverage")])
        assert (await the_window(store)).status is WindowStatus.QUEUED
        await built(store)
        await other.windows.decide([Decision(key, WindowStatus.WAITING, "incomplete_coverage")])
        assert (await the_window(store)).status is WindowStatus.BUILT

    async def test_a_built_window_with_news_may_have_to_wait(self, store: StateStore) -> None:
        [key] = await queued(store)
        await built(store)
        await admitted(store, a_command(2))
        await store.windows.decide([Decision(key, WindowStatus.WAITING, "gap")])
        window = await the_window(store)
        assert (window.status, window.reason, window.built_version) == ("waiting", "gap", 1)

    async def test_deciding_takes_no_window_out_of_a_builders_hands(self, store: StateStore) -> None:
        [key] = await queued(store)
        order = await claimed(store)
        await store.windows.decide([Decision(key, WindowStatus.QUEUED, due_at=NOW)])
        assert await store.builds.claim(NOW) is None
        revision = a_revision(order)
        await store.builds.settle(order, revision, revised(revision))
        assert (await the_window(store)).status is WindowStatus.BUILT

    async def test_windows_are_listed_by_dataset_start_and_span(self, store: StateStore) -> None:
        await admitted(store, a_command(1, 10, 12, a_dataset("b")))
        await admitted(store, a_command(2, 9, 11, a_dataset("a")))

        async def listed(dataset: str | None = None, part: TimeSpan | None = None) -> list[tuple[str, int]]:
            windows = await store.windows.windows(dataset, part)
            return [(w.key.dataset, w.key.start.hour) for w in windows]

        assert await listed() == [("a", 9), ("a", 10), ("b", 10), ("b", 11)]
        assert await listed("b") == [("b", 10), ("b", 11)]
        assert await listed(part=span(9.5, 10.5)) == [("a", 9), ("a", 10), ("b", 10)]
        assert await listed("b", span(11, 11.1)) == [("b", 11)]
        assert await listed("none") == []

    async def test_revisions_are_kept_oldest_first(self, store: StateStore, other: StateStore) -> None:
        [key] = await queued(store)
        await built(store)
        await queued(store, 2)
        [order] = await built(store)
        assert order.revision is not None
        assert await other.windows.revisions(key) == [order.revision, a_revision(order)]
        assert (await the_window(other)).revision == a_revision(order)
        assert await store.windows.revisions(WindowKey("none", at(10), HOUR)) == []

    async def test_only_the_newest_revisions_may_be_asked_for(self, store: StateStore) -> None:
        for number in range(1, 5):
            [key] = await queued(store, number)
            await built(store)
        for newest, numbers in ((1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4]), (None, [1, 2, 3, 4])):
            found = await store.windows.revisions(key, newest=newest)
            assert [revision.number for revision in found] == numbers


def _union(claims: Sequence[TimeSpan]) -> list[TimeSpan]:
    """The claims as disjoint spans, holes of up to a second closed."""
    result: list[TimeSpan] = []
    for claim in sorted(claim for claim in claims if claim.length):
        if result and claim.start - result[-1].end <= SECOND:
            result[-1] = TimeSpan(result[-1].start, max(claim.end, result[-1].end))
        else:
            result.append(claim)
    return result


def _facts_by_definition(key: WindowKey, spans: Sequence[TimeSpan]) -> WindowFacts:
    holes = [(one.end, two.start) for one, two in pairwise(spans)]
    return WindowFacts(
        key,
        version=1,
        built_version=0,
        covered=any(claimed.contains(key.span) for claimed in spans),
        has_gap=any(_overlap(hole, (key.start, key.span.end)) for hole in holes),
    )


def _overlap(one: tuple[datetime, datetime], two: tuple[datetime, datetime]) -> bool:
    return one[0] < two[1] and two[0] < one[1]


async def _coverage(store: StateStore, dataset: str = "story") -> list[TimeSpan]:
    return await store.datasets.coverage(dataset)


async def _versions(store: StateStore) -> dict[int, int]:
    return {window.key.start.hour: window.version for window in await store.windows.windows()}
