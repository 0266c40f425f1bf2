"""`ionbeam up`: everything, until it is told to stop."""

from contextlib import suppress
from typing import TYPE_CHECKING

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
    import asyncio

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
    async with open_platform(loaded, embedded=False) as platform:
        _greet(facts)
        log.info("platform started", **facts)
        signal = await _run_until_signal(platform)
        log.info("platform stopping", signal=signal)
    log.info("platform stopped")


async def _run_until_signal(platform: "Platform") -> str:
    """Run until a signal comes; its name. An error in anything that runs ends it too."""
    import asyncio
    from signal import SIGINT, SIGTERM

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(name: str) -> None:
        # A second signal is to have its ordinary effect.
        for number in (SIGINT, SIGTERM):
            loop.remove_signal_handler(number)
        stopped.set_result(name)

    for number in (SIGINT, SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    running = asyncio.create_task(platform.run())
    running.add_done_callback(lambda _: stopped.done() or stopped.set_result("an error"))
    try:
        return await stopped
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


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
