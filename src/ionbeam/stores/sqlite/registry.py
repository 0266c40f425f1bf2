"""Datasets, quarantine and bookmarks."""

import json
import sqlite3
from collections.abc import Sequence
from uuid import UUID

from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import Clock
from ionbeam.records import DatasetRecord, QuarantineEntry, QuarantineStatus
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.ingestions import insert_quarantine
from ionbeam.stores.sqlite.rows import micros, moment, quarantine_entry
from ionbeam.stores.sqlite.windows import coverage


class SqliteDatasetRegistry:
    """`ports.DatasetRegistry` in SQLite."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def register(self, metadata: IngestionMetadata, findings: Sequence[str]) -> None:
        """Remember a dataset; the highest version, then the last registration, is current."""
        values = (
            metadata.dataset.name,
            metadata.version,
            metadata.model_dump_json(),
            json.dumps(list(findings)),
            micros(self._clock.now()),
        )
        await self._database.write(
            lambda c: c.execute(
                "INSERT INTO datasets VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "version = excluded.version, metadata = excluded.metadata, findings = excluded.findings, "
                "registered_us = excluded.registered_us WHERE excluded.version >= version "
                "AND (excluded.metadata != metadata OR excluded.findings != findings)",
                values,
            )
        )

    async def get(self, dataset: str) -> DatasetRecord | None:
        """One dataset."""
        query = "SELECT * FROM datasets WHERE name = ?"
        row = await self._database.read(lambda c: c.execute(query, (dataset,)).fetchone())
        return _record(row) if row else None

    async def coverage(self, dataset: str) -> list[TimeSpan]:
        """What has been claimed, in order; holes of up to `GAP_TOLERANCE` are closed."""
        return await self._database.read(lambda c: coverage(c, dataset))

    async def list(self) -> list[DatasetRecord]:
        """All datasets by name."""
        query = "SELECT * FROM datasets ORDER BY name"
        return [_record(row) for row in await self._database.read(lambda c: c.execute(query).fetchall())]


def _record(row: sqlite3.Row) -> DatasetRecord:
    return DatasetRecord(
        metadata=IngestionMetadata.model_validate_json(row["metadata"]),
        findings=tuple(json.loads(row["findings"])),
        registered_at=moment(row["registered_us"]),
    )


class SqliteQuarantineLedger:
    """`ports.QuarantineLedger` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: QuarantineEntry) -> None:
        """Keep an entry once."""
        await self._database.write(lambda c: insert_quarantine(c, entry))

    async def list(self, dataset: str | None = None) -> list[QuarantineEntry]:
        """Entries, oldest first."""
        query = "SELECT * FROM quarantine WHERE (?1 IS NULL OR dataset = ?1) ORDER BY at_us, location"
        found = await self._database.read(lambda c: c.execute(query, (dataset,)).fetchall())
        return [quarantine_entry(row) for row in found]

    async def get(self, entry_id: UUID) -> QuarantineEntry | None:
        """One entry."""
        query = "SELECT * FROM quarantine WHERE id = ?"
        row = await self._database.read(lambda c: c.execute(query, (str(entry_id),)).fetchone())
        return quarantine_entry(row) if row else None

    async def mark_replayed(self, entry_id: UUID) -> None:
        """Say that its rows were submitted again."""
        query = "UPDATE quarantine SET status = ? WHERE id = ?"
        await self._database.write(lambda c: c.execute(query, (QuarantineStatus.REPLAYED, str(entry_id))))


class SqliteBookmarks:
    """`ports.Bookmarks` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """The position, or None."""
        query = "SELECT value FROM bookmarks WHERE name = ?"
        row = await self._database.read(lambda c: c.execute(query, (name,)).fetchone())
        return row["value"] if row else None

    async def set(self, name: str, value: str) -> None:
        """Move the position."""
        query = "INSERT INTO bookmarks VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        await self._database.write(lambda c: c.execute(query, (name, value)))
