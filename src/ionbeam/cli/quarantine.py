"""`ionbeam quarantine`: what was refused, why, and bringing it back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ionbeam.cli.failures import FAILED, Misuse, warn
from ionbeam.cli.options import DatasetFilter, Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.messages.commands import IngestDataCommand
    from ionbeam.records import QuarantineEntry
    from ionbeam.wiring import Platform, Stores

app = typer.Typer(no_args_is_help=True, help="Refused rows and payloads.")

COLUMNS = ("id", "dataset", "rows", "reasons", "status", "at")
_ID_HELP = "The entry's id; its first letters will do."


@app.command("list")
@placed
def list_(place: Place, dataset: DatasetFilter = None, as_json: Json = False) -> None:
    """What was refused, oldest first."""
    from ionbeam.cli import finding, rendering, session

    async def found(stores: "Stores") -> list[dict[str, Any]]:
        name = await finding.dataset_of(stores.state, dataset) if dataset else None
        return [entry_form(entry) for entry in await stores.state.quarantine.list(name)]

    forms = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(forms)
    else:
        rendering.print_table(forms, COLUMNS, empty="nothing was refused")


@app.command()
@placed
def show(
    place: Place,
    entry: Annotated[str, typer.Argument(metavar="ID", help=_ID_HELP)],
    limit: Annotated[int, typer.Option(metavar="ROWS", min=0, help="Show at most so many rows.")] = 20,
    as_json: Json = False,
) -> None:
    """One entry with its rows as they came, each with what is wrong and its number in the payload."""
    from ionbeam.cli import finding, rendering, session

    async def found(stores: "Stores") -> dict[str, Any]:
        chosen = await finding.entry_of(stores.state, entry)
        return {**entry_form(chosen), "refused": _refused(stores, chosen, limit)}

    form = session.look(session.prepare(place), found)
    if as_json:
        rendering.print_json(form)
        return
    rendering.print_facts({name: value for name, value in form.items() if name != "refused"})
    rows = [_flat(row) for row in form["refused"]]
    # Columns that are empty in every row would only push the others apart.
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)] if rows else []
    title = f"\nfirst {len(rows)} of {form['rows']} rows" if rows else "\nthe whole payload was refused"
    rendering.print_table(rows, columns, title=title, empty=" ")


@app.command()
@placed
def replay(
    place: Place,
    entry: Annotated[str | None, typer.Argument(metavar="[ID]", help=_ID_HELP)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every entry that was not replayed yet.")] = False,
    as_json: Json = False,
) -> None:
    """Submit refused rows again, under the map that is registered now.

    Rows that are still wrong come back as a new entry.
    """
    from ionbeam.cli import rendering, session
    from ionbeam.cli.account import summary_facts

    if (entry is None) is not every:
        raise Misuse("give either the ID of one entry or --all")
    form = session.operate(session.prepare(place), lambda platform: _replayed(platform, entry))
    if as_json:
        rendering.print_json(form)
    else:
        rendering.print_facts({"entries": form["entries"], **summary_facts(form)})
    for reason in form["failures"]:
        warn(f"Error: {reason}")
    if form["failures"]:
        raise typer.Exit(FAILED)


def entry_form(entry: "QuarantineEntry") -> dict[str, Any]:
    """An entry as one line of a list."""
    return {
        "id": str(entry.id),
        "dataset": entry.dataset,
        "ingestion_id": str(entry.ingestion_id),
        "rows": entry.rows,
        "reasons": entry.reasons,
        "status": entry.status.value,
        "at": entry.at,
        "location": entry.location,
    }


def _refused(stores: "Stores", entry: "QuarantineEntry", limit: int) -> list[dict[str, Any]]:
    """The first rows of an entry, each with what is wrong and its ``values``; none of a whole payload."""
    from ionbeam.ingestion.mapping import COLUMN, REASON, ROW, VALUE
    from ionbeam.ingestion.replay import read_rejects

    if entry.rows == 0:
        return []
    rows: list[dict[str, Any]] = read_rejects(stores.objects, entry).slice(0, limit).to_pylist()
    facts = {REASON: "reason", COLUMN: "column", VALUE: "value", ROW: "row"}
    return [
        {
            **{name: row[key] for key, name in facts.items()},
            "values": {k: v for k, v in row.items() if k not in facts},
        }
        for row in rows
    ]


def _flat(refused: dict[str, Any]) -> dict[str, Any]:
    """A refused row as one line of a table, where its own columns do not hide what is wrong."""
    facts = {name: value for name, value in refused.items() if name != "values"}
    own = {f"values.{k}" if k in facts else k: v for k, v in refused["values"].items()}
    return {**facts, **own}


async def _replayed(platform: "Platform", entry: str | None) -> dict[str, Any]:
    from ionbeam.cli import finding, progress
    from ionbeam.cli.account import Account
    from ionbeam.records import QuarantineStatus

    state = platform.stores.state
    if entry is None:
        entries = [e for e in await state.quarantine.list() if e.status is QuarantineStatus.OPEN]
    else:
        entries = [await finding.entry_of(state, entry)]
    await platform.drain()
    account = Account(platform)
    await account.listen()
    commands: list[IngestDataCommand] = []

    async def left() -> int:
        under_way = {entry.id for entry in await state.log.open_entries()}
        return len(entries) - sum(command.id not in under_way for command in commands)

    async with progress.following("replaying", len(entries), left):
        for chosen in entries:
            command = await platform.replay.replay(chosen)
            commands.append(command)
        await platform.drain()
    settled = await account.settled(command.id for command in commands)
    return {
        "entries": len(entries),
        **await account.summary(settled.rows),
        "failures": [f"ingestion {id_}: {reason}" for id_, reason in settled.failures.items()],
    }
