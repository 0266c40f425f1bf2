"""How a command fails: one sentence on standard error, and an exit code."""

from typing import Any

import typer
from typer.core import TyperGroup

from ionbeam.errors import ConfigInvalid, IonbeamError

FAILED, MISUSED = 1, 2


class Misuse(IonbeamError):
    """The command was given something it cannot work with."""


class OneSentence(TyperGroup):
    """The outermost group: our errors become a sentence, all others keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except IonbeamError as error:
            raise _told([error]) from error
        except ExceptionGroup as group:
            errors = _leaves(group)
            if not errors:
                raise
            raise _told(errors) from group


def warn(sentence: str) -> None:
    """Say something on standard error."""
    typer.echo(sentence, err=True)


def _told(errors: list[IonbeamError]) -> typer.Exit:
    for sentence in dict.fromkeys(map(str, errors)):
        warn(f"Error: {sentence}")
    misused = any(isinstance(error, Misuse | ConfigInvalid) for error in errors)
    return typer.Exit(MISUSED if misused else FAILED)


def _leaves(group: ExceptionGroup[Exception]) -> list[IonbeamError]:
    """The errors of tasks that ran together; none if one of them is not ours."""
    found: list[IonbeamError] = []
    for error in group.exceptions:
        inner = _leaves(error) if isinstance(error, ExceptionGroup) else [error]
        if not inner or not all(isinstance(e, IonbeamError) for e in inner):
            return []
        found += [e for e in inner if isinstance(e, IonbeamError)]
    return found
