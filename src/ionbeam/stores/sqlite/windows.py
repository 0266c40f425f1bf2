"""Coverage and the windows over it: what the coordinator asks and decides."""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta

from ionbeam.messages.events import DataAvailableEvent
from ionbeam.observations.timespan import MICROSECOND, TimeSpan, align
from ionbeam.records import (
    GAP_TOLERANCE,
    Decision,
    Revision,
    WindowFacts,
    WindowKey,
    WindowState,
    WindowStatus,
)
from ionbeam.stores.sqlite import rows
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.rows import key_values, micros

_TOLERANCE_US = GAP_TOLERANCE // MICROSECOND
_KEY = "dataset = ? AND length_us = ? AND start_us = ?"

_FAILED = "(attempts > 0 AND tried_version = version)"
_WAITS = f"?1 = '{WindowStatus.WAITING}'"
_IS_ANSWERED = f"(status = '{WindowStatus.QUEUED}' OR version = built_version)"
_DECIDED = (
    "dataset = ?5 AND length_us = ?6 AND start_us = ?7 "
    f"AND (?4 OR NOT ({_FAILED} OR ({_WAITS} AND {_IS_ANSWERED})))"
)
"""Whether a decision (?1 status, ?4 forced) applies to a window."""


class SqliteWindowLedger:
    """`ports.WindowLedger` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, event: DataAvailableEvent, touched: Sequence[WindowKey]) -> None:
        """Add the event's claim to the coverage; count up the windows its rows touch, once."""
        dataset = event.metadata.dataset.name
        start, end = micros(event.start_time), micros(event.end_time)

        def work(c: sqlite3.Connection) -> None:
            if end > start:
                _cover(c, dataset, start, end)
            query = "UPDATE ingestions SET admitted = 1 WHERE id = ? AND admitted = 0"
            if c.execute(query, (str(event.id),)).rowcount:
                c.executemany(
                    "INSERT INTO windows (dataset, length_us, start_us, version) VALUES (?, ?, ?, 1) "
                    "ON CONFLICT DO UPDATE SET version = version + 1",
                    [key_values(key) for key in touched],
                )

        await self._database.write(work)

    async def examine(self, dataset: str, length: timedelta, span: TimeSpan) -> list[WindowFacts]:
        """The windows of ``length`` that overlap ``span`` and hold rows."""
        first, end = micros(align(span.start, length)), micros(span.end)
        query = "SELECT * FROM windows WHERE dataset = ? AND length_us = ? AND start_us >= ? AND start_us < ?"

        def work(c: sqlite3.Connection) -> list[WindowFacts]:
            found = c.execute(query, (dataset, length // MICROSECOND, first, end)).fetchall()
            return [_facts(c, row) for row in found]

        return await self._database.read(work)

    async def decide(self, decisions: Sequence[Decision]) -> None:
        """Queue windows or note what they wait for, see `ports.WindowLedger`.

        Coverage only grows: what says "wait" although the window was queued or built meanwhile was
        decided on older facts and is dropped.
        """

        def work(c: sqlite3.Connection) -> None:
            c.executemany(
                f"UPDATE windows SET status = ?1, reason = ?2, due_us = ?3, attempts = 0 WHERE {_DECIDED}",
                [
                    (
                        d.status,
                        d.reason,
                        None if d.due_at is None else micros(d.due_at),
                        d.forced,
                        *key_values(d.key),
                    )
                    for d in decisions
                ],
            )

        await self._database.write(work)

    async def windows(self, dataset: str | None = None, span: TimeSpan | None = None) -> list[WindowState]:
        """Windows in order of dataset and start."""

        def work(c: sqlite3.Connection) -> list[WindowState]:
            query = (
                "SELECT * FROM windows WHERE (?1 IS NULL OR dataset = ?1) AND (?2 IS NULL OR "
                "(start_us + length_us > ?2 AND start_us < ?3)) ORDER BY dataset, start_us, length_us"
            )
            limits = (micros(span.start), micros(span.end)) if span else (None, None)
            found = c.execute(query, (dataset, *limits)).fetchall()
            return [rows.window(row, current_revision(c, rows.window_key(row))) for row in found]

        return await self._database.read(work)

    async def revisions(self, key: WindowKey, *, newest: int | None = None) -> list[Revision]:
        """The revisions of a window, oldest first; only so many of the ``newest``."""
        query = f"SELECT * FROM revisions WHERE {_KEY} ORDER BY number DESC LIMIT ?"
        values = (*key_values(key), -1 if newest is None else newest)
        found = await self._database.read(lambda c: c.execute(query, values).fetchall())
        return [rows.revision(row) for row in reversed(found)]


def current_revision(c: sqlite3.Connection, key: WindowKey) -> Revision | None:
    """The newest revision of a window."""
    query = f"SELECT * FROM revisions WHERE {_KEY} ORDER BY number DESC LIMIT 1"
    row = c.execute(query, key_values(key)).fetchone()
    return rows.revision(row) if row else None


def coverage(c: sqlite3.Connection, dataset: str) -> list[TimeSpan]:
    """The claimed spans of a dataset, joined."""
    found = c.execute("SELECT * FROM coverage WHERE dataset = ? ORDER BY start_us", (dataset,)).fetchall()
    return [TimeSpan(rows.moment(row["start_us"]), rows.moment(row["end_us"])) for row in found]


def _cover(c: sqlite3.Connection, dataset: str, start: int, end: int) -> None:
    """Add a claim to the disjoint spans kept per dataset, joining those within the tolerance."""
    near = c.execute(
        "SELECT start_us, end_us FROM coverage WHERE dataset = ?1 AND start_us <= ?3 AND start_us >= "
        "COALESCE((SELECT MAX(start_us) FROM coverage WHERE dataset = ?1 AND start_us <= ?2), ?2)",
        (dataset, start, end + _TOLERANCE_US),
    ).fetchall()
    joined = [row for row in near if row["end_us"] >= start - _TOLERANCE_US]
    c.executemany(
        "DELETE FROM coverage WHERE dataset = ? AND start_us = ?",
        [(dataset, row["start_us"]) for row in joined],
    )
    lowest = min([start, *(row["start_us"] for row in joined)])
    highest = max([end, *(row["end_us"] for row in joined)])
    c.execute("INSERT INTO coverage VALUES (?, ?, ?)", (dataset, lowest, highest))


def _facts(c: sqlite3.Connection, row: sqlite3.Row) -> WindowFacts:
    dataset, start, end = row["dataset"], row["start_us"], row["start_us"] + row["length_us"]
    near = c.execute(
        "SELECT start_us, end_us FROM coverage WHERE dataset = ?1 AND start_us >= "
        "COALESCE((SELECT MAX(start_us) FROM coverage WHERE dataset = ?1 AND start_us <= ?2), ?2) "
        "ORDER BY start_us LIMIT 2",
        (dataset, start),
    ).fetchall()
    covered = bool(near) and near[0]["start_us"] <= start and near[0]["end_us"] >= end
    return WindowFacts(
        key=rows.window_key(row),
        version=row["version"],
        built_version=row["built_version"],
        covered=covered,
        has_gap=not covered and len(near) == 2 and near[0]["end_us"] < end,
    )
