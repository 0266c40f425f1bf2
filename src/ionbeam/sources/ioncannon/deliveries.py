"""Which rows come with a span: the grid of stations and times, less what is late or lost, and faults.

A row here is only its counters, station and time; what was measured follows from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ionbeam.observations.timespan import TimeSpan, to_nanoseconds
from ionbeam.sources.ioncannon.draws import Draws, Integers

BATCH_ROWS = 65_536
_HOUR_NS = 3600 * 10**9


class Fault(IntEnum):
    """What is wrong with a row."""

    NONE = 0
    NO_TIME = 1
    LATITUDE = 2
    LONGITUDE = 3


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the data with a fault, each from 0 to 1."""

    late: float = 0
    gap: float = 0
    duplicate: float = 0
    malformed: float = 0
    disorder: float = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """The counters of some rows; three arrays of one length."""

    station: Integers
    time_ns: Integers
    fault: npt.NDArray[np.int8]

    def take(self, chosen: Integers | slice) -> "Rows":
        """The rows at these positions."""
        return Rows(self.station[chosen], self.time_ns[chosen], self.fault[chosen])

    @staticmethod
    def joined(parts: list["Rows"]) -> "Rows":
        """One after the other."""
        return Rows(
            np.concatenate([part.station for part in parts]),
            np.concatenate([part.time_ns for part in parts]),
            np.concatenate([part.fault for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.station)


class Deliveries:
    """What stations that measure at multiples of ``every`` deliver, and when."""

    def __init__(self, draws: Draws, stations: int, every: timedelta, shares: Shares) -> None:
        self._draws = draws
        self._stations = np.arange(stations)
        self._every_ns = every // timedelta(microseconds=1) * 1000
        self._shares = shares

    def within(self, span: TimeSpan) -> Iterator[Rows]:
        """The rows delivered in ``span``, in parts of at most 65 536."""
        waiting: list[Rows] = []
        for block in self._blocks(to_nanoseconds(span.start), to_nanoseconds(span.end)):
            waiting.append(self._with_copies(block))
            if sum(map(len, waiting)) >= BATCH_ROWS:
                *full, rest = _parts(Rows.joined(waiting))
                yield from map(self._shuffled, full)
                waiting = [rest]
        if waiting:
            yield from map(self._shuffled, _parts(Rows.joined(waiting)))

    def _blocks(self, start_ns: int, end_ns: int) -> Iterator[Rows]:
        """The grid hour by hour: first what is late from the hour before, then what is on time."""
        for hour in range(start_ns // _HOUR_NS, -(-end_ns // _HOUR_NS)):
            from_ns, until_ns = hour * _HOUR_NS, (hour + 1) * _HOUR_NS
            if start_ns <= from_ns < end_ns:
                yield from self._grid(from_ns - _HOUR_NS, from_ns, self._reporting(hour - 1, late=True))
            yield from self._grid(
                max(start_ns, from_ns), min(end_ns, until_ns), self._reporting(hour, late=False)
            )

    def _reporting(self, hour: int, *, late: bool) -> Integers:
        """The stations whose data of an hour arrive late, or in time."""
        counters = self._stations, np.full_like(self._stations, hour)
        is_late = self._draws.shares("late", *counters) < self._shares.late
        is_lost = self._draws.shares("gap", *counters) < self._shares.gap
        reporting: Integers = self._stations[(is_late == late) & ~is_lost]
        return reporting

    def _grid(self, from_ns: int, until_ns: int, stations: Integers) -> Iterator[Rows]:
        """All ``stations`` at every time in ``[from_ns, until_ns)``, time by time."""
        first_ns = -(-from_ns // self._every_ns) * self._every_ns
        times = np.arange(first_ns, until_ns, self._every_ns)
        if not len(stations):
            return
        step = max(1, BATCH_ROWS // len(stations))
        for some in (times[at : at + step] for at in range(0, len(times), step)):
            size = len(some) * len(stations)
            yield Rows(np.tile(stations, len(some)), np.repeat(some, len(stations)), np.zeros(size, np.int8))

    def _with_copies(self, rows: Rows) -> Rows:
        """The rows, some of them twice, some once more with a fault."""
        if not self._shares.duplicate and not self._shares.malformed:
            return rows
        counters = rows.station, rows.time_ns
        twice = self._draws.shares("duplicate", *counters) < self._shares.duplicate
        faulty = self._draws.shares("malformed", *counters) < self._shares.malformed
        copies = 1 + twice.astype(np.int64) + faulty
        more = rows.take(np.repeat(np.arange(len(rows)), copies))
        last_copy = np.cumsum(copies)[faulty] - 1
        kind = self._draws.words("fault", *counters)[faulty] % np.uint64(3) + np.uint64(1)
        more.fault[last_copy] = kind.astype(np.int8)
        return more

    def _shuffled(self, rows: Rows) -> Rows:
        """The rows, a share of them in each other's places."""
        if not self._shares.disorder:
            return rows
        position = np.arange(len(rows))
        moved = np.flatnonzero(
            self._draws.shares("moved", rows.station, rows.time_ns, position) < self._shares.disorder
        )
        lot = self._draws.words("place", rows.station[moved], rows.time_ns[moved], moved)
        position[moved] = moved[np.argsort(lot)]
        return rows.take(position)


def _parts(rows: Rows) -> list[Rows]:
    cuts = [*range(0, len(rows), BATCH_ROWS), len(rows)]
    return [rows.take(slice(a, b)) for a, b in pairwise(cuts)]
