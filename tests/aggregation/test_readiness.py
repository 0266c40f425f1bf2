from datetime import UTC, datetime, timedelta

import pytest

from ionbeam.aggregation.readiness import ReadinessPolicy, decide
from ionbeam.records import Decision, WindowFacts, WindowKey, WindowStatus

START = datetime(2024, 1, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = WindowKey("story", START, HOUR)
NOW = START + timedelta(days=2)
STRICT, LENIENT = ReadinessPolicy(), ReadinessPolicy(allow_incomplete_windows=True)


def facts(*, covered: bool = True, has_gap: bool = False, built_version: int = 0) -> WindowFacts:
    return WindowFacts(KEY, version=2, built_version=built_version, covered=covered, has_gap=has_gap)


@pytest.mark.parametrize("policy", [STRICT, LENIENT])
def test_a_window_whose_revision_holds_everything_is_left_alone(policy: ReadinessPolicy):
    assert decide(facts(built_version=2), HOUR, policy, NOW) is None


@pytest.mark.parametrize("built_version", [0, 1])
def test_a_covered_window_with_news_is_due_now(built_version: int):
    due = Decision(KEY, WindowStatus.QUEUED, due_at=NOW)
    assert decide(facts(built_version=built_version), timedelta(0), STRICT, NOW) == due


@pytest.mark.parametrize(("has_gap", "reason"), [(True, "gap"), (False, "incomplete_coverage")])
def test_a_window_that_is_not_covered_waits_and_says_for_what(has_gap: bool, reason: str):
    uncovered = facts(covered=False, has_gap=has_gap)
    assert decide(uncovered, timedelta(0), STRICT, NOW) == Decision(KEY, WindowStatus.WAITING, reason)


def test_a_covered_window_is_due_when_its_lateness_is_over():
    late_until = START + HOUR + timedelta(days=3)
    waiting = Decision(KEY, WindowStatus.QUEUED, "subject_to_change", late_until)
    assert decide(facts(), timedelta(days=3), STRICT, NOW) == waiting
    assert decide(facts(), timedelta(days=3), STRICT, late_until) == Decision(
        KEY, WindowStatus.QUEUED, due_at=late_until
    )


def test_a_window_that_still_runs_is_not_due_though_it_is_covered():
    now = START + HOUR / 2
    decision = decide(facts(), timedelta(0), STRICT, now)
    assert decision == Decision(KEY, WindowStatus.QUEUED, "subject_to_change", START + HOUR)


@pytest.mark.parametrize("covered", [True, False])
def test_who_allows_incomplete_windows_waits_for_nothing(covered: bool):
    now = START + HOUR / 2
    decision = decide(facts(covered=covered, has_gap=not covered), timedelta(days=3), LENIENT, now)
    assert decision == Decision(KEY, WindowStatus.QUEUED, due_at=now)
