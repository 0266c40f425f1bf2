"""`ionbeam window`: what became of event time."""

from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ionbeam.cli.failures import FAILED, Misuse, warn
from ionbeam.cli.options import DatasetFilter, Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.observations.timespan import TimeSpan
    from ionbeam.records import Revision, WindowState
    from ionbeam.wiring import Platform, Stores

app = typer.Typer(no_args_is_help=True, help="Windows of event time, their revisions and lineage.")

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset; its first letters will do.")]
Window = Annotated[
    str,
    typer.Argument(
        metavar="START", help="A window's start, a time inside it, how its name begins, or its file's name."
    ),
]

COLUMNS = ("dataset", "window", "status", "reason", "revision", "rows", "file")
REVISION_COLUMNS = ("number", "rows", "content_hash", "supersedes", "ingestions", "built_at")
LINEAGE_COLUMNS = ("ingestion_id", "start", "end", "payload", "accepted_at", "since_revision")


@app.command("list")
@placed
def list_(
    place: Place,
    dataset: DatasetFilter = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Only windows that end later.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Only windows that start earlier.")] = None,
    as_json: Json = False,
) -> None:
    """Windows that hold rows: built, or what they wait for."""
    from ionbeam.cli import finding, rendering, session

    span = finding.span_of(start, end)

    async def found(stores: "Stores") -> list[dict[str, Any]]:
        name = await finding.dataset_of(stores.state, dataset) if dataset else None
        return [window_form(stores, window) for window in await stores.state.windows.windows(name, span)]

    forms = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(forms)
    else:
        # The folder is the same for all; told once it leaves room for the rest.
        lines = [{**form, "file": form["file"] and form["file"].name} for form in forms]
        rendering.print_table(lines, COLUMNS, empty="no windows")
        folders = {form["file"].parent for form in forms if form["file"]}
        rendering.print_facts({"files in": sorted(folders)})


@app.command()
@placed
def show(place: Place, dataset: Dataset, start: Window, as_json: Json = False) -> None:
    """One window: its state, all its revisions, and the ingestions they are made of."""
    from ionbeam.cli import finding, rendering, session

    async def found(stores: "Stores") -> dict[str, Any]:
        name = await finding.dataset_of(stores.state, dataset)
        return await _history(stores, await finding.window_of(stores.state, name, start))

    form = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(form)
        return
    facts = {name: value for name, value in form.items() if name not in ("revisions", "lineage")}
    rendering.print_facts(facts)
    shortened = [_shortened(revision) for revision in form["revisions"]]
    rendering.print_table(shortened, REVISION_COLUMNS, title="\nrevisions")
    rendering.print_table(form["lineage"], LINEAGE_COLUMNS, title="\nmade of")


@app.command()
@placed
def rebuild(
    place: Place,
    dataset: Dataset,
    start: Window,
    end: Annotated[
        str | None, typer.Argument(metavar="[END]", help="Rebuild every window up to this time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build windows again from what is stored, also those that still wait.

    A window whose content comes out the same gets no new revision.
    """
    from ionbeam.cli import rendering, session

    form = session.operate(session.prepare(place), lambda platform: _rebuilt(platform, dataset, start, end))
    if as_json:
        rendering.print_json(form)
    else:
        facts = {"windows": form["windows"], "took": f"{form['seconds']} s"}
        rendering.print_facts(facts, title=form["dataset"])
    for failure in form["failures"]:
        warn(f"Error: {failure['window']} was not built: {failure['reason']}")
    if form["failures"]:
        raise typer.Exit(FAILED)


def window_form(stores: "Stores", window: "WindowState") -> dict[str, Any]:
    """A window as one line of a list."""
    from ionbeam.cli.finding import window_label

    key, revision = window.key, window.revision
    return {
        "dataset": key.dataset,
        "window": window_label(key),
        "start": key.span.start,
        "end": key.span.end,
        "status": window.status.value,
        "reason": window.reason,
        "due_at": window.due_at,
        "revision": revision.number if revision else None,
        "rows": revision.rows if revision else None,
        "content_hash": revision.content_hash if revision else None,
        "file": stores.datasets_root / f"{key.file_stem}.parquet" if revision else None,
    }


async def _history(stores: "Stores", window: "WindowState") -> dict[str, Any]:
    revisions = await stores.state.windows.revisions(window.key)
    return {
        **window_form(stores, window),
        "attempts": window.attempts,
        "revisions": [_revision_form(revision) for revision in revisions],
        "lineage": await _lineage(stores, revisions),
    }


def _revision_form(revision: "Revision") -> dict[str, Any]:
    return {
        "number": revision.number,
        "rows": revision.rows,
        "content_hash": revision.content_hash,
        "supersedes": revision.supersedes,
        "inputs_hash": revision.inputs_hash,
        "inputs": list(revision.inputs),
        "built_at": revision.built_at,
    }


def _shortened(revision: dict[str, Any]) -> dict[str, Any]:
    hashes = {name: (revision[name] or "")[:12] for name in ("content_hash", "supersedes")}
    return {**revision, **hashes, "ingestions": len(revision["inputs"])}


async def _lineage(stores: "Stores", revisions: "list[Revision]") -> list[dict[str, Any]]:
    """The ingestions behind any revision, in acceptance order, each with the first that holds it."""
    from uuid import UUID

    since: dict[str, int] = {}
    for revision in revisions:
        for ingestion in revision.inputs:
            since.setdefault(ingestion, revision.number)
    records = [await stores.state.ingestions.get(UUID(ingestion)) for ingestion in since]
    return [
        {
            "ingestion_id": str(record.id),
            "start": record.span.start,
            "end": record.span.end,
            "payload": record.payload_location,
            "accepted_at": record.accepted_at,
            "since_revision": since[str(record.id)],
        }
        for record in sorted(filter(None, records), key=lambda record: record.sequence)
    ]


async def _rebuilt(platform: "Platform", dataset: str, start: str, end: str | None) -> dict[str, Any]:
    from ionbeam.cli import finding, progress
    from ionbeam.records import WindowStatus

    state = platform.stores.state
    name = await finding.dataset_of(state, dataset)
    span = await _span_to_rebuild(platform, name, start, end)
    await platform.drain()
    began = perf_counter()
    before = {w.key: w.revision for w in await state.windows.windows(name, span)}

    async def left() -> int:
        return sum(w.status is WindowStatus.QUEUED for w in await state.windows.windows(name, span))

    async with progress.following("rebuilding", len(before), left):
        windows = await platform.rebuild(name, span)
    failures = [w for w in windows if w.status is not WindowStatus.BUILT]
    outcomes = Counter({"built": 0, "revised": 0, "unchanged": 0})
    outcomes.update(_outcome(before.get(w.key), w) for w in windows if w not in failures)
    return {
        "dataset": name,
        "windows": dict(outcomes),
        "failures": [{"window": finding.window_label(w.key), "reason": w.reason} for w in failures],
        "seconds": round(perf_counter() - began, 2),
    }


async def _span_to_rebuild(platform: "Platform", dataset: str, start: str, end: str | None) -> "TimeSpan":
    from ionbeam.cli import finding
    from ionbeam.observations.timespan import TimeSpan

    state = platform.stores.state
    if end is None:
        return (await finding.window_of(state, dataset, start)).key.span
    first, last = await finding.start_of(state, dataset, start), finding.time_of(end, "END")
    if last <= first:
        raise Misuse(f"END {end} is not after START {start}")
    span = TimeSpan(first, last)
    if not await state.windows.windows(dataset, span):
        raise Misuse(f"{dataset} has no windows with rows in {span}; `window list` shows where it has some")
    return span


def _outcome(before: "Revision | None", window: "WindowState") -> str:
    if window.revision == before:
        return "unchanged"
    return "revised" if before else "built"
