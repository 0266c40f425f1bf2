"""`ionbeam reconcile`: what was cut off, and finishing it."""

from typing import TYPE_CHECKING, Any

import typer

from ionbeam.cli.failures import FAILED, warn
from ionbeam.cli.options import Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.records import WindowKey
    from ionbeam.wiring import Platform, Stores

WORK = {
    "StartSourceCommand": "spans_to_fetch",
    "IngestDataCommand": "payloads_to_ingest",
    "DataAvailableEvent": "ingestions_to_close_into_windows",
    "DataSetAvailableEvent": "revisions_to_announce",
}
"""What an open message of each kind means."""


@placed
def reconcile(place: Place, as_json: Json = False) -> None:
    """Find work that was cut off and finish it, and publish lost files again.

    Fails when some of it cannot be finished now, and while the build of a window fails.
    """
    from ionbeam.cli import rendering, session

    loaded = session.prepare(place)
    found = session.look(loaded, _due)
    restored = session.operate(loaded, lambda platform: _finish(platform, found))
    left = session.look(loaded, _due)
    failing = session.look(loaded, _failing)
    if as_json:
        names = [_window_form(key) for key in restored]
        rendering.print_json({"found": found, "left": left, "restored": names, "failing": failing})
    elif found or restored or failing:
        files = f"{len(restored)} published files" if restored else ""
        rendering.print_facts(
            {"found": _spoken(found), "left": _spoken(left) or "nothing", "restored": files}
        )
    else:
        typer.echo("Nothing was left undone.")
    for window in failing:
        warn(
            f"Error: {window['dataset']} {window['window']} is {window['status']} after "
            f"{window['attempts']} failed builds: {window['reason']}"
        )
    if left:
        warn(
            f"Error: {_spoken(left)} could not be finished; run `ionbeam reconcile -v` to see why, "
            "or later when another process has them in hand"
        )
    if left or failing:
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
    return dict(due)


async def _failing(stores: "Stores") -> list[dict[str, Any]]:
    """Windows whose build failed and that wait to be tried again, or for somebody."""
    from ionbeam.records import WindowStatus

    return [
        {
            **_window_form(window.key),
            "status": window.status.value,
            "reason": window.reason,
            "attempts": window.attempts,
            "due_at": window.due_at,
        }
        for window in await stores.state.windows.windows()
        if window.status is WindowStatus.PARKED or (window.status is WindowStatus.QUEUED and window.attempts)
    ]


async def _finish(platform: "Platform", found: dict[str, int]) -> "list[WindowKey]":
    """Finish what is due; the windows whose lost files were published again."""
    from ionbeam.cli import progress

    async def left() -> int:
        return sum((await _due(platform.stores)).values())

    async with progress.following("finishing", sum(found.values()), left):
        await platform.drain()
    return await platform.builder.restore_missing()


def _window_form(key: "WindowKey") -> dict[str, Any]:
    from ionbeam.cli.finding import window_label

    return {"dataset": key.dataset, "window": window_label(key)}


def _spoken(work: dict[str, int]) -> str:
    from ionbeam.cli.rendering import counted

    return counted(work).replace("_", " ")
