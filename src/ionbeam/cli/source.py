"""`ionbeam source`: which feeds there are, and asking them by hand."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ionbeam.cli.failures import FAILED, warn
from ionbeam.cli.options import End, Json, Place, Start, placed

if TYPE_CHECKING:
    from ionbeam.config import Loaded
    from ionbeam.observations.timespan import TimeSpan
    from ionbeam.scheduling.plan import Schedule
    from ionbeam.wiring import Fetched, Platform

app = typer.Typer(no_args_is_help=True, help="Feeds, and asking them for what they have.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The source, as `source list` names it.")]

_DAY = timedelta(days=1)

COLUMNS = ("name", "dataset", "span", "lateness", "configured", "scheduled")


@app.command("list")
@placed
def list_(place: Place, as_json: Json = False) -> None:
    """Every source, the length and lateness of its windows, and when it is asked."""
    from ionbeam import sources
    from ionbeam.cli import rendering, session

    loaded = session.prepare(place)
    forms = [_form(name, loaded) for name in sources.SOURCES]
    if as_json:
        rendering.print_json(forms)
    else:
        rendering.print_table(forms, COLUMNS)


@app.command()
@placed
def run(place: Place, name: Name, start: Start, end: End, as_json: Json = False) -> None:
    """Ask a source for one span with one command; ingest the answer and build its windows."""
    _ask(place, name, start, end, as_json=as_json, whole=True)


@app.command()
@placed
def backfill(place: Place, name: Name, start: Start, end: End, as_json: Json = False) -> None:
    """Ask a source for a span in parts no longer than it allows; ingest and build meanwhile.

    Answers that did not change do nothing. Parts that fail are named, the others go on, and the
    exit code is 1.
    """
    _ask(place, name, start, end, as_json=as_json, whole=False)


def _form(name: str, loaded: "Loaded") -> dict[str, Any]:
    from ionbeam import sources, wiring

    kind = sources.load(name)
    schedules = [s for s in wiring.schedules(loaded.settings) if s.source_name == name]
    return {
        "name": name,
        "dataset": kind.metadata.dataset.name,
        "span": kind.metadata.dataset.aggregation_span,
        "lateness": kind.metadata.dataset.subject_to_change_window,
        "max_span": kind.max_span,
        "configured": name in loaded.settings.sources,
        "scheduled": [rhythm(schedule) for schedule in schedules],
    }


def rhythm(schedule: "Schedule") -> str:
    """When a schedule asks and for what: ``every PT5M for PT1H, PT10M late``."""
    from ionbeam.observations.timespan import format_duration

    interval, size, lag = map(
        format_duration, (schedule.trigger_interval, schedule.window_size, schedule.window_lag)
    )
    return f"every {interval} for {size}" + (f", {lag} late" if schedule.window_lag else "")


def _ask(place: Place, name: str, start: str, end: str, *, as_json: bool, whole: bool) -> None:
    from ionbeam import sources
    from ionbeam.cli import finding, progress, rendering, session
    from ionbeam.cli.account import summary_facts

    span = finding.span_of(start, end)
    loaded = session.prepare(place)
    if loaded.settings.broker.url is not None and name not in (*sources.SOURCES, *sources.ALIASES):
        _hand_over(loaded, name, [span] if whole else list(span.split(_DAY)), as_json=as_json)
        return
    kind = sources.load(name)
    spans = [span] if whole else list(span.split(kind.max_span))
    with progress.counting("fetching", len(spans)) as advance:

        def on_span(fetched: "Fetched") -> None:
            advance(f"{fetched.span.end:%Y-%m-%d %H:%M}")

        form = session.operate(loaded, lambda platform: _asked(platform, kind.name, spans, on_span))
    if as_json:
        rendering.print_json(form)
    else:
        facts = {"span": f"{start} to {end}", "asked": form["spans"], **summary_facts(form)}
        rendering.print_facts(facts, title=f"{form['source']} → {form['dataset']}")
    for failure in form["failures"]:
        part = f"{failure['start']:%Y-%m-%dT%H:%M:%SZ}/{failure['end']:%Y-%m-%dT%H:%M:%SZ}"
        warn(f"Error: {part} failed: {failure['reason']}")
    if form["failures"]:
        raise typer.Exit(FAILED)


def _hand_over(loaded: "Loaded", name: str, spans: "list[TimeSpan]", *, as_json: bool) -> None:
    """Ask a source that runs in a client; what comes of it is the client's and `ionbeam up`'s."""
    from ionbeam import wiring
    from ionbeam.cli import rendering

    asked = asyncio.run(wiring.hand_over(loaded, name, spans))
    form = {"source": name, "start": spans[0].start, "end": spans[-1].end, "handed_over": asked}
    if as_json:
        rendering.print_json(form)
    else:
        rendering.print_facts({"handed over": f"{asked} spans"}, title=f"{name}, a client's source")


async def _asked(
    platform: "Platform", source: str, spans: "list[TimeSpan]", on_span: "Callable[[Fetched], None]"
) -> dict[str, Any]:
    from ionbeam.cli.account import Account

    dataset = platform.open_source(source).metadata.dataset.name
    await platform.drain()
    account = Account(platform)
    await account.listen()
    fetched = await platform.collect(source, spans, on_span)
    settled = await account.settled(f.ingestion_id for f in fetched if f.ingestion_id is not None)
    reasons = {f.span: f.failure or settled.failures.get(f.ingestion_id) for f in fetched}
    failures = [
        {"start": span.start, "end": span.end, "reason": reason} for span, reason in reasons.items() if reason
    ]
    return {
        "source": source,
        "dataset": dataset,
        "start": spans[0].start,
        "end": spans[-1].end,
        "spans": {
            "asked": len(spans),
            "failed": len(failures),
            "unchanged": settled.known,
        },
        **await account.summary(settled.rows, dataset),
        "failures": failures,
    }
