"""What every message about a span shares; kept apart from the models so that their fields keep the
published JSON order."""

from datetime import UTC, datetime
from typing import Protocol, TypeVar

from ionbeam.observations.timespan import TimeSpan


class Spanning(Protocol):
    """Anything that has a start and an end."""

    start_time: datetime
    end_time: datetime


S = TypeVar("S", bound=Spanning)


_EARLIEST, _LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


def check_span(message: S) -> S:
    """Refuse a message that ends before it starts, or reaches where nanosecond timestamps end."""
    if message.end_time < message.start_time:
        raise ValueError(
            f"end_time {message.end_time.isoformat()} lies before start_time {message.start_time.isoformat()}"
        )
    if message.start_time < _EARLIEST or message.end_time > _LATEST:
        raise ValueError(
            f"the span {message.start_time.isoformat()} to {message.end_time.isoformat()} leaves the years "
            "1678 to 2261, beyond which there are no nanosecond timestamps"
        )
    return message


def span_of(message: Spanning) -> TimeSpan:
    """The span a message is about."""
    return TimeSpan(message.start_time, message.end_time)
