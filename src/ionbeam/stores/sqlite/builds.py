"""The queue of windows to build; every window is in one builder's hands at a time."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from ionbeam.errors import Fenced
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, align
from ionbeam.ports import Clock
from ionbeam.records import BuildOrder, Chunk, Revision, WindowKey, WindowStatus
from ionbeam.stores.sqlite import log, rows
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.ingestions import has_pending
from ionbeam.stores.sqlite.rows import key_values, micros, moment
from ionbeam.stores.sqlite.windows import current_revision

_KEY = "dataset = ? AND length_us = ? AND start_us = ?"
_CHUNK = "dataset = ? AND hour_us = ? AND sequence = ? AND part = ?"
_HOUR = timedelta(hours=1)
_NOW_AND_LATER = 2**62
_UNFINISHED = (IngestDataCommand, DataAvailableEvent)

# The few lengths a dataset ever had are found one by one, so that its windows need not be scanned.
_WINDOWS_OVER = """
WITH RECURSIVE lengths (length) AS (
    SELECT MIN(length_us) FROM windows WHERE dataset = ?1
    UNION ALL
    SELECT (SELECT MIN(length_us) FROM windows WHERE dataset = ?1 AND length_us > length)
    FROM lengths WHERE length IS NOT NULL
)
SELECT windows.* FROM lengths CROSS JOIN windows
WHERE dataset = ?1 AND length_us = length AND start_us > ?2 - length AND start_us <= ?3
"""


class SqliteBuildQueue:
    """`ports.BuildQueue` in SQLite."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, now: datetime) -> BuildOrder | None:
        """The oldest window that is due, with a new fencing token."""

        def work(c: sqlite3.Connection) -> BuildOrder | None:
            row = _oldest_due(c, micros(now))
            if row is None and self._free_dead_owners(c):
                row = _oldest_due(c, micros(now))
            return _take(c, row, self._database.owner) if row else None

        return await self._database.write(work)

    def _free_dead_owners(self, c: sqlite3.Connection) -> bool:
        query = "SELECT DISTINCT owner FROM windows WHERE owner IS NOT NULL"
        dead = [(r["owner"],) for r in c.execute(query) if not self._database.is_alive(r["owner"])]
        c.executemany("UPDATE windows SET owner = NULL WHERE owner = ?", dead)
        return bool(dead)

    async def settle(
        self, order: BuildOrder, revision: Revision | None, event: DataSetAvailableEvent | None
    ) -> None:
        """Keep the revision and log its event; the window is built as of the order's version."""
        at_us = micros(self._clock.now())

        def work(c: sqlite3.Connection) -> None:
            _release(c, order)
            c.execute(
                f"UPDATE windows SET built_version = ?1, attempts = 0, reason = '', "
                f"status = CASE WHEN version = ?1 THEN '{WindowStatus.BUILT}' ELSE status END, "
                f"due_us = CASE WHEN version = ?1 THEN NULL ELSE due_us END "
                "WHERE dataset = ?2 AND length_us = ?3 AND start_us = ?4",
                (order.version, *key_values(order.key)),
            )
            if revision is not None:
                _insert(c, revision)
            if event is not None:
                log.append(c, event, at_us)

        await self._database.write(work)

    async def fail(self, order: BuildOrder, reason: str, retry_at: datetime | None) -> None:
        """Hand the window back: due again at ``retry_at``, or parked."""

        def work(c: sqlite3.Connection) -> None:
            _release(c, order)
            status = WindowStatus.QUEUED if retry_at else WindowStatus.PARKED
            c.execute(
                f"UPDATE windows SET status = ?, reason = ?, due_us = ?, tried_version = ? WHERE {_KEY}",
                (
                    status,
                    reason,
                    micros(retry_at) if retry_at else None,
                    order.version,
                    *key_values(order.key),
                ),
            )

        await self._database.write(work)

    async def next_due(self) -> datetime | None:
        """When the next window that nobody holds becomes due."""
        query = "SELECT MIN(due_us) AS due_us FROM windows WHERE status = 'queued' AND owner IS NULL"
        row = await self._database.read(lambda c: c.execute(query).fetchone())
        return None if row["due_us"] is None else moment(row["due_us"])

    async def retire(self, key: WindowKey) -> list[Chunk]:
        """Take the window's chunks out of use; those to be deleted now, also from an earlier try.

        An event that is not taken in yet counts as pending as well: its chunks lie there, but no
        window's version tells of them.
        """

        def work(c: sqlite3.Connection) -> list[Chunk]:
            if not any(has_pending(c, key.dataset, _NOW_AND_LATER, kind) for kind in _UNFINISHED):
                for chunk in chunks_in(c, key.dataset, key.span):
                    _retire(c, chunk)
            return chunks_in(c, key.dataset, key.span, retired=True)

        return await self._database.write(work)

    async def forget(self, chunks: Sequence[Chunk]) -> None:
        """Say that retired chunks are deleted."""
        query = f"DELETE FROM chunks WHERE {_CHUNK} AND retired = 1"
        await self._database.write(lambda c: c.executemany(query, [_chunk_key(chunk) for chunk in chunks]))

    async def unretired(self) -> list[WindowKey]:
        """Built windows that still have chunks."""
        query = (
            "SELECT * FROM windows w WHERE status = 'built' AND EXISTS (SELECT 1 FROM chunks c "
            "WHERE c.dataset = w.dataset AND c.hour_us < w.start_us + w.length_us AND "
            "c.hour_us > w.start_us - 3600000000 AND c.last_us >= w.start_us AND "
            "c.first_us < w.start_us + w.length_us)"
        )
        found = await self._database.read(lambda c: c.execute(query).fetchall())
        return [rows.window_key(row) for row in found]


def chunks_in(c: sqlite3.Connection, dataset: str, span: TimeSpan, *, retired: bool = False) -> list[Chunk]:
    """Chunks with rows in ``span``, in acceptance order."""
    found = c.execute(
        "SELECT * FROM chunks WHERE dataset = ?1 AND hour_us >= ?2 AND hour_us < ?4 "
        "AND last_us >= ?3 AND first_us < ?4 AND retired = ?5 ORDER BY sequence, part, hour_us",
        (dataset, micros(align(span.start, _HOUR)), micros(span.start), micros(span.end), retired),
    ).fetchall()
    return [rows.chunk(row) for row in found]


def _oldest_due(c: sqlite3.Connection, now_us: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = c.execute(
        "SELECT * FROM windows WHERE status = 'queued' AND owner IS NULL AND due_us <= ? "
        "ORDER BY start_us LIMIT 1",
        (now_us,),
    ).fetchone()
    return row


def _take(c: sqlite3.Connection, row: sqlite3.Row, owner: str) -> BuildOrder:
    key = rows.window_key(row)
    c.execute(
        f"UPDATE windows SET owner = ?, token = token + 1, attempts = attempts + 1 WHERE {_KEY}",
        (owner, *key_values(key)),
    )
    chunks = tuple(chunks_in(c, key.dataset, key.span))
    bases = _bases_of(c, key)
    ingestions = {str(chunk.ingestion_id) for chunk in chunks}.union(*(base.inputs for base in bases))
    return BuildOrder(
        key=key,
        version=row["version"],
        token=row["token"] + 1,
        attempt=row["attempts"] + 1,
        chunks=chunks,
        maps=_maps_of(c, ingestions),
        revision=current_revision(c, key),
        bases=bases,
    )


def _bases_of(c: sqlite3.Connection, key: WindowKey) -> tuple[Revision, ...]:
    values = (key.dataset, micros(key.span.start), micros(key.span.end) - 1)
    found = c.execute(_WINDOWS_OVER, values).fetchall()
    bases = [_revision(c, rows.window_key(row), row["base"]) for row in found if row["base"]]
    return tuple(sorted(bases, key=lambda base: base.sequence))


def _revision(c: sqlite3.Connection, key: WindowKey, number: int) -> Revision:
    query = f"SELECT * FROM revisions WHERE {_KEY} AND number = ?"
    return rows.revision(c.execute(query, (*key_values(key), number)).fetchone())


def _maps_of(c: sqlite3.Connection, ingestions: set[str]) -> tuple[IngestionMetadata, ...]:
    found = c.execute(
        "SELECT DISTINCT metadata FROM ingestions WHERE id IN (SELECT value FROM json_each(?)) ORDER BY 1",
        (json.dumps(sorted(ingestions)),),
    )
    return tuple(IngestionMetadata.model_validate_json(row["metadata"]) for row in found)


def _release(c: sqlite3.Connection, order: BuildOrder) -> None:
    changed = c.execute(
        f"UPDATE windows SET owner = NULL WHERE {_KEY} AND token = ? AND owner IS NOT NULL",
        (*key_values(order.key), order.token),
    ).rowcount
    if not changed:
        raise Fenced(f"window {order.key.id} of {order.key.dataset} was taken over")


def _insert(c: sqlite3.Connection, revision: Revision) -> None:
    c.execute(
        "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key_values(revision.window),
            revision.number,
            revision.rows,
            revision.content_hash,
            revision.inputs_hash,
            json.dumps(revision.inputs),
            revision.sequence,
            revision.location,
            revision.supersedes,
            micros(revision.built_at),
        ),
    )


def _retire(c: sqlite3.Connection, chunk: Chunk) -> None:
    """Take a chunk out of use, unless a window that may hold its rows, of any length, is not built."""
    values = (chunk.dataset, micros(chunk.first), micros(chunk.last))
    windows = c.execute(_WINDOWS_OVER, values).fetchall()
    if any(row["version"] != row["built_version"] for row in windows):
        return
    c.execute(f"UPDATE chunks SET retired = 1 WHERE {_CHUNK}", _chunk_key(chunk))
    c.executemany(
        "UPDATE windows AS w SET base = (SELECT MAX(number) FROM revisions AS r WHERE "
        "r.dataset = w.dataset AND r.length_us = w.length_us AND r.start_us = w.start_us) "
        f"WHERE {_KEY}",
        [key_values(rows.window_key(row)) for row in windows],
    )


def _chunk_key(chunk: Chunk) -> tuple[str, int, int, int]:
    return chunk.dataset, micros(chunk.hour), chunk.sequence, chunk.part
