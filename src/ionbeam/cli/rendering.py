"""How commands print: forms, which are JSON documents, or the same as a table for a person.

A form holds plain values besides times, durations and paths, which are written here and only here.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ionbeam.observations.timespan import format_duration

Form = Mapping[str, Any]

_AS_LONG_AS_NEEDED = 10_000
_WHOLE = frozenset({"dataset", "window", "status", "start", "end", "hour"})
"""Columns that are never broken into lines."""


def console(*, stderr: bool = False) -> Console:
    """Where people read; in a pipe lines are as long as they have to be."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _AS_LONG_AS_NEEDED
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output; numbers that JSON lacks become null."""
    typer.echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, default=_written))


def print_table(forms: Iterable[Form], columns: Sequence[str], *, title: str = "", empty: str = "") -> None:
    """One line per form; ``empty`` is said when there is none."""
    out = console()
    if title:
        out.print(title, style="bold")
    values = [[form.get(column) for column in columns] for form in forms]
    if not values:
        out.print(empty or "none", style="dim")
        return
    table = Table(box=SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float | None) for row in values)
        table.add_column(
            column,
            justify="right" if numbers else "left",
            no_wrap=column in _WHOLE,
            overflow="fold",
        )
    for row in values:
        table.add_row(*map(_cell, row))
    out.print(table)


def print_facts(facts: Form, *, title: str = "") -> None:
    """Names and values, one below the other; what is empty is left out."""
    out = console()
    if title:
        out.print(title, style="bold")
    told = {name: value for name, value in facts.items() if value not in (None, "", [], (), {})}
    width = max(map(len, told), default=0)
    for name, value in told.items():
        # The terminal breaks long lines, not we: a path stays one word to copy.
        out.print(f"{name:<{width}}  {_cell(value)}", soft_wrap=True)


def counted(counts: Mapping[str, int]) -> str:
    """Counts by name as a person says them: ``2 gap, 1 subject_to_change``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def short_path(path: Path) -> str:
    """A path as seen from here where it lies below, else in full."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return format_duration(value)
    return str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Path):
        return short_path(value)
    if isinstance(value, Mapping):
        return counted(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return _written(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
