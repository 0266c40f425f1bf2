"""What was accepted, what became of it, and which chunks it left."""

import json
import sqlite3
from datetime import datetime
from uuid import UUID

from ionbeam.errors import Busy, Fenced
from ionbeam.messages.codec import Message
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import Clock
from ionbeam.records import (
    BookLine,
    Chunk,
    IngestionClaim,
    IngestionOutcome,
    IngestionRecord,
    IngestionStatus,
    QuarantineEntry,
    Tally,
)
from ionbeam.stores.sqlite import log, rows
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.rows import micros, moment

_HOUR_US = 3_600_000_000


def insert_quarantine(connection: sqlite3.Connection, entry: QuarantineEntry) -> None:
    """Keep a quarantine entry once."""
    connection.execute(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            str(entry.id),
            entry.dataset,
            str(entry.ingestion_id),
            entry.location,
            entry.rows,
            json.dumps(entry.reasons),
            micros(entry.at),
            entry.status,
        ),
    )


def _accept(c: sqlite3.Connection, command: IngestDataCommand, received: int, at_us: int) -> sqlite3.Row:
    entry = log.append(c, command, at_us)
    c.execute(
        "INSERT INTO ingestions (id, sequence, dataset, start_us, end_us, metadata, location, status, "
        "accepted_us, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            str(command.id),
            entry["sequence"],
            command.metadata.dataset.name,
            micros(command.start_time),
            micros(command.end_time),
            command.metadata.model_dump_json(),
            command.payload_location,
            IngestionStatus.ACCEPTED,
            at_us,
            received,
        ),
    )
    return _get(c, command.id)


def _get(c: sqlite3.Connection, ingestion_id: UUID) -> sqlite3.Row:
    row: sqlite3.Row = c.execute("SELECT * FROM ingestions WHERE id = ?", (str(ingestion_id),)).fetchone()
    return row


def has_pending(
    c: sqlite3.Connection, dataset: str, before: int, kind: type[Message] = IngestDataCommand
) -> bool:
    """Whether a message of the dataset logged before a sequence is not done with yet."""
    query = "SELECT 1 FROM log WHERE is_open = 1 AND kind = ? AND subject = ? AND sequence < ? LIMIT 1"
    return c.execute(query, (kind.__name__, dataset, before)).fetchone() is not None


class SqliteIngestionLedger:
    """`ports.IngestionLedger` in SQLite."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def accept(self, command: IngestDataCommand, received: int) -> IngestionRecord:
        """Record a command and its log entry once."""
        at_us = micros(self._clock.now())
        return rows.ingestion(await self._database.write(lambda c: _accept(c, command, received, at_us)))

    async def claim(self, ingestion_id: UUID) -> IngestionClaim | None:
        """The right to work on it; None when it is done."""

        def work(c: sqlite3.Connection) -> IngestionClaim | None:
            row = _get(c, ingestion_id)
            if row["status"] != IngestionStatus.ACCEPTED:
                return None
            if row["owner"] is not None and self._database.is_alive(row["owner"]):
                raise Busy(f"ingestion {ingestion_id} is in another worker's hands")
            c.execute(
                "UPDATE ingestions SET owner = ?, token = token + 1 WHERE id = ?",
                (self._database.owner, str(ingestion_id)),
            )
            return IngestionClaim(rows.ingestion(row), row["token"] + 1)

        return await self._database.write(work)

    async def release(self, claim: IngestionClaim) -> None:
        """Hand the work back undone."""
        await self._database.write(
            lambda c: c.execute(
                "UPDATE ingestions SET owner = NULL WHERE id = ? AND token = ?",
                (str(claim.record.id), claim.token),
            )
        )

    async def settle(
        self, claim: IngestionClaim, outcome: IngestionOutcome, event: DataAvailableEvent
    ) -> None:
        """Keep the outcome, close the command, log the event."""
        at_us = micros(self._clock.now())
        tally = outcome.tally

        def work(c: sqlite3.Connection) -> None:
            changed = c.execute(
                "UPDATE ingestions SET status = ?, received = ?, stored = ?, duplicate = ?, rejected = ?, "
                "warnings = ?, owner = NULL WHERE id = ? AND token = ? AND status = ?",
                (
                    IngestionStatus.SETTLED,
                    tally.received,
                    tally.stored,
                    tally.duplicate,
                    tally.rejected,
                    json.dumps(outcome.warnings),
                    str(claim.record.id),
                    claim.token,
                    IngestionStatus.ACCEPTED,
                ),
            ).rowcount
            if not changed:
                raise Fenced(f"ingestion {claim.record.id} was taken over")
            c.executemany(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
                [_chunk_values(chunk) for chunk in outcome.chunks],
            )
            for entry in outcome.rejects:
                insert_quarantine(c, entry)
            log.append(c, event, at_us)
            log.close(c, IngestDataCommand, claim.record.id)

        await self._database.write(work)

    async def refuse(
        self, command: IngestDataCommand, received: int, reason: str, entry: QuarantineEntry
    ) -> None:
        """Record the command as refused with all its rows, quarantine its payload, close it."""
        at_us = micros(self._clock.now())

        def work(c: sqlite3.Connection) -> None:
            _accept(c, command, received, at_us)
            c.execute(
                "UPDATE ingestions SET status = ?, reason = ?, rejected = received, owner = NULL "
                "WHERE id = ? AND status = ?",
                (IngestionStatus.REFUSED, reason, str(command.id), IngestionStatus.ACCEPTED),
            )
            insert_quarantine(c, entry)
            log.close(c, IngestDataCommand, command.id)

        await self._database.write(work)

    async def get(self, ingestion_id: UUID) -> IngestionRecord | None:
        """One record."""
        row = await self._database.read(lambda c: _get(c, ingestion_id))
        return rows.ingestion(row) if row else None

    async def chunks(self, ingestion_id: UUID) -> list[Chunk]:
        """The chunks an ingestion left."""
        query = "SELECT * FROM chunks WHERE ingestion_id = ? AND retired = 0 ORDER BY hour_us, part"
        found = await self._database.read(lambda c: c.execute(query, (str(ingestion_id),)).fetchall())
        return [rows.chunk(row) for row in found]

    async def latest(self, dataset: str, span: TimeSpan) -> IngestionRecord | None:
        """The last accepted ingestion of exactly this span, settled or not."""
        query = (
            "SELECT * FROM ingestions WHERE dataset = ? AND start_us = ? AND end_us = ? "
            "ORDER BY sequence DESC LIMIT 1"
        )
        values = (dataset, micros(span.start), micros(span.end))
        row = await self._database.read(lambda c: c.execute(query, values).fetchone())
        return rows.ingestion(row) if row else None

    async def chunks_before(self, dataset: str, hour: datetime, sequence: int) -> list[Chunk] | None:
        """Chunks of an hour accepted before ``sequence``; None while one of those is pending."""

        def work(c: sqlite3.Connection) -> list[sqlite3.Row] | None:
            if has_pending(c, dataset, sequence):
                return None
            query = (
                "SELECT * FROM chunks WHERE dataset = ? AND hour_us = ? AND sequence < ? "
                "AND retired = 0 ORDER BY sequence, part"
            )
            return c.execute(query, (dataset, micros(hour), sequence)).fetchall()

        found = await self._database.read(work)
        return None if found is None else [rows.chunk(row) for row in found]

    async def books(self) -> list[BookLine]:
        """Rows per dataset and hour of reception."""
        query = (
            "SELECT dataset, accepted_us / ? * ? AS hour_us, SUM(received) AS received, "
            "SUM(stored) AS stored, SUM(duplicate) AS duplicate, SUM(rejected) AS rejected, "
            "SUM(CASE WHEN status = 'accepted' THEN received ELSE 0 END) AS pending "
            "FROM ingestions GROUP BY 1, 2 ORDER BY 1, 2"
        )
        found = await self._database.read(lambda c: c.execute(query, (_HOUR_US, _HOUR_US)).fetchall())
        return [
            BookLine(
                row["dataset"],
                moment(row["hour_us"]),
                Tally(row["received"], row["stored"], row["duplicate"], row["rejected"]),
                row["pending"],
            )
            for row in found
        ]


def _chunk_values(chunk: Chunk) -> tuple[object, ...]:
    return (
        chunk.dataset,
        micros(chunk.hour),
        chunk.sequence,
        chunk.part,
        str(chunk.ingestion_id),
        chunk.rows,
        micros(chunk.first),
        micros(chunk.last),
        chunk.location,
    )
