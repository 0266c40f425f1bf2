"""How logs look and where they go: a person's console, or one JSON object per line.

Standard output is never touched; it belongs to what a command prints.
"""

import logging
import sys
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import Processor

from ionbeam.config import LoggingSettings
from ionbeam.errors import ConfigInvalid

QUIET = ("aio_pika", "aiormq", "httpcore", "httpx")
"""Libraries whose every request is not our news."""


def configure(settings: LoggingSettings, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) and, with a ``log_dir``, as JSON lines to its file too.

    A terminal gets the console form, anything else JSON lines. Calling it again replaces what it
    set up before. Records of the standard `logging` come out the same way.
    `ConfigInvalid` when the file cannot be written.
    """
    target = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handlers: list[logging.Handler] = [logging.StreamHandler(target)]
    handlers[0].setFormatter(_formatter(shared, console=target.isatty()))
    if settings.log_dir is not None:
        handlers.append(_file_handler(settings.log_dir / settings.log_name))
        handlers[1].setFormatter(_formatter(shared, console=False))
    _replace_handlers(handlers, settings.level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"logging.log_dir: {path} cannot be written ({error.strerror})") from error


def _formatter(shared: list[Processor], *, console: bool) -> logging.Formatter:
    if console:
        # rich tracebacks would print local variables, and with them secrets
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        last: list[Processor] = [renderer]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _replace_handlers(handlers: list[logging.Handler], level: str) -> None:
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
