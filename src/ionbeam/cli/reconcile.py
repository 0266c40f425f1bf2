"""`ionbeam reconcile`: what was cut off, and finishing it."""

from typing import TYPE_CHECKING

import typer

from ionbeam.cli.failures import FAILED, warn
from ionbeam.cli.options import Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.wiring import Platform, Stores

WORK = {
    "StartSourceCommand": "spans_to_fetch",
    "IngestDataCommand": "payloads_to_ingest",
    "DataAvailableEvent": "ingestions_to_close_into_windows",
    "DataSetAvailableEvent": "revisions_to_announce",
}
"""What an open message of each kind means."""

PARKED = "windows_parked"


@placed
def reconcile(place: Place, as_json: Json = False) -> None:
    """Find work that was cut off and finish it; fails when some of it cannot be finished now."""
    from ionbeam.cli import rendering, session

    loaded = session.prepare(place)
    found = session.look(loaded, _due)
    session.operate(loaded, lambda platform: _finish(platform, found))
    left = session.look(loaded, _due)
    if as_json:
        rendering.print_json({"found": found, "left": left})
    elif found:
        rendering.print_facts({"found": _spoken(found), "left": _spoken(left) or "nothing"})
    else:
        typer.echo("Nothing was left undone.")
    if left:
        warn(
            f"Error: {_spoken(left)} could not be finished; run `ionbeam reconcile -v` to see why, "
            "or later when another process has them in hand"
        )
        raise typer.Exit(FAILED)


async def _due(stores: "Stores") -> dict[str, int]:
    """How much work of each kind is due."""
    from collections import Counter
    from datetime import UTC, datetime

    from ionbeam.records import WindowStatus

    now = datetime.now(UTC)
    due = Counter(WORK[entry.kind] for entry in await stores.state.log.open_entries())
    for window in await stores.state.windows.windows():
        if window.status is WindowStatus.QUEUED and window.due_at is not None and window.due_at <= now:
            due["windows_to_build"] += 1
        elif window.status is WindowStatus.PARKED:
            due[PARKED] += 1
    return dict(due)


async def _finish(platform: "Platform", found: dict[str, int]) -> None:
    from ionbeam.cli import progress

    async def left() -> int:
        return _to_do(await _due(platform.stores))

    async with progress.following("finishing", _to_do(found), left):
        await platform.drain()


def _to_do(work: dict[str, int]) -> int:
    """How much of the work goes on by itself."""
    return sum(count for kind, count in work.items() if kind != PARKED)


def _spoken(work: dict[str, int]) -> str:
    from ionbeam.cli.rendering import counted

    return counted(work).replace("_", " ")
