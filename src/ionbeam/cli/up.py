"""`ionbeam up`: everything, until it is told to stop."""

import asyncio
from contextlib import suppress
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING, Any

from ionbeam.cli.options import Place, placed

if TYPE_CHECKING:
    from ionbeam.config import Loaded, Settings
    from ionbeam.wiring import Platform


@placed
def up(place: Place) -> None:
    """Run schedules, ingestion and window builds until SIGINT or SIGTERM.

    The first signal finishes what is in hand, a second one ends at once; either way nothing that
    was acknowledged is lost.
    """
    from ionbeam.cli import session
    from ionbeam.config import load

    loaded = load(place.config, place.data_dir)
    session.set_up_logs(loaded, "DEBUG" if place.verbose else loaded.settings.logging.level)
    asyncio.run(_serve(loaded))


async def _serve(loaded: "Loaded") -> None:
    import structlog

    from ionbeam.wiring import open_platform

    log = structlog.get_logger(__name__)
    facts = _facts(loaded.settings)
    stopped = _signalled()
    async with open_platform(loaded, embedded=False) as platform:
        _greet(facts)
        log.info("platform started", **facts)
        cause = await _run(platform, stopped)
        log.info("platform stopping", cause=cause)
    log.info("platform stopped")


def _signalled() -> "asyncio.Future[str]":
    """Done with its name when a signal to stop has come; a second one has its ordinary effect."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(name: str) -> None:
        for number in (SIGINT, SIGTERM):
            loop.remove_signal_handler(number)
        stopped.set_result(name)

    for number in (SIGINT, SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    return stopped


async def _run(platform: "Platform", stopped: "asyncio.Future[str]") -> str:
    """Run until ``stopped``; what ends by an error before raises it."""
    running = asyncio.create_task(platform.run())
    either: list[asyncio.Future[Any]] = [running, stopped]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return stopped.result()


def _facts(settings: "Settings") -> dict[str, str]:
    """Where and what, in words."""
    from ionbeam import sources, wiring
    from ionbeam.cli.source import rhythm
    from ionbeam.config.secrets import masked

    plans = [f"{schedule.source_name} {rhythm(schedule)}" for schedule in wiring.schedules(settings)]
    return {
        "data_dir": str(settings.data_dir.absolute()),
        "sources": ", ".join(sources.SOURCES),
        "schedules": "; ".join(plans) or "none",
        "broker": masked(settings.broker.url) or "in this process",
    }


def _greet(facts: dict[str, str]) -> None:
    from ionbeam import __version__
    from ionbeam.cli import rendering

    if rendering.console().is_terminal:
        rendering.print_facts({**facts, "stop with": "Ctrl-C"}, title=f"Ionbeam {__version__} is up")
