from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ionbeam.cli import app
from ionbeam.cli.options import Json, Place, placed

LISTING = {"list", "show", "run", "backfill", "rebuild", "replay", "check", "books", "reconcile", "demo"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be typed, groups too."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))
LEAVES = {path: command for path, command in ALL.items() if not getattr(command, "commands", {})}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_every_option_has_help(path: tuple[str, ...], ionbeam: Any) -> None:
    assert ALL[path].help
    silent = [p.name for p in ALL[path].params if p.name != "help" and not p.help]
    assert silent == []
    result = ionbeam(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(['ionbeam', *path])} ")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_a_data_dir_and_those_that_tell_something_print_json(
    path: tuple[str, ...],
) -> None:
    options = {option for p in LEAVES[path].params for option in p.opts}
    assert "--data-dir" in options
    assert ("--json" in options) is (path[-1] in LISTING)


def test_the_published_commands_are_there() -> None:
    assert {" ".join(path) for path in LEAVES} == {
        "demo",
        "up",
        "books",
        "reconcile",
        *(f"source {verb}" for verb in ("list", "run", "backfill")),
        *(f"dataset {verb}" for verb in ("list", "show")),
        *(f"window {verb}" for verb in ("list", "show", "rebuild")),
        *(f"quarantine {verb}" for verb in ("list", "show", "replay")),
        *(f"config {verb}" for verb in ("check", "show")),
    }


def test_a_command_gets_its_place_and_its_own_options() -> None:
    seen: list[Any] = []
    small = typer.Typer()

    @small.command()
    @placed
    def see(place: Place, name: str, as_json: Json = False) -> None:
        """Help of its own."""
        seen.extend([place, name, as_json])

    arguments = ["x", "--data-dir", "there", "-c", "file", "-v", "--json"]
    assert CliRunner().invoke(small, arguments).exit_code == 0
    assert seen == [Place(Path("there"), Path("file"), True), "x", True]
    assert "Help of its own." in CliRunner().invoke(small, ["--help"]).stdout
