"""Whether a window may be built, and when: a pure decision over what is known of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ionbeam.records import Decision, WindowFacts, WindowStatus

GAP = "gap"
INCOMPLETE_COVERAGE = "incomplete_coverage"
SUBJECT_TO_CHANGE = "subject_to_change"


@dataclass(frozen=True, slots=True)
class ReadinessPolicy:
    """What a window must fulfil before its first build."""

    allow_incomplete_windows: bool = False
    """Build as soon as there are rows: no coverage asked for, no lateness waited for."""


def decide(
    facts: WindowFacts, allowed_lateness: timedelta, policy: ReadinessPolicy, now: datetime
) -> Decision | None:
    """What is to happen with a window; None when its revision already holds everything.

    A covered window becomes due ``allowed_lateness`` after its end. That is a time, not an event:
    the build queue finds it then without anything else having to arrive.
    """
    if facts.version == facts.built_version:
        return None
    if policy.allow_incomplete_windows:
        return Decision(facts.key, WindowStatus.QUEUED, due_at=now)
    if not facts.covered:
        return Decision(facts.key, WindowStatus.WAITING, GAP if facts.has_gap else INCOMPLETE_COVERAGE)
    settled_at = facts.key.span.end + allowed_lateness
    if settled_at > now:
        return Decision(facts.key, WindowStatus.QUEUED, SUBJECT_TO_CHANGE, settled_at)
    return Decision(facts.key, WindowStatus.QUEUED, due_at=now)
