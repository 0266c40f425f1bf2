"""THE COMMAND LINE: one file per group of commands; what it prints comes from `rendering`.

Modules here import only what ``--help`` needs; a command imports the platform when it runs.
"""

from typing import Annotated

import typer

from ionbeam import __version__
from ionbeam.cli import books, config, dataset, demo, quarantine, reconcile, source, up, window
from ionbeam.cli.failures import OneSentence

app = typer.Typer(
    cls=OneSentence,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ionbeam {__version__}")
        raise typer.Exit


@app.callback()
def ionbeam(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version.")
    ] = False,
) -> None:
    """Observations from anything that senses: canonical, in time windows that stay correct.

    Exit codes: 0 done, 1 failed, 2 misused.
    """


app.command()(demo.demo)
app.command()(up.up)
app.add_typer(source.app, name="source")
app.add_typer(dataset.app, name="dataset")
app.add_typer(window.app, name="window")
app.add_typer(quarantine.app, name="quarantine")
app.command()(books.books)
app.command()(reconcile.reconcile)
app.add_typer(config.app, name="config")
