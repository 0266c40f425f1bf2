import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ionbeam.cli.failures import Misuse, OneSentence
from ionbeam.errors import ConfigInvalid, SourceRejected, StoreUnavailable


@pytest.fixture
def failing() -> Callable[[Exception], Result]:
    """Run a command that raises."""

    def run(error: Exception) -> Result:
        app = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)

        @app.callback()
        def root() -> None: ...

        @app.command()
        def fail() -> None:
            raise error

        return CliRunner().invoke(app, ["fail"])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("full"), 1),
        (SourceRejected("full"), 1),
        (ConfigInvalid("full"), 2),
        (Misuse("full"), 2),
    ],
)
def test_our_errors_are_one_sentence_and_a_code(failing: Any, error: Exception, code: int) -> None:
    result = failing(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, "Error: full\n", "")


def test_errors_of_tasks_that_ran_together_are_told_once_each(failing: Any) -> None:
    inner = ExceptionGroup("x", [StoreUnavailable("full"), StoreUnavailable("slow")])
    result = failing(ExceptionGroup("y", [inner, StoreUnavailable("full")]))
    assert (result.exit_code, result.stderr) == (1, "Error: full\nError: slow\n")


@pytest.mark.parametrize(
    "error", [KeyError("ours"), ExceptionGroup("x", [StoreUnavailable("full"), KeyError("ours")])]
)
def test_a_fault_of_the_program_keeps_its_traceback(failing: Any, error: Exception) -> None:
    assert failing(error).exception is error


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "ionbeam", "window", "list", "--data-dir", "file"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Error: file cannot be used as the data folder: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["window", "nonsense"], ["books", "--nonsense"]])
def test_an_unknown_command_or_option_is_a_misuse(ionbeam: Any, arguments: list[str]) -> None:
    result = ionbeam(*arguments)
    assert result.exit_code == 2
    assert "nonsense" in result.stderr
    assert result.stdout == ""
