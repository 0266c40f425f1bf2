"""WHAT CAN BE SWAPPED: every boundary behind which an adapter stands, on one page.

Each port has an embedded adapter that is a real implementation, and adapters for services that
pass the same contract suite (`ionbeam.testing`). Guarantees stated here are what the suites check.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol
from uuid import UUID

import pyarrow as pa

from ionbeam.messages.codec import Message
from ionbeam.messages.commands import IngestDataCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent
from ionbeam.messages.topology import Exchange, Queue
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.timespan import TimeSpan
from ionbeam.records import (
    BookLine,
    BuildOrder,
    Chunk,
    DatasetRecord,
    Decision,
    IngestionClaim,
    IngestionOutcome,
    IngestionRecord,
    LogEntry,
    QuarantineEntry,
    Revision,
    WindowFacts,
    WindowKey,
    WindowState,
)


class Clock(Protocol):
    """Where "now" comes from; tests put a virtual one in its place."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...

    async def sleep_until(self, time: datetime) -> None:
        """Return at ``time`` or later."""
        ...


# Sources and what they fetch with


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a GET; only statuses below 400, and 404, reach the caller."""

    status: int
    headers: dict[str, str]
    """Lower-case names."""
    content: bytes

    @property
    def text(self) -> str:
        """The content as UTF-8, faulty bytes replaced."""
        return self.content.decode("utf-8", errors="replace")


class Fetcher(Protocol):
    """The only way a source reaches the network.

    Raises `SourceUnavailable` (after its retries), `SourceRejected` (401, 403, other 4xx but 404),
    never returns a partial body.
    """

    async def get(self, url: str) -> Response:
        """The resource at ``url``; answered from the cache when the server says it is unchanged."""
        ...


class Source(Protocol):
    """A feed that is asked for spans.

    ``fetch`` yields batches in the source's own columns, deterministically for the same remote
    content; raises `SourceUnavailable`, `SourceRejected` or `SourceMalformed`; and yields nothing
    only when there honestly is nothing. That emptiness is an answer and counts as coverage.
    """

    name: str
    metadata: IngestionMetadata

    def fetch(self, span: TimeSpan) -> AsyncIterator[pa.RecordBatch]:
        """What the feed has with an event time in ``span``."""
        ...


# Messages


class Verdict(StrEnum):
    """What becomes of a delivered message."""

    ACK = "ack"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrives."""

    queue: str
    body: bytes
    message_id: str
    attempt: int
    """1 at first, more when redelivered."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A handler's answer; ``reason`` travels into the dead-letter queue."""

    verdict: Verdict
    reason: str = ""


Handler = Callable[[Delivery], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up."""

    queue: str
    body: bytes
    message_id: str
    reason: str
    attempts: int


class Subscription(Protocol):
    """A running consumer."""

    async def cancel(self) -> None:
        """Take no more messages and wait for those in hand; unfinished ones go back."""
        ...


class Broker(Protocol):
    """Work queues and fan-out, at least once.

    A message is handed to one consumer of its queue at a time; it is gone only when the handler
    answered ACK or DEAD. RETRY brings it back, at most ``max_deliveries`` times, then it is dead.
    A handler that raises counts as RETRY.
    """

    async def declare(self, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> None:
        """Make sure these exist; harmless when they do."""
        ...

    async def publish(self, exchange: str, routing_key: str, body: bytes, *, message_id: str) -> None:
        """Return once the broker has taken responsibility.

        The empty exchange routes to the queue named ``routing_key``. `BrokerUnavailable` when it
        cannot be reached or nothing is bound there (except a fan-out without readers).
        """
        ...

    async def consume(self, queue: str, handler: Handler, *, prefetch: int = 1) -> Subscription:
        """Hand messages to ``handler``, up to ``prefetch`` at once."""
        ...

    async def dead_letters(self, queue: str) -> list[DeadLetter]:
        """What was given up, oldest first."""
        ...

    async def close(self) -> None:
        """Stop consuming, finish what is in hand, disconnect."""
        ...


# Bytes


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of a listing."""

    key: str
    size: int


class BatchStore(Protocol):
    """Objects under ``/``-separated keys. Every write is all or nothing and durable on return."""

    async def put(self, key: str, data: bytes | Path, *, overwrite: bool = False) -> None:
        """Write an object from bytes or a local file; `ObjectExists` unless ``overwrite``."""
        ...

    def open(self, key: str) -> AbstractContextManager[IO[bytes] | pa.NativeFile]:
        """A seekable file over the object; `ObjectMissing` when there is none. Blocking."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Make ``target`` the same object as ``source``, replacing it atomically."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent ones are no error."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectEntry]:
        """Objects below a prefix that ends in ``/``, sorted by key."""
        ...


class ObservationStore(Protocol):
    """Canonical observations by dataset and event time."""

    async def write(self, chunk: Chunk, observations: pa.Table) -> Chunk:
        """Keep one hour of one ingestion; writing the same chunk again changes nothing.

        Returns the chunk as it lies in the store: the first writer's when it was already there.
        """
        ...

    def read(self, chunks: Sequence[Chunk], span: TimeSpan) -> AsyncIterator[tuple[Chunk, pa.Table]]:
        """The observations of ``chunks`` inside ``span``, chunk by chunk in the order given."""
        ...

    async def delete(self, chunks: Sequence[Chunk]) -> None:
        """Forget chunks; absent ones are no error."""
        ...


# State


class EventLog(Protocol):
    """Every command and event, in acceptance order, for ever.

    An entry is open until its consumer is done with it: open entries are the work that is due.
    """

    async def append(self, message: Message, *, reopen: bool = False) -> LogEntry:
        """Record a message once; the second time returns the first entry, open again if ``reopen``."""
        ...

    async def close(self, message: Message) -> None:
        """Say that the message's consumer is done."""
        ...

    async def open_entries(self) -> list[LogEntry]:
        """Entries nobody is done with, oldest first."""
        ...

    def read(self, *, after: int = 0, kind: str | None = None) -> AsyncIterator[LogEntry]:
        """Entries behind a sequence, oldest first."""
        ...


class IngestionLedger(Protocol):
    """What was accepted and what became of it."""

    async def accept(self, command: IngestDataCommand, received: int) -> IngestionRecord:
        """Record a command (and its log entry) once, with the number of rows it brings."""
        ...

    async def claim(self, ingestion_id: UUID) -> IngestionClaim | None:
        """The right to work on it; None when it is done. `Busy` while a live worker holds it."""
        ...

    async def release(self, claim: IngestionClaim) -> None:
        """Hand the work back undone."""
        ...

    async def settle(
        self, claim: IngestionClaim, outcome: IngestionOutcome, event: DataAvailableEvent
    ) -> None:
        """In one step: keep the outcome, close the command, log the event. `Fenced` when taken over."""
        ...

    async def refuse(
        self, command: IngestDataCommand, received: int, reason: str, entry: QuarantineEntry
    ) -> None:
        """In one step: record the command as refused with all its rows, quarantine its payload, close it."""
        ...

    async def get(self, ingestion_id: UUID) -> IngestionRecord | None:
        """One record."""
        ...

    async def chunks(self, ingestion_id: UUID) -> list[Chunk]:
        """The chunks an ingestion left."""
        ...

    async def latest(self, dataset: str, span: TimeSpan) -> IngestionRecord | None:
        """The last accepted ingestion of exactly this span, settled or not."""
        ...

    async def chunks_before(self, dataset: str, hour: datetime, sequence: int) -> list[Chunk] | None:
        """Chunks of an hour accepted before ``sequence``, in order.

        None while an ingestion accepted before it is not settled, so that nobody concludes from
        half the story.
        """
        ...

    async def books(self) -> list[BookLine]:
        """Rows per dataset and hour of reception."""
        ...


class WindowLedger(Protocol):
    """Coverage and the windows over it. Cost per call depends on the span asked about, not on history."""

    async def admit(self, event: DataAvailableEvent, touched: Sequence[WindowKey]) -> None:
        """Take an event in, once: add its claim to the coverage, count up the windows its rows touch."""
        ...

    async def examine(self, dataset: str, length: timedelta, span: TimeSpan) -> list[WindowFacts]:
        """The windows of ``length`` that overlap ``span`` and hold rows."""
        ...

    async def decide(self, decisions: Sequence[Decision]) -> None:
        """Queue windows or note what they wait for; never takes a window out of a builder's hands.

        A window whose build failed keeps its backoff, or stays parked, until it has news or the
        decision is ``forced``.
        """
        ...

    async def windows(self, dataset: str | None = None, span: TimeSpan | None = None) -> list[WindowState]:
        """Windows in order of dataset and start."""
        ...

    async def revisions(self, key: WindowKey, *, newest: int | None = None) -> list[Revision]:
        """The revisions of a window, oldest first; only so many of the ``newest``."""
        ...


class BuildQueue(Protocol):
    """Windows to be built, oldest first, each in one builder's hands at a time."""

    async def claim(self, now: datetime) -> BuildOrder | None:
        """The oldest window that is due, with a new fencing token; None when nothing is."""
        ...

    async def settle(
        self, order: BuildOrder, revision: Revision | None, event: DataSetAvailableEvent | None
    ) -> None:
        """In one step: keep the revision and log its event; None when the content did not change.

        `Fenced` when the order was taken over. A window that changed meanwhile stays queued.
        """
        ...

    async def fail(self, order: BuildOrder, reason: str, retry_at: datetime | None) -> None:
        """Hand the window back: due again at ``retry_at``, or parked."""
        ...

    async def next_due(self) -> datetime | None:
        """When the next window that nobody holds becomes due."""
        ...

    async def retire(self, key: WindowKey) -> list[Chunk]:
        """Take the window's chunks out of use; those to be deleted now, also from an earlier try.

        None are retired while one of their windows is not built, or an ingestion is pending.
        """
        ...

    async def forget(self, chunks: Sequence[Chunk]) -> None:
        """Say that retired chunks are deleted."""
        ...

    async def unretired(self) -> list[WindowKey]:
        """Built windows that still have chunks."""
        ...


class DatasetRegistry(Protocol):
    """Datasets and their maps."""

    async def register(self, metadata: IngestionMetadata, findings: Sequence[str]) -> None:
        """Remember a dataset; the highest version, then the last registration, is current."""
        ...

    async def get(self, dataset: str) -> DatasetRecord | None:
        """One dataset."""
        ...

    async def coverage(self, dataset: str) -> list[TimeSpan]:
        """What has been claimed, in order; holes of up to `GAP_TOLERANCE` are closed."""
        ...

    async def list(self) -> list[DatasetRecord]:
        """All datasets by name."""
        ...


class QuarantineLedger(Protocol):
    """What was refused."""

    async def add(self, entry: QuarantineEntry) -> None:
        """Keep an entry once."""
        ...

    async def list(self, dataset: str | None = None) -> list[QuarantineEntry]:
        """Entries, oldest first."""
        ...

    async def get(self, entry_id: UUID) -> QuarantineEntry | None:
        """One entry."""
        ...

    async def mark_replayed(self, entry_id: UUID) -> None:
        """Say that its rows were submitted again."""
        ...


class Bookmarks(Protocol):
    """Named positions, such as how far a schedule has come."""

    async def get(self, name: str) -> str | None:
        """The position, or None."""
        ...

    async def set(self, name: str, value: str) -> None:
        """Move the position."""
        ...


class StateStore(Protocol):
    """Everything that must be remembered, behind one adapter."""

    @property
    def log(self) -> EventLog:
        """Commands and events."""
        ...

    @property
    def ingestions(self) -> IngestionLedger:
        """What was accepted."""
        ...

    @property
    def windows(self) -> WindowLedger:
        """Coverage and windows."""
        ...

    @property
    def builds(self) -> BuildQueue:
        """Windows to build."""
        ...

    @property
    def datasets(self) -> DatasetRegistry:
        """Datasets and maps."""
        ...

    @property
    def quarantine(self) -> QuarantineLedger:
        """What was refused."""
        ...

    @property
    def bookmarks(self) -> Bookmarks:
        """Positions."""
        ...

    async def close(self) -> None:
        """Release what is held; work in this process's hands becomes free."""
        ...
