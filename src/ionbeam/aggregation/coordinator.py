"""From "observations have landed" to "these windows are due".

The cost of an event depends on the windows it touches, not on how many events came before it.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog

from ionbeam.aggregation.readiness import ReadinessPolicy, decide
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.observations.timespan import MICROSECOND, TimeSpan, windows_over
from ionbeam.ports import Clock, StateStore
from ionbeam.records import GAP_TOLERANCE, Chunk, WindowKey, WindowStatus

log = structlog.get_logger(__name__)


class Coordinator:
    """Handles `DataAvailableEvent`; ``wake_builder`` is called when windows were queued."""

    def __init__(
        self, state: StateStore, clock: Clock, policy: ReadinessPolicy, wake_builder: Callable[[], None]
    ) -> None:
        self._state = state
        self._clock = clock
        self._policy = policy
        self._wake_builder = wake_builder

    async def handle(self, event: DataAvailableEvent) -> None:
        """Take an event in and decide about every window it may concern. Told twice, nothing changes."""
        await self._state.log.append(event)
        dataset = event.metadata.dataset
        length = dataset.aggregation_span
        touched = touched_windows(await self._state.ingestions.chunks(event.id), length)
        await self._state.windows.admit(event, touched)
        decisions = []
        for span in _joined([event.span.widened(GAP_TOLERANCE), *(key.span for key in touched)]):
            for facts in await self._state.windows.examine(dataset.name, length, span):
                decision = decide(facts, dataset.subject_to_change_window, self._policy, self._clock.now())
                if decision is not None:
                    decisions.append(decision)
        await self._state.windows.decide(decisions)
        await self._state.log.close(event)
        queued = sum(decision.status is WindowStatus.QUEUED for decision in decisions)
        log.info("windows examined", dataset=dataset.name, ingestion_id=str(event.id), queued=queued)
        if queued:
            self._wake_builder()


def touched_windows(chunks: Iterable[Chunk], length: timedelta) -> list[WindowKey]:
    """The windows in which the chunks may have rows, in order."""
    return sorted(
        {
            WindowKey(chunk.dataset, window.start, length)
            for chunk in chunks
            for window in windows_over(TimeSpan(chunk.first, chunk.last + MICROSECOND), length)
        }
    )


def _joined(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Overlapping and touching spans as one."""
    result: list[TimeSpan] = []
    for span in sorted(spans):
        if result and span.start <= result[-1].end:
            result[-1] = TimeSpan(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return result
