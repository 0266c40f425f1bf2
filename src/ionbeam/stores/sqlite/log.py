"""The event log: commands and events in acceptance order."""

import sqlite3
from collections.abc import AsyncIterator

from ionbeam.messages.codec import Message, encode
from ionbeam.messages.commands import StartSourceCommand
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.ports import Clock
from ionbeam.records import LogEntry
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.rows import log_entry, micros

_PAGE = 1000


def subject_of(message: Message) -> str:
    """The source or dataset a message is about."""
    if isinstance(message, StartSourceCommand):
        return message.source_name
    if isinstance(message, DataSetAvailableEvent):
        return message.metadata.name
    return message.metadata.dataset.name


def append(
    connection: sqlite3.Connection, message: Message, at_us: int, *, reopen: bool = False
) -> sqlite3.Row:
    """Record a message once; the row that stands for it, open again if ``reopen``."""
    kind = type(message).__name__
    connection.execute(
        "INSERT INTO log (kind, id, subject, body, at_us) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (kind, str(message.id), subject_of(message), encode(message), at_us),
    )
    if reopen:
        connection.execute(
            "UPDATE log SET is_open = 1, at_us = ? WHERE kind = ? AND id = ? AND is_open = 0",
            (at_us, kind, str(message.id)),
        )
    row: sqlite3.Row = connection.execute(
        "SELECT * FROM log WHERE kind = ? AND id = ?", (kind, str(message.id))
    ).fetchone()
    return row


def close(connection: sqlite3.Connection, kind: type[Message], message_id: object) -> None:
    """Say that a message's consumer is done."""
    connection.execute(
        "UPDATE log SET is_open = 0 WHERE kind = ? AND id = ?", (kind.__name__, str(message_id))
    )


class SqliteEventLog:
    """`ports.EventLog` in SQLite."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def append(self, message: Message, *, reopen: bool = False) -> LogEntry:
        """Record a message once; the second time returns the first entry, open again if ``reopen``."""
        at = micros(self._clock.now())
        return log_entry(await self._database.write(lambda c: append(c, message, at, reopen=reopen)))

    async def close(self, message: Message) -> None:
        """Say that the message's consumer is done."""
        await self._database.write(lambda c: close(c, type(message), message.id))

    async def open_entries(self) -> list[LogEntry]:
        """Entries nobody is done with, oldest first."""
        # Left to itself SQLite reads the whole log to spare the sorting of the few that are open.
        query = "SELECT * FROM log INDEXED BY log_open WHERE is_open = 1 ORDER BY sequence"
        rows = await self._database.read(lambda c: c.execute(query).fetchall())
        return [log_entry(row) for row in rows]

    async def read(self, *, after: int = 0, kind: str | None = None) -> AsyncIterator[LogEntry]:
        """Entries behind a sequence, oldest first."""
        while True:
            position = after
            rows = await self._database.read(
                lambda c, position=position: c.execute(  # type: ignore[misc]
                    "SELECT * FROM log WHERE sequence > ? AND (? IS NULL OR kind = ?) "
                    "ORDER BY sequence LIMIT ?",
                    (position, kind, kind, _PAGE),
                ).fetchall()
            )
            if not rows:
                return
            for row in rows:
                yield log_entry(row)
            after = rows[-1]["sequence"]
