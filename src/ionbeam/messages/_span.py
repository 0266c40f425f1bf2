"""What every message about a span shares; kept apart from the models so that their fields keep the
published JSON order."""

from datetime import datetime
from typing import Protocol, TypeVar

from ionbeam.observations.timespan import TimeSpan


class Spanning(Protocol):
    """Anything that has a start and an end."""

    start_time: datetime
    end_time: datetime


S = TypeVar("S", bound=Spanning)


def check_forward(message: S) -> S:
    """Refuse a message that ends before it starts."""
    if message.end_time < message.start_time:
        raise ValueError(
            f"end_time {message.end_time.isoformat()} lies before start_time {message.start_time.isoformat()}"
        )
    return message


def span_of(message: Spanning) -> TimeSpan:
    """The span a message is about."""
    return TimeSpan(message.start_time, message.end_time)
