"""`ionbeam dataset`: what the data is."""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ionbeam.cli.options import Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.observations.timespan import TimeSpan
    from ionbeam.records import DatasetRecord
    from ionbeam.wiring import Stores

app = typer.Typer(no_args_is_help=True, help="Datasets, their variables and what they cover.")

COLUMNS = ("dataset", "span", "lateness", "windows", "revisions", "rows", "start", "end", "gaps")
VARIABLE_COLUMNS = ("standard_name", "unit", "level", "method", "period", "from_column")


@app.command("list")
@placed
def list_(place: Place, as_json: Json = False) -> None:
    """Registered datasets, their finished windows and what they cover."""
    from ionbeam.cli import rendering, session

    async def found(stores: "Stores") -> list[dict[str, Any]]:
        return [await dataset_form(stores, record) for record in await stores.state.datasets.list()]

    forms = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(forms)
    else:
        lines = [{**form, "gaps": len(form["gaps"])} for form in forms]
        rendering.print_table(lines, COLUMNS, empty="no datasets")


@app.command()
@placed
def show(
    place: Place,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its name, or how that begins.")],
    as_json: Json = False,
) -> None:
    """One dataset: its metadata, variables and units, identity, remarks, coverage and gaps."""
    from ionbeam.cli import finding, rendering, session

    async def found(stores: "Stores") -> dict[str, Any]:
        name = await finding.dataset_of(stores.state, dataset)
        record = await stores.state.datasets.get(name)
        assert record is not None
        return {**await dataset_form(stores, record), **_description(record)}

    form = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(form)
        return
    tables = ("variables", "coverage", "gaps", "findings")
    rendering.print_facts({name: value for name, value in form.items() if name not in tables})
    rendering.print_table(form["variables"], VARIABLE_COLUMNS, title="\nvariables")
    for name in ("coverage", "gaps"):
        rendering.print_table(form[name], ("start", "end", "length"), title=f"\n{name}")
    rendering.print_table([{"remark": f} for f in form["findings"]], ["remark"], title="\nremarks")


async def dataset_form(stores: "Stores", record: "DatasetRecord") -> dict[str, Any]:
    """A dataset as one line of a list."""
    dataset = record.metadata.dataset
    windows = await stores.state.windows.windows(dataset.name)
    coverage = await stores.state.datasets.coverage(dataset.name)
    built = [window.revision for window in windows if window.revision is not None]
    return {
        "dataset": dataset.name,
        "description": dataset.description,
        "span": dataset.aggregation_span,
        "lateness": dataset.subject_to_change_window,
        "windows": len(built),
        "revisions": sum(revision.number for revision in built),
        "rows": sum(revision.rows for revision in built),
        "start": coverage[0].start if coverage else None,
        "end": coverage[-1].end if coverage else None,
        "coverage": [_span_form(span) for span in coverage],
        "gaps": [_span_form(gap) for gap in _gaps(coverage)],
        "findings": list(record.findings),
    }


def _description(record: "DatasetRecord") -> dict[str, Any]:
    """What `dataset_form` leaves to the page of one dataset."""
    dataset, m = record.metadata.dataset, record.metadata.ingestion_map
    return {
        "keywords": dataset.keywords,
        "links": [link.href for link in dataset.source_links],
        "version": record.metadata.version,
        "registered_at": record.registered_at,
        "identity": m.identity_columns(),
        "metadata": [variable.column for variable in m.metadata_variables],
        "variables": [
            {
                "name": variable.canonical_name(),
                "standard_name": variable.standard_name,
                "unit": variable.cf_unit,
                "level": variable.level,
                "method": variable.method,
                "period": variable.period,
                "type": variable.dtype,
                "from_column": variable.column,
            }
            for variable in m.canonical_variables
        ],
    }


def _gaps(coverage: "list[TimeSpan]") -> "list[TimeSpan]":
    """What lies between covered spans."""
    from ionbeam.observations.timespan import TimeSpan

    return [TimeSpan(before.end, after.start) for before, after in pairwise(coverage)]


def _span_form(span: "TimeSpan") -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "length": span.length}
