"""How commands print: forms, which are JSON documents, or the same as a table for a person.

A form holds plain values besides times, durations and paths, which are written here and only here.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from ionbeam.observations.timespan import format_duration

Form = Mapping[str, Any]


def console(*, stderr: bool = False) -> Console:
    """Where people read."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output; numbers that JSON lacks become null."""
    typer.echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, default=_written))


def print_table(forms: Iterable[Form], columns: Sequence[str], *, title: str = "", empty: str = "") -> None:
    """One line per form, numbers to the right; ``empty`` is said when there is none."""
    out = console()
    if title:
        out.print(title, style="bold")
    values = [[form.get(column) for column in columns] for form in forms]
    if not values:
        out.print(empty or "none", style="dim")
        return
    cells = [list(columns), *([_cell(value) for value in row] for row in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(v, int | float | None) for v in column) for column in zip(*values, strict=True)]
    for number, row in enumerate(cells):
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        # The terminal breaks long lines, not we: what is copied from them stays whole.
        out.print("  ".join(padded).rstrip(), style="" if number else "bold", soft_wrap=True)


def print_facts(facts: Form, *, title: str = "") -> None:
    """Names and values, one below the other; what is empty is left out."""
    out = console()
    if title:
        out.print(title, style="bold")
    told = {name: value for name, value in facts.items() if value not in (None, "", [], (), {})}
    width = max(map(len, told), default=0)
    for name, value in told.items():
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
