"""Commands run in this process, each in an empty folder of its own."""

import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from ionbeam.cli import app

DEADLINE_S = 60


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No configuration from outside, and no logging left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IONBEAM_CONFIG_PATH", raising=False)
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="ionbeam")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def ionbeam() -> Callable[..., Result]:
    """Run a command; what is no exit is raised."""
    return invoke


@pytest.fixture
def as_json() -> Callable[..., Any]:
    """Run a command that must succeed, and read the one document it prints."""

    def run(*arguments: object) -> Any:
        result = invoke(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.fixture(scope="session")
def demo_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a demo, what it printed as JSON, and what a second run in it said to a person."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    first = invoke("demo", "--data-dir", folder, "--json")
    assert first.exit_code == 0, first.output
    second = invoke("demo", "--data-dir", folder)
    assert second.exit_code == 0, second.output
    return folder, json.loads(first.stdout), second.stdout


@pytest.fixture(scope="session")
def demo_folder(demo_made: tuple[Path, dict[str, Any], str]) -> Path:
    """A day of data, only to look at."""
    return demo_made[0]


@pytest.fixture
def demo_copy(demo_folder: Path, tmp_path: Path) -> Path:
    """A day of data to change."""
    return shutil.copytree(demo_folder, tmp_path / "data")


class Running:
    """A process of `python -m ionbeam`, up as soon as the block begins, killed at its end."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ionbeam", *arguments]
        self.logged: list[dict[str, Any]] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._watchdog = threading.Timer(DEADLINE_S, self._process.kill)
        self._watchdog.start()

    def __enter__(self) -> "Running":
        try:
            self.started = self.wait_for("platform started")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next log line with this event."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.logged.append(json.loads(line))
            if self.logged[-1]["event"] == event:
                return self.logged[-1]
        raise AssertionError(f"it ended without saying {event!r}: {self.logged}")

    def stop(self, number: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self._process.send_signal(number)
        self.printed, _ = self._process.communicate()
        return self._process.returncode

    def resident_kb(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def up() -> type[Running]:
    """Start the module as a process."""
    return Running
