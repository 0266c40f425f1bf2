"""Half-open spans of event time in UTC, and the epoch-aligned windows laid over them.

Every span is ``[start, end)``. Naive datetimes are refused where they enter, so nothing behind
this module has to ask which zone is meant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, TypeAdapter

from ionbeam.errors import InvalidInput, NaiveDatetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_DURATION = TypeAdapter(timedelta)


def to_utc(value: datetime) -> datetime:
    """``value`` in UTC; `NaiveDatetime` when it has no zone, `InvalidInput` beyond the years 1 to 9999."""
    if value.utcoffset() is None:
        raise NaiveDatetime(
            f"{value.isoformat()} has no time zone; write {value.isoformat()}Z or another offset"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{value.isoformat()} lies outside the years 1 to 9999 in UTC") from error


UtcDatetime = Annotated[datetime, AfterValidator(to_utc)]
"""A model field that refuses naive datetimes and holds UTC."""


def parse_time(text: str) -> datetime:
    """An ISO 8601 time with its zone, in UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not an ISO 8601 time such as 2024-01-01T00:00:00Z") from error
    return to_utc(value)


def parse_duration(value: str | int | float | timedelta) -> timedelta:
    """An ISO 8601 duration (``PT1H``, ``PT05M``, ``P1D``), ``HH:MM:SS`` or a number of seconds."""
    try:
        return _DURATION.validate_python(value)
    except ValueError as error:
        raise InvalidInput(f"{value!r} is not a duration such as PT1H or P1D") from error


def format_duration(value: timedelta) -> str:
    """The ISO 8601 form used on the wire and in file names: ``PT1H``, ``P1D``, ``PT1H30M``."""
    return str(_DURATION.dump_python(value, mode="json"))


def format_stamp(value: datetime) -> str:
    """The compact form used in file names: ``20240101T120000``, in UTC."""
    return value.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def from_nanoseconds(value: int) -> datetime:
    """The datetime at or just before ``value`` nanoseconds after the epoch."""
    return EPOCH + timedelta(microseconds=value // 1000)


def to_nanoseconds(value: datetime) -> int:
    """Nanoseconds from the epoch to ``value``, exactly."""
    return (value - EPOCH) // MICROSECOND * 1000


@dataclass(frozen=True, slots=True, order=True)
class TimeSpan:
    """``[start, end)`` in UTC; an empty span (``start == end``) is allowed, a backward one is not."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", to_utc(self.start))
        object.__setattr__(self, "end", to_utc(self.end))
        if self.end < self.start:
            raise InvalidInput(
                f"the span ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})"
            )

    @property
    def length(self) -> timedelta:
        """How long the span is."""
        return self.end - self.start

    def contains(self, other: "TimeSpan") -> bool:
        """Whether ``other`` lies wholly inside."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: "TimeSpan") -> bool:
        """Whether the two share any instant."""
        return self.start < other.end and other.start < self.end

    def widened(self, by: timedelta) -> "TimeSpan":
        """The span with ``by`` added on both sides."""
        return TimeSpan(self.start - by, self.end + by)

    def split(self, length: timedelta) -> Iterator["TimeSpan"]:
        """Consecutive parts cut at epoch multiples of ``length``."""
        start = self.start
        while start < self.end:
            end = min(align(start, length) + length, self.end)
            yield TimeSpan(start, end)
            start = end

    def __str__(self) -> str:
        return f"{self.start.isoformat()}/{self.end.isoformat()}"


def align(time: datetime, length: timedelta) -> datetime:
    """The last UTC-epoch multiple of ``length`` at or before ``time``."""
    if length <= timedelta(0):
        raise InvalidInput(f"a window needs a positive length, not {format_duration(length)}")
    return EPOCH + (time - EPOCH) // length * length


def windows_over(span: TimeSpan, length: timedelta) -> Iterator[TimeSpan]:
    """The aligned windows that share any instant with ``span``, in order."""
    start = align(span.start, length)
    while start < span.end:
        yield TimeSpan(start, start + length)
        start += length
