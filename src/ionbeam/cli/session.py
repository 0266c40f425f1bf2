"""What every command does around its work: settings, logs, stores or platform, one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from ionbeam import logs
from ionbeam.cli.failures import warn
from ionbeam.cli.options import Place
from ionbeam.config import Loaded, load
from ionbeam.config.loading import PUBLISHED_SOURCES
from ionbeam.wiring import Platform, Stores, open_platform, open_state

T = TypeVar("T")

log = structlog.get_logger(__name__)

_QUIETER = ("WARNING", "ERROR", "CRITICAL")


def prepare(place: Place) -> Loaded:
    """The settings of a command that works once; it logs warnings only unless asked for more."""
    loaded = load(place.config, place.data_dir)
    configured = loaded.settings.logging.level
    quiet = configured if configured in _QUIETER else "WARNING"
    set_up_logs(loaded, "INFO" if place.verbose else quiet)
    return loaded


def set_up_logs(loaded: Loaded, level: str) -> None:
    """Log from now on, beginning with what the configuration's reader should know."""
    logs.configure(loaded.settings.logging.model_copy(update={"level": level}))
    for remark in remarks(loaded):
        log.warning("configuration", remark=remark)


def remarks(loaded: Loaded) -> list[str]:
    """What the configuration's reader should know, apart from the blocks of sources."""
    planned = {window.source_name for window in loaded.settings.scheduler.windows}
    # With a broker a client may serve them.
    absent = [] if loaded.settings.broker.url else sorted(planned.intersection(PUBLISHED_SOURCES))
    return [
        *loaded.warnings,
        *(f"scheduler.windows: {name} is never asked: this version has no such source" for name in absent),
    ]


def look(loaded: Loaded, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Do something with the stores alone."""

    async def opened() -> T:
        async with open_state(loaded) as stores:
            return await work(stores)

    if not (loaded.settings.data_dir / "state" / "state.sqlite").exists():
        warn(f"Nothing is in {loaded.settings.data_dir} yet; fetch something, or give another --data-dir.")
    return asyncio.run(opened())


def operate(loaded: Loaded, work: Callable[[Platform], Awaitable[T]]) -> T:
    """Do something with a platform whose messages stay in this process."""

    async def opened() -> T:
        async with open_platform(loaded) as platform:
            return await work(platform)

    return asyncio.run(opened())
