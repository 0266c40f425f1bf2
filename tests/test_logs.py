import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ionbeam.config import LoggingSettings
from ionbeam.errors import ConfigInvalid
from ionbeam.logs import configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _unconfigured_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def test_what_is_no_terminal_gets_one_json_object_per_line():
    stream = io.StringIO()
    configure(LoggingSettings(), stream)
    structlog.get_logger("ionbeam.ingestion").info("ingested", dataset="x", rows=3)
    line = json.loads(stream.getvalue())
    assert line["event"] == "ingested"
    assert line["dataset"] == "x"
    assert line["rows"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "ionbeam.ingestion"
    assert line["timestamp"].endswith("Z")


def test_a_terminal_gets_words():
    stream = Terminal()
    configure(LoggingSettings(), stream)
    structlog.get_logger("x").warning("window_revised", window="w")
    assert "window_revised" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


def test_what_is_less_severe_than_the_level_is_not_logged():
    stream = io.StringIO()
    configure(LoggingSettings(level="WARNING"), stream)
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").error("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_log_dir_gets_the_same_as_json_lines(tmp_path: Path):
    settings = LoggingSettings(log_dir=tmp_path / "logs", log_name="ours.log")
    configure(settings, Terminal())
    structlog.get_logger("x").info("started", source="s")
    line = json.loads((tmp_path / "logs" / "ours.log").read_text())
    assert (line["event"], line["source"]) == ("started", "s")


def test_a_log_dir_that_cannot_be_is_named(tmp_path: Path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(ConfigInvalid, match=r"logging\.log_dir: .*ionbeam\.log cannot be written"):
        configure(LoggingSettings(log_dir=tmp_path / "logs"), io.StringIO())


def test_configuring_again_replaces_instead_of_adding():
    first, second = io.StringIO(), io.StringIO()
    configure(LoggingSettings(), first)
    configure(LoggingSettings(), second)
    structlog.get_logger("x").info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_bound_context_and_records_of_libraries_come_out_the_same_way():
    stream = io.StringIO()
    configure(LoggingSettings(), stream)
    with structlog.contextvars.bound_contextvars(ingestion_id="i"):
        logging.getLogger("library").warning("slow %s", "server")
    logging.getLogger("httpx").info("GET")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["ingestion_id"]) == ("slow server", "i")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_traceback_shows_no_local_variables(stream: io.StringIO):
    configure(LoggingSettings(), stream)
    word = "hush"
    try:
        raise ValueError(f"{len(word)} letters")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert "4 letters" in stream.getvalue()
    assert "hush" not in stream.getvalue()
