import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ionbeam import __version__


def test_without_arguments_the_module_is_up_under_the_configuration_of_the_environment(
    up: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "ours.yaml"
    config.write_text("data_dir: elsewhere\n")
    monkeypatch.setenv("IONBEAM_CONFIG_PATH", str(config))
    with up() as running:
        assert running.started["data_dir"] == str(tmp_path / "elsewhere")
        assert running.stop(signal.SIGTERM) == 0


def test_the_version_is_told() -> None:
    command = [sys.executable, "-m", "ionbeam", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"ionbeam {__version__}\n"


def test_the_platform_is_not_imported_for_help() -> None:
    program = "import sys, ionbeam.__main__; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(modules.stdout.split())
    assert {"ionbeam.wiring", "pyarrow", "numpy", "pydantic", "structlog", "rich.console"}.isdisjoint(loaded)
