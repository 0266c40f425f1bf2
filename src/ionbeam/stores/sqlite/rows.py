"""Values as SQLite rows and back."""

import json
import sqlite3
from datetime import datetime, timedelta
from uuid import UUID

from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import EPOCH, MICROSECOND, TimeSpan
from ionbeam.records import (
    Chunk,
    IngestionRecord,
    IngestionStatus,
    LogEntry,
    QuarantineEntry,
    QuarantineStatus,
    Revision,
    Tally,
    WindowKey,
    WindowState,
    WindowStatus,
)


def micros(value: datetime) -> int:
    """Microseconds since the epoch."""
    return (value - EPOCH) // MICROSECOND


def moment(value: int) -> datetime:
    """The datetime ``value`` microseconds after the epoch."""
    return EPOCH + timedelta(microseconds=value)


def key_values(key: WindowKey) -> tuple[str, int, int]:
    """A window's primary key: dataset, length and start in microseconds."""
    return key.dataset, key.length // MICROSECOND, micros(key.start)


def log_entry(row: sqlite3.Row) -> LogEntry:
    """A row of ``log``."""
    return LogEntry(
        sequence=row["sequence"],
        kind=row["kind"],
        id=UUID(row["id"]),
        subject=row["subject"],
        body=row["body"],
        at=moment(row["at_us"]),
        is_open=bool(row["is_open"]),
    )


def chunk(row: sqlite3.Row) -> Chunk:
    """A row of ``chunks``."""
    return Chunk(
        dataset=row["dataset"],
        hour=moment(row["hour_us"]),
        ingestion_id=UUID(row["ingestion_id"]),
        part=row["part"],
        sequence=row["sequence"],
        rows=row["rows"],
        first=moment(row["first_us"]),
        last=moment(row["last_us"]),
        location=row["location"],
    )


def ingestion(row: sqlite3.Row) -> IngestionRecord:
    """A row of ``ingestions``."""
    return IngestionRecord(
        id=UUID(row["id"]),
        sequence=row["sequence"],
        metadata=IngestionMetadata.model_validate_json(row["metadata"]),
        span=TimeSpan(moment(row["start_us"]), moment(row["end_us"])),
        payload_location=row["location"],
        status=IngestionStatus(row["status"]),
        accepted_at=moment(row["accepted_us"]),
        tally=Tally(row["received"], row["stored"], row["duplicate"], row["rejected"]),
        warnings=tuple(json.loads(row["warnings"])),
        reason=row["reason"],
    )


def window_key(row: sqlite3.Row) -> WindowKey:
    """The key columns of ``windows`` or ``revisions``."""
    return WindowKey(row["dataset"], moment(row["start_us"]), timedelta(microseconds=row["length_us"]))


def window(row: sqlite3.Row, revision: Revision | None) -> WindowState:
    """A row of ``windows``."""
    return WindowState(
        key=window_key(row),
        status=WindowStatus(row["status"]),
        reason=row["reason"],
        version=row["version"],
        built_version=row["built_version"],
        due_at=None if row["due_us"] is None else moment(row["due_us"]),
        attempts=row["attempts"],
        revision=revision,
    )


def revision(row: sqlite3.Row) -> Revision:
    """A row of ``revisions``."""
    return Revision(
        window=window_key(row),
        number=row["number"],
        rows=row["rows"],
        content_hash=row["content_hash"],
        inputs_hash=row["inputs_hash"],
        inputs=tuple(json.loads(row["inputs"])),
        sequence=row["sequence"],
        location=row["location"],
        supersedes=row["supersedes"],
        built_at=moment(row["built_us"]),
    )


def quarantine_entry(row: sqlite3.Row) -> QuarantineEntry:
    """A row of ``quarantine``."""
    return QuarantineEntry(
        id=UUID(row["id"]),
        dataset=row["dataset"],
        ingestion_id=UUID(row["ingestion_id"]),
        location=row["location"],
        rows=row["rows"],
        reasons=json.loads(row["reasons"]),
        at=moment(row["at_us"]),
        status=QuarantineStatus(row["status"]),
    )
