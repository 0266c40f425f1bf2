"""The only file that introduces rooms to each other: settings in, a running platform out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from time import time
from uuid import UUID

import structlog

from ionbeam import sources
from ionbeam.aggregation.builder import WindowBuilder
from ionbeam.aggregation.coordinator import Coordinator
from ionbeam.aggregation.readiness import ReadinessPolicy
from ionbeam.aggregation.worker import BuildWorker
from ionbeam.brokers.memory import MemoryBroker
from ionbeam.brokers.middleware import handling
from ionbeam.config import Loaded, Settings
from ionbeam.config.loading import PUBLISHED_SOURCES
from ionbeam.errors import ConfigInvalid, ExtraMissing, IonbeamError, StoreUnavailable
from ionbeam.fetching import HttpFetcher
from ionbeam.ingestion.collect import Collector, start_command
from ionbeam.ingestion.ingest import Ingestion
from ionbeam.ingestion.replay import Replay
from ionbeam.messages.codec import encode
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent
from ionbeam.messages.topology import (
    AGGREGATION_QUEUE,
    EXCHANGES,
    INGESTION_QUEUE,
    QUEUES,
    source_queue,
)
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import BatchStore, Broker, Clock, Handler, ObservationStore, Source, StateStore
from ionbeam.records import Decision, WindowState, WindowStatus
from ionbeam.scheduling.clock import SystemClock
from ionbeam.scheduling.plan import Schedule
from ionbeam.scheduling.reconcile import Reconciler
from ionbeam.scheduling.scheduler import Scheduler
from ionbeam.stores.local import LocalBatchStore
from ionbeam.stores.parquet import ParquetObservationStore
from ionbeam.stores.sqlite import SqliteStateStore

log = structlog.get_logger(__name__)

_SCRATCH_AGE_S = 86_400
RECONCILE_EVERY = timedelta(minutes=5)
COORDINATOR_PREFETCH = 4


@dataclass(frozen=True, slots=True)
class Stores:
    """Where everything rests."""

    state: StateStore
    objects: BatchStore
    """Payloads, observations, quarantine."""
    datasets: BatchStore
    """Finished windows."""
    datasets_prefix: str
    """What turns a key in ``datasets`` into a location in ``objects``, or into a path."""
    datasets_root: Path
    observations: ObservationStore
    scratch: Path


def open_stores(settings: Settings, clock: Clock) -> Stores:
    """The embedded stores below ``data_dir``."""
    root = (settings.arrow_store.data_path or settings.data_dir).absolute()
    datasets_root = (settings.dataset_aggregator.data_path or root / "datasets").absolute()
    scratch = settings.data_dir.absolute() / "scratch"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        _clear_old(scratch)
    except OSError as error:
        reason = f"{settings.data_dir} cannot be used as the data folder: {error.strerror}"
        raise StoreUnavailable(f"{reason}; choose another with --data-dir") from error
    objects = LocalBatchStore(root)
    return Stores(
        state=SqliteStateStore(settings.data_dir / "state", clock),
        objects=objects,
        datasets=LocalBatchStore(datasets_root),
        datasets_prefix=_prefix(datasets_root, root),
        datasets_root=datasets_root,
        observations=ParquetObservationStore(objects),
        scratch=scratch,
    )


def _prefix(datasets: Path, root: Path) -> str:
    """What stands before a window's file name in a location: a key's folders, or a path outside."""
    if datasets == root:
        return ""
    return f"{datasets.relative_to(root) if datasets.is_relative_to(root) else datasets}/"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of asking a source for one span."""

    span: TimeSpan
    ingestion_id: UUID | None
    """The ingestion of the answer; None when there was no answer."""
    failure: str = ""
    """Why there was none."""


class Platform:
    """One process of Ionbeam: the pipeline over its stores and broker.

    Revisions are told on ``broker`` and on the ``announcers``: a command that does its work in its own
    process must still tell the projections that listen elsewhere.
    """

    def __init__(
        self,
        loaded: Loaded,
        stores: Stores,
        broker: Broker,
        clock: Clock,
        announcers: Sequence[Broker] = (),
    ) -> None:
        settings = loaded.settings
        self.stores = stores
        self.broker = broker
        self._announcers = announcers
        self._loaded = loaded
        self._clock = clock
        self._sources: dict[tuple[str, bool], tuple[Source, HttpFetcher]] = {}
        state = stores.state
        self.builder = WindowBuilder(
            state,
            stores.observations,
            stores.datasets,
            (broker, *announcers),
            clock,
            location_prefix=stores.datasets_prefix,
            scratch=stores.scratch,
            delete_after_export=settings.dataset_aggregator.delete_after_export,
        )
        self.worker = BuildWorker(
            self.builder.build_next,
            state.builds,
            clock,
            timedelta(seconds=settings.dataset_aggregator.poll_interval_seconds),
            settings.dataset_aggregator.concurrency,
        )
        policy = ReadinessPolicy(settings.dataset_coordinator.allow_incomplete_windows)
        self.coordinator = Coordinator(state, clock, policy, self.worker.wake)
        self.ingestion = Ingestion(state, stores.objects, stores.observations, broker, clock)
        self.collector = Collector(state, stores.objects, broker, self.open_source, stores.scratch)
        self.replay = Replay(state, stores.objects, broker, stores.scratch)
        self.reconciler = Reconciler(state, broker, clock, self.builder.announce)
        self._schedules = schedules(settings)
        self._foreign = foreign_sources(self._schedules)
        self.scheduler = Scheduler(
            state, broker, clock, self._schedules, start_commands, handed_over=self._foreign
        )

    def open_source(self, name: str, use_cache: bool = False) -> Source:
        """A source by its name or alias, with its own settings and fetcher."""
        kind = sources.load(name)
        key = (kind.name, use_cache)
        if key not in self._sources:
            self._sources[key] = self._make_source(kind, use_cache)
        return self._sources[key][0]

    def _make_source(self, kind: sources.SourceClass, use_cache: bool) -> tuple[Source, HttpFetcher]:
        settings, warnings = self._loaded.source(kind.name, kind.settings_model)
        for warning in warnings:
            log.warning("configuration", remark=warning)
        fetcher = HttpFetcher(
            self._loaded.settings.data_dir / "cache" / "http",
            timeout_s=getattr(settings, "timeout_seconds", 60),
            concurrency=getattr(settings, "concurrency", 10),
            cache_only=use_cache or getattr(settings, "use_cache", False),
        )
        return kind(settings, fetcher), fetcher

    async def start(self) -> None:
        """Declare the topology and start to consume; work that was cut off is told again."""
        for announcer in self._announcers:
            await announcer.declare(EXCHANGES, [])
        names = (*sources.SOURCES, *sources.ALIASES, *self._foreign)
        await self.broker.declare(EXCHANGES, [*QUEUES, *map(source_queue, names)])
        await self._consume(INGESTION_QUEUE, handling(IngestDataCommand, self.ingestion.handle), 1)
        await self._consume(
            AGGREGATION_QUEUE, handling(DataAvailableEvent, self.coordinator.handle), COORDINATOR_PREFETCH
        )
        for name in (*sources.SOURCES, *sources.ALIASES):
            handler = handling(StartSourceCommand, self.collector.handle)
            await self._consume(source_queue(name).name, handler, 1)
        await self.reconciler.reconcile()

    async def _consume(self, queue: str, handler: Handler, prefetch: int) -> None:
        await self.broker.consume(queue, handler, prefetch=prefetch)

    async def run(self) -> None:
        """Everything that goes on by itself: schedules, builds, reconciliation. Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.scheduler.run())
            group.create_task(self.worker.run())
            group.create_task(self.reconciler.run(RECONCILE_EVERY))
            group.create_task(self._sweep(RECONCILE_EVERY))

    async def _sweep(self, every: timedelta) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + every)
            try:
                await self.builder.sweep()
            except IonbeamError as error:
                log.warning("sweep interrupted", reason=str(error))

    async def drain(self) -> None:
        """Return when no message is under way and no window is due; needs the in-process broker."""
        assert isinstance(self.broker, MemoryBroker)
        await self.broker.idle()
        await self.worker.build_due()
        await self.broker.idle()

    async def backfill(
        self, source: str, span: TimeSpan, on_span: Callable[[Fetched], None] = lambda _: None
    ) -> list[Fetched]:
        """Ask a source for ``span`` in parts no longer than it allows."""
        return await self.collect(source, span.split(sources.load(source).max_span), on_span)

    async def collect(
        self, source: str, spans: Iterable[TimeSpan], on_span: Callable[[Fetched], None] = lambda _: None
    ) -> list[Fetched]:
        """Ask a source for one span after the other while what came before is ingested and built."""
        name = self.open_source(source).name
        await self.drain()
        fetched = []
        async with self.building():
            for span in spans:
                fetched.append(await self._fetch(start_command(name, span)))
                on_span(fetched[-1])
            await self.drain()
        await self.builder.sweep()
        return fetched

    async def _fetch(self, command: StartSourceCommand) -> Fetched:
        await self.stores.state.log.append(command, reopen=True)
        try:
            ingest = await self.collector.collect(self.open_source(command.source_name), command.span)
        except IonbeamError as error:
            # The caller is told and decides; nobody is to try again behind its back.
            await self.stores.state.log.close(command)
            return Fetched(command.span, None, str(error))
        await self.stores.state.log.close(command)
        return Fetched(command.span, ingest.id)

    async def rebuild(self, dataset: str, span: TimeSpan) -> list[WindowState]:
        """Build the windows of ``span`` again; those whose content is unchanged get no new revision."""
        now = self._clock.now()
        windows = await self.stores.state.windows.windows(dataset, span)
        await self.stores.state.windows.decide(
            [Decision(w.key, WindowStatus.QUEUED, "rebuild", now, forced=True) for w in windows]
        )
        await self.drain()
        return await self.stores.state.windows.windows(dataset, span)

    @asynccontextmanager
    async def building(self) -> AsyncIterator[None]:
        """Build windows in the background while the block runs."""
        task = asyncio.create_task(self.worker.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Stop consuming and finish what is in hand; the stores stay open."""
        for broker in (self.broker, *self._announcers):
            await broker.close()
        for _, fetcher in self._sources.values():
            await fetcher.close()


@asynccontextmanager
async def open_platform(loaded: Loaded, *, embedded: bool = True) -> AsyncIterator[Platform]:
    """A started platform.

    ``embedded`` does all work in this process whatever broker is configured; that one is then only
    told of the revisions.
    """
    clock = SystemClock()
    async with open_state(loaded, clock) as stores:
        url = loaded.settings.broker.url
        configured = [_rabbit(url)] if url else []
        if embedded or not configured:
            platform = Platform(loaded, stores, MemoryBroker(), clock, configured)
        else:
            platform = Platform(loaded, stores, configured[0], clock)
        try:
            await platform.start()
            yield platform
        finally:
            await platform.close()


@asynccontextmanager
async def open_state(loaded: Loaded, clock: Clock | None = None) -> AsyncIterator[Stores]:
    """The stores alone, to look at."""
    stores = open_stores(loaded.settings, clock or SystemClock())
    try:
        yield stores
    finally:
        await stores.state.close()


def _rabbit(url: str) -> Broker:
    try:
        module = import_module("ionbeam.brokers.rabbit")
    except ModuleNotFoundError as error:
        raise ExtraMissing("rabbit", "A broker.url in the configuration") from error
    broker: Broker = module.RabbitBroker(url)
    return broker


async def hand_over(loaded: Loaded, source: str, spans: Iterable[TimeSpan]) -> int:
    """Ask a client's source for spans over the configured broker; how many were asked for."""
    url = loaded.settings.broker.url
    if url is None:
        sources.load(source)
        raise ConfigInvalid(f"{source!r} is no built-in source; a client's needs broker.url")
    broker, asked = _rabbit(url), 0
    try:
        async with open_state(loaded) as stores:
            queue = source_queue(source)
            await broker.declare([], [queue])
            for span in spans:
                command = start_command(source, span)
                await stores.state.log.append(command)
                await broker.publish("", queue.name, encode(command), message_id=str(command.id))
                await stores.state.log.close(command)
                asked += 1
    finally:
        await broker.close()
    return asked


def start_commands(source: str, span: TimeSpan) -> list[StartSourceCommand]:
    """The orders that ask a source for a span, none longer than the source allows."""
    longest = sources.load(source).max_span if source in sources.SOURCES else span.length
    parts = span.split(longest) if span.length > longest else [span]
    return [start_command(source, part) for part in parts]


def schedules(settings: Settings) -> list[Schedule]:
    """When sources are asked.

    With a broker any name may be scheduled, because a client may serve it. Without one, published
    sources this version does not have are left out, and a name nobody knows is `ConfigInvalid`.
    """
    windows = settings.scheduler.windows if settings.scheduler.enabled else ()
    by_clients = settings.broker.url is not None
    return [
        Schedule(
            _scheduled_name(index, window.source_name, by_clients),
            window.window_size,
            window.trigger_interval,
            window.window_lag,
        )
        for index, window in enumerate(windows)
        if by_clients or window.source_name not in PUBLISHED_SOURCES
    ]


def foreign_sources(planned: Iterable[Schedule]) -> frozenset[str]:
    """Scheduled sources that run in a client."""
    return frozenset(schedule.source_name for schedule in planned) - sources.SOURCES.keys()


def _scheduled_name(index: int, name: str, by_clients: bool) -> str:
    try:
        return sources.load(name).name
    except ConfigInvalid as error:
        if by_clients:
            return name
        raise ConfigInvalid(f"scheduler.windows[{index}].source_name: {error}") from error


def _clear_old(scratch: Path) -> None:
    """Remove what killed processes left; a day is longer than any build."""
    for path in scratch.iterdir():
        if time() - path.stat().st_mtime > _SCRATCH_AGE_S:
            rmtree(path, ignore_errors=True)
