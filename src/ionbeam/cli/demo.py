"""`ionbeam demo`: a synthetic day becomes hourly windows while one watches, late data included."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ionbeam.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from ionbeam.cli.account import Account, Announced
    from ionbeam.config import Loaded
    from ionbeam.wiring import Platform

FOLDER = Path("ionbeam-data/demo")
DATE = "2024-06-01"
STATIONS = {
    "num_stations": 80,
    "measurement_frequency": "PT5M",
    "late_share": 0.01,
    "duplicate_share": 0.02,
    "malformed_share": 0.002,
}
QUERY = (
    "SELECT datetime, count(*) AS stations, "
    'round(avg("air_temperature__degC__2.0__point__PT0S"), 1) AS temperature_degC '
    'FROM "{files}" GROUP BY datetime ORDER BY datetime'
)
INTRODUCTION = (
    f"{DATE}: {STATIONS['num_stations']} synthetic stations, a row every five minutes, fetched by the hour.\n"
    "Now and then a station's hour arrives late, or a row comes twice, or broken."
)


def demo(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", metavar="PATH", help="Folder of the demo's own stores.")
    ] = FOLDER,
    as_json: Json = False,
) -> None:
    """Watch a synthetic day become hourly datasets that are revised when late data comes.

    Runs in one process and ends by itself. Run again in the same folder it asks for the same day:
    nothing is new then, and nothing changes.
    """
    from functools import partial

    from ionbeam.cli import rendering, session

    loaded = _loaded(data_dir)
    session.set_up_logs(loaded, "WARNING")
    out = rendering.console()
    if not as_json:
        out.print(f"{INTRODUCTION}\n", style="dim")
    tell = _silent if as_json else partial(_tell, out.print)
    form = session.operate(loaded, lambda platform: _a_day(platform, tell))
    if as_json:
        rendering.print_json(form)
    else:
        _print_summary(form, data_dir)


def _loaded(data_dir: Path) -> "Loaded":
    """The demo's own configuration, whatever else is configured here."""
    from ionbeam.config import Loaded, Settings
    from ionbeam.config.document import Document

    settings = Settings.model_validate({"data_dir": data_dir, "sources": {"ioncannon": STATIONS}})
    return Loaded(settings, (), None, Document({}))


def _silent(news: "Announced") -> None:
    """Say nothing."""


def _tell(say: "Callable[..., None]", news: "Announced") -> None:
    """One line about a window's new revision."""
    revision = news.revision
    hour, rows = f"{revision.window.start:%H:%M}", f"{revision.rows} rows"
    if revision.number == 1:
        say(f"{hour}  window built, {rows}", style="green")
    else:
        say(
            f"{hour}  window REVISED: r{revision.number}, {news.added:+} late rows, {rows}",
            style="bold yellow",
        )


async def _a_day(platform: "Platform", tell: "Callable[[Announced], None]") -> dict[str, Any]:
    from datetime import timedelta

    from ionbeam.cli.account import Account
    from ionbeam.observations.timespan import TimeSpan, parse_time

    account = Account(platform, tell)
    await account.listen()
    start = parse_time(f"{DATE}T00:00:00Z")
    for hour in TimeSpan(start, start + timedelta(days=1)).split(timedelta(hours=1)):
        # One hour after the other, so that what is seen is what happened in that hour.
        await platform.collect("ioncannon", [hour])
    return await _summary(platform, account)


async def _summary(platform: "Platform", account: "Account") -> dict[str, Any]:
    from ionbeam.cli.account import tally_form, waiting
    from ionbeam.cli.dataset import dataset_form
    from ionbeam.records import Tally

    stores = platform.stores
    books = await stores.state.ingestions.books()
    windows = await stores.state.windows.windows()
    datasets = [await dataset_form(stores, record) for record in await stores.state.datasets.list()]
    files = stores.datasets_root
    return {
        "datasets": datasets,
        "windows": sum(form["windows"] for form in datasets),
        "revised": sum(w.revision is not None and w.revision.number > 1 for w in windows),
        "revisions": sum(form["revisions"] for form in datasets),
        "new_revisions": len(account.revisions),
        "waiting": waiting(windows),
        "rows": tally_form(sum((line.tally for line in books), Tally())),
        "books_close": all(line.closes and not line.pending for line in books),
        "files": files,
        "query": _query(files),
        "seconds": account.seconds(),
    }


def _query(files: Path) -> str:
    """A shell command that queries the files, for the Python at hand if it has DuckDB."""
    import shlex
    import sys
    from importlib.util import find_spec

    sql = QUERY.format(files=f"{files}/ioncannon_*.parquet")
    if find_spec("duckdb") is None:
        return f"duckdb -c {shlex.quote(sql)}"
    program = f'import duckdb; print(duckdb.sql("""{sql}"""))'
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def _print_summary(form: dict[str, Any], data_dir: Path) -> None:
    import shlex

    from ionbeam.cli import rendering
    from ionbeam.cli.account import rows_sentence, waiting_sentence

    if not form["new_revisions"]:
        typer.echo(
            "Every hour was asked for again and is known already: nothing new, so no new revision.\n"
            f"To watch it happen, delete {data_dir} or choose another --data-dir."
        )
    typer.echo()
    rendering.print_table(form["datasets"], ("dataset", "span", "windows", "revisions", "rows"))
    typer.echo()
    rendering.print_facts(
        {
            "rows": rows_sentence(form["rows"]),
            "books": "close" if form["books_close"] else "DO NOT CLOSE",
            "windows": f"{form['windows']} built, {form['revised']} of them revised",
            "waiting": waiting_sentence(form["waiting"]),
            "files": form["files"],
            "took": f"{form['seconds']} s",
        }
    )
    typer.echo(f"\nQuery them:\n  {form['query']}")
    place = shlex.quote(str(data_dir))
    typer.echo("Look closer:")
    for command in ("window list", "quarantine list", "dataset show ioncannon"):
        typer.echo(f"  ionbeam {command} --data-dir {place}")
