"""`ionbeam books`: every received row is accounted for."""

from typing import TYPE_CHECKING, Any

import typer

from ionbeam.cli.failures import FAILED, warn
from ionbeam.cli.options import DatasetFilter, Json, Place, placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ionbeam.records import BookLine
    from ionbeam.wiring import Stores

COLUMNS = ("dataset", "hour", "received", "stored", "duplicate", "rejected", "pending", "closes")


@placed
def books(place: Place, dataset: DatasetFilter = None, as_json: Json = False) -> None:
    """Rows per dataset and hour of reception; fails when a line does not close.

    A line closes when received = stored + duplicate + rejected + pending.
    """
    from ionbeam.cli import finding, rendering, session

    async def found(stores: "Stores") -> dict[str, Any]:
        name = await finding.dataset_of(stores.state, dataset) if dataset else None
        lines = await stores.state.ingestions.books()
        return books_form([line for line in lines if name in (None, line.dataset)])

    form = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(form)
    else:
        total = [{"dataset": "total", **form["totals"]}] if form["lines"] else []
        rendering.print_table([*form["lines"], *total], COLUMNS, empty="nothing was received")
    if not form["closes"]:
        warn("Error: the books do not close; the lines that say so need `ionbeam reconcile`, then a report")
        raise typer.Exit(FAILED)


def books_form(lines: "Sequence[BookLine]") -> dict[str, Any]:
    """The books, line by line and in all."""
    from ionbeam.cli.account import tally_form
    from ionbeam.records import Tally

    return {
        "lines": [
            {
                "dataset": line.dataset,
                "hour": line.hour,
                **tally_form(line.tally),
                "pending": line.pending,
                "closes": line.closes,
            }
            for line in lines
        ],
        "totals": {
            **tally_form(sum((line.tally for line in lines), Tally())),
            "pending": sum(line.pending for line in lines),
            "closes": all(line.closes for line in lines),
        },
        "closes": all(line.closes for line in lines),
    }
