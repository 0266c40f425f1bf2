import asyncio
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ionbeam.cli import progress, rendering

DEADLINE_S = 20


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person at a terminal sees; work is looked at all the time."""
    screen = io.StringIO()
    monkeypatch.setattr(
        rendering, "console", lambda stderr=False: Console(file=screen, force_terminal=True, width=100)
    )
    monkeypatch.setattr(progress, "PAUSE_S", 0.0)
    monkeypatch.setattr(progress, "SHARE_OF_LOOKING", 1.0)
    return screen


class Work:
    """Work of which so much is left, told one after the other."""

    def __init__(self, *rests: int) -> None:
        self._rests = list(rests)
        self.told = asyncio.Event()

    async def left(self) -> int:
        if len(self._rests) == 1:
            self.told.set()
            return self._rests[0]
        return self._rests.pop(0)

    async def watched(self, total: int) -> None:
        async with asyncio.timeout(DEADLINE_S), progress.following("building", total, self.left):
            await self.told.wait()


def test_a_bar_moves_with_every_call_and_says_what_was_done(terminal: io.StringIO) -> None:
    with progress.counting("fetching", 2) as advance:
        advance("monday")
    assert "monday" in terminal.getvalue()
    assert "1/2" in terminal.getvalue()


async def test_a_bar_follows_what_is_left(terminal: io.StringIO) -> None:
    await Work(3, 1).watched(3)
    assert "building" in terminal.getvalue()
    assert "2/3" in terminal.getvalue()


async def test_work_that_brings_more_work_makes_the_bar_longer(terminal: io.StringIO) -> None:
    await Work(5, 1).watched(3)
    assert "4/5" in terminal.getvalue()


async def test_a_failure_to_look_is_not_hidden(terminal: io.StringIO) -> None:
    looked = asyncio.Event()

    async def left() -> int:
        looked.set()
        raise OSError("state is gone")

    with pytest.raises(OSError, match="state is gone"):
        async with asyncio.timeout(DEADLINE_S), progress.following("building", 3, left):
            await looked.wait()


@pytest.mark.parametrize("total", [0, 1])
async def test_short_work_has_no_bar(terminal: io.StringIO, total: int) -> None:
    async with progress.following("building", total, Work(0).left):
        pass
    assert "building" not in terminal.getvalue()


async def test_nobody_looks_where_nobody_watches() -> None:
    work = Work(1)
    async with progress.following("building", 3, work.left):
        await asyncio.sleep(0)
    assert not work.told.is_set()


@pytest.fixture
def cut_off(demo_copy: Path) -> Path:
    """A day of data whose windows are all to be built."""
    connection = sqlite3.connect(demo_copy / "state" / "state.sqlite")
    with connection:
        connection.execute("UPDATE windows SET status = 'queued', due_us = 0 WHERE status = 'built'")
    connection.close()
    return demo_copy


LONG_WORK = {
    "finishing": ("reconcile",),
    "rebuilding": ("window", "rebuild", "ioncannon", "2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"),
    "replaying": ("quarantine", "replay", "--all"),
    "fetching": (
        "source", "backfill", "ioncannon", "--start", "2024-06-01T00:00:00Z", "--end", "2024-06-02T01:00:00Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LONG_WORK)
def test_long_work_shows_a_bar_on_a_terminal(
    what: str, ionbeam: Any, cut_off: Path, terminal: io.StringIO
) -> None:
    result = ionbeam(*LONG_WORK[what], "--data-dir", cut_off, "--json")
    assert result.exit_code == 0
    assert what in terminal.getvalue()


@pytest.mark.parametrize("what", LONG_WORK)
def test_long_work_is_quiet_in_a_pipe(what: str, ionbeam: Any, cut_off: Path) -> None:
    result = ionbeam(*LONG_WORK[what], "--data-dir", cut_off, "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
