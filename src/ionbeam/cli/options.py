"""Options that many commands share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Annotated, Any

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="PATH", help="Folder of the embedded stores. [default: ./ionbeam-data]"
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help="Configuration file. [default: $IONBEAM_CONFIG_PATH, else ./config.yaml if there is one]",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_ZONED = "ISO 8601 with a zone, such as 2024-01-01T00:00:00Z"
Start = Annotated[str, typer.Option(metavar="TIME", help=f"Where the span starts: {_ZONED}.")]
End = Annotated[str, typer.Option(metavar="TIME", help="Where the span ends; the end is not part of it.")]

DatasetFilter = Annotated[
    str | None, typer.Argument(metavar="DATASET", help="Only this dataset; its first letters will do.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works, and how much it says."""

    data_dir: Path | None = None
    config: Path | None = None
    verbose: bool = False


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is its `Place`, the options that fill it."""

    def with_options(
        *, data_dir: DataDir = None, config: ConfigFile = None, verbose: Verbose = False, **others: Any
    ) -> None:
        command(Place(data_dir, config, verbose), **others)

    *own, _ = inspect.signature(with_options).parameters.values()
    _, *others = inspect.signature(command).parameters.values()
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*others, *own)]
    update_wrapper(with_options, command)
    vars(with_options)["__signature__"] = inspect.Signature(keywords)
    return with_options
