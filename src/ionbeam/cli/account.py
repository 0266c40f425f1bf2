"""What a run did: revisions as they are announced, rows as they were settled, windows that still wait."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import UUID

from ionbeam.brokers.middleware import handling
from ionbeam.cli.rendering import counted
from ionbeam.messages.events import DataSetAvailableEvent
from ionbeam.messages.topology import projection_queue
from ionbeam.records import IngestionStatus, Revision, Tally, WindowKey, WindowState, WindowStatus
from ionbeam.wiring import Platform


@dataclass(frozen=True, slots=True)
class Announced:
    """A new revision, and how many rows more than the one before it has."""

    revision: Revision
    added: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of some ingestions."""

    rows: Tally
    """Rows of those that this run ingested."""
    known: int
    """Ingestions that had been settled before, so nothing had to be done."""
    failures: dict[UUID | None, str]


class Account:
    """Follows a platform while it works in this process."""

    def __init__(self, platform: Platform, on_revision: Callable[[Announced], None] = lambda _: None) -> None:
        self._platform = platform
        self._state = platform.stores.state
        self._on_revision = on_revision
        self._since = datetime.now(UTC)
        self._started = perf_counter()
        self.revisions: dict[tuple[WindowKey, int], Revision] = {}

    async def listen(self) -> None:
        """Hear of revisions, as a projection does."""
        queue = projection_queue("command-line")
        await self._platform.broker.declare([], [queue])
        await self._platform.broker.consume(queue.name, handling(DataSetAvailableEvent, self._hear))

    async def _hear(self, event: DataSetAvailableEvent) -> None:
        key = WindowKey(event.metadata.name, event.span.start, event.span.length)
        before = 0
        for revision in await self._state.windows.revisions(key):
            name = (key, revision.number)
            if revision.built_at >= self._since and name not in self.revisions:
                self.revisions[name] = revision
                self._on_revision(Announced(revision, revision.rows - before))
            before = revision.rows

    def windows(self) -> dict[str, int]:
        """How many windows got their first revision, and how many one more."""
        built = {key for key, number in self.revisions if number == 1}
        revised = {key for key, number in self.revisions if number > 1}
        return {"built": len(built), "revised": len(revised)}

    def seconds(self) -> float:
        """How long the run has taken."""
        return round(perf_counter() - self._started, 2)

    async def settled(self, ingestions: Iterable[UUID]) -> Settled:
        """What became of these ingestions."""
        rows, known = Tally(), 0
        failures: dict[UUID | None, str] = {}
        for id_ in dict.fromkeys(ingestions):
            record = await self._state.ingestions.get(id_)
            if record is None or record.status is IngestionStatus.ACCEPTED:
                failures[id_] = "not ingested yet; `ionbeam reconcile` takes it up"
                continue
            if record.status is IngestionStatus.REFUSED:
                failures[id_] = f"refused: {record.reason}"
            if record.accepted_at >= self._since:
                rows += record.tally
            else:
                known += 1
        return Settled(rows, known, failures)

    async def summary(self, rows: Tally, dataset: str | None = None) -> dict[str, Any]:
        """The form every pipeline command ends with; ``dataset`` is whose waiting windows to count."""
        return {
            "rows": tally_form(rows),
            "windows": self.windows(),
            "waiting": waiting(await self._state.windows.windows(dataset)),
            "seconds": self.seconds(),
        }


def tally_form(tally: Tally) -> dict[str, int]:
    """A tally's counts by name."""
    return {
        "received": tally.received,
        "stored": tally.stored,
        "duplicate": tally.duplicate,
        "rejected": tally.rejected,
    }


def waiting(windows: Iterable[WindowState]) -> dict[str, int]:
    """How many windows do not hold every known row yet, by reason."""
    late = (window for window in windows if window.status is not WindowStatus.BUILT)
    return dict(
        Counter("parked" if w.status is WindowStatus.PARKED else w.reason or w.status.value for w in late)
    )


def summary_facts(form: Mapping[str, Any]) -> dict[str, str]:
    """A summary for a person."""
    return {
        "rows": rows_sentence(form["rows"]),
        "windows": counted(form["windows"]),
        "waiting": waiting_sentence(form["waiting"]),
        "took": f"{form['seconds']} s",
    }


def rows_sentence(rows: Mapping[str, int]) -> str:
    """A tally as its equation."""
    received, *parts = (f"{count} {name}" for name, count in rows.items())
    return f"{received} = {' + '.join(parts)}"


def waiting_sentence(reasons: Mapping[str, int]) -> str:
    """How many windows wait and why; empty when none does."""
    count = sum(reasons.values())
    return f"{count} window{'s' if count > 1 else ''}: {counted(reasons)}" if count else ""
