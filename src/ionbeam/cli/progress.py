"""Bars for long work: on a terminal, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import perf_counter

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ionbeam.cli import rendering

PAUSE_S = 0.2
SHARE_OF_LOOKING = 0.05
"""At most so much of the time goes into looking how far the work is."""


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar that moves on with every call, which says what was done last."""
    with _bar(total) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=1, description=done)


@asynccontextmanager
async def following(what: str, total: int, left: Callable[[], Awaitable[int]]) -> AsyncIterator[None]:
    """A bar over work that goes on in the block, of which ``left`` tells how much is still to do."""
    with _bar(total) as bar:
        if bar.disable:
            yield
            return
        looking = asyncio.create_task(_look(bar, what, total, left))
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


async def _look(bar: Progress, what: str, total: int, left: Callable[[], Awaitable[int]]) -> None:
    task = bar.add_task(what, total=total)
    pause_s = PAUSE_S
    while True:
        await asyncio.sleep(pause_s)
        began = perf_counter()
        # Work may bring more work, so what is left can exceed what was known at first.
        rest = await left()
        total = max(total, rest)
        bar.update(task, total=total, completed=total - rest)
        pause_s = max(PAUSE_S, (perf_counter() - began) / SHARE_OF_LOOKING)


def _bar(total: int) -> Progress:
    out = rendering.console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal or total <= 1)
