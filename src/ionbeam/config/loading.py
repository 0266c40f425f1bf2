"""From a file to settings: where it is found, what it may say, and what to tell about the rest."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ionbeam.config.document import Document, KeyPath, dotted, parse
from ionbeam.config.secrets import masked
from ionbeam.config.settings import Settings
from ionbeam.errors import ConfigInvalid
from ionbeam.sources import ALIASES, SOURCES

CONFIG_PATH_VARIABLE = "IONBEAM_CONFIG_PATH"
DEFAULT_FILE = Path("config.yaml")

PUBLISHED_SOURCES = ("acronet", "meteotracker", "netatmo", "netatmo_mqtt")
"""Sources whose blocks published configurations hold though this version has none of them."""

WITHOUT_EFFECT = {
    "redis": "this version keeps state in SQLite",
    "influxdb_common": "this version keeps observations in Parquet",
    "projections": "this version has no projections",
    "dataset_coordinator.only_process_spanned_windows": "an event never changes windows it does not touch",
    "dataset_aggregator.page_size": "windows are read chunk by chunk",
    "dataset_aggregator.max_batch_size": "windows are read chunk by chunk",
    "dataset_aggregator.queue_key": "due windows are kept in the state store",
    "dataset_coordinator.queue_key": "due windows are kept in the state store",
    "dataset_coordinator.enabled": "the coordinator always runs",
    "parquet_chunk_size": "payloads are streamed in row groups of a fixed size",
    "sources.*.data_path": "payloads lie in the object store, see arrow_store.data_path",
    "sources.*.trigger_queue": "queue names are fixed",
    "sources.*.ingestion_queue": "queue names are fixed",
}
"""Published keys that are accepted and do nothing, with the reason."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """Settings, where they came from, and what the reader should know about them."""

    settings: Settings
    warnings: tuple[str, ...]
    """Keys that are unknown or have no effect, each one sentence."""
    origin: Path | None
    """The file; None when only defaults apply."""
    document: Document

    def source(self, name: str, model: type[M]) -> tuple[M, tuple[str, ...]]:
        """A source's own settings and the warnings about its block."""
        block = self.settings.sources.get(name, {})
        path = ("sources", name)
        warnings = tuple(_unknown_keys(model, block, path, self.document))
        return _validated(model, block, path, self.document), warnings


def load(path: Path | None = None, data_dir: Path | None = None) -> Loaded:
    """Settings from ``path``, else from $IONBEAM_CONFIG_PATH, else from ./config.yaml, else defaults.

    ``data_dir`` overrides the file. `ConfigInvalid` names every wrong key with its line, its value
    and what is allowed.
    """
    origin = find(path)
    document = _read(origin)
    values, moved = _with_nested_sources(document)
    if data_dir is not None:
        values["data_dir"] = data_dir
    settings = _validated(Settings, values, (), moved)
    warnings = (
        *document.remarks,
        *_unknown_keys(Settings, values, (), moved),
        *_source_remarks(values, moved),
    )
    return Loaded(settings, warnings, origin, moved)


def find(path: Path | None = None) -> Path | None:
    """The file that `load` reads; None where defaults apply."""
    if path is not None:
        return path
    if named := os.environ.get(CONFIG_PATH_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read(origin: Path | None) -> Document:
    if origin is None:
        return Document({})
    try:
        return parse(origin.read_text(encoding="utf-8"), str(origin), os.environ)
    except OSError as error:
        raise ConfigInvalid(
            f"the configuration {origin} cannot be read ({error.strerror}); give another with --config, "
            f"or unset {CONFIG_PATH_VARIABLE} to run with defaults"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"the configuration {origin} is not UTF-8 text") from error


def _with_nested_sources(document: Document) -> tuple[dict[str, Any], Document]:
    """The one nesting the settings have: source blocks in ``sources``, the scheduler at the top.

    Published configurations also write ``ioncannon:`` at the top and ``sources.scheduler``.
    """
    values = dict(document.values)
    lines, written = dict(document.lines), dict(document.written)
    sources = _block(values.get("sources", {}), ("sources",), document)
    moves: list[tuple[KeyPath, KeyPath]] = []
    for name in [n for n in values if _is_source(n)]:
        moves.append(((name,), ("sources", name)))
        _refuse_both(name in sources, *moves[-1], document)
        sources[name] = values.pop(name)
    if "scheduler" in sources:
        moves.append((("sources", "scheduler"), ("scheduler",)))
        _refuse_both("scheduler" in values, *moves[-1], document)
        values["scheduler"] = sources.pop("scheduler")
    for moved, target in moves:
        lines.update(_moved(document.lines, moved, target))
        written.update(_moved(document.written, moved, target))
    values["sources"] = {ALIASES.get(name, name): block for name, block in sources.items()}
    return values, Document(values, lines, written)


def _moved(facts: Mapping[KeyPath, T], moved: KeyPath, target: KeyPath) -> dict[KeyPath, T]:
    """What is known of a block and all below it, under the path it has now."""
    return {target + p[len(moved) :]: fact for p, fact in facts.items() if p[: len(moved)] == moved}


def _block(value: Any, path: KeyPath, document: Document) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigInvalid(f"{document.where(path)} is {value!r}; a block of keys and values is needed")
    return dict(value)


def _refuse_both(both: bool, written: KeyPath, target: KeyPath, document: Document) -> None:
    if both:
        raise ConfigInvalid(f"{document.where(written)} and {document.where(target)} say the same; keep one")


def _is_source(name: str) -> bool:
    return name in SOURCES or name in ALIASES or name in PUBLISHED_SOURCES


def _source_remarks(values: dict[str, Any], document: Document) -> Iterator[str]:
    """What to know about source blocks, whose own keys are checked when the source is made."""
    for name, block in values["sources"].items():
        if name not in SOURCES:
            where = document.where(("sources", name))
            if name in PUBLISHED_SOURCES:
                yield f"{where} is not used: this version has no such source"
            else:
                yield f"{where} is no source Ionbeam knows{_suggestion(name, SOURCES)}"
        for key in block:
            if (reason := _without_effect(("sources", name, key))) is not None:
                yield f"{document.where(('sources', name, key))} has no effect: {reason}"


def _unknown_keys(
    model: type[BaseModel], given: Mapping[str, Any], path: KeyPath, document: Document
) -> Iterator[str]:
    """A sentence for every key that ``model`` does not have, at any depth."""
    known = {name: field for key, field in model.model_fields.items() for name in _names(key, field)}
    for key, value in given.items():
        here = (*path, key)
        if (reason := _without_effect(here)) is not None:
            if here[0] != "sources":
                yield f"{document.where(here)} has no effect: {reason}"
        elif key not in known:
            yield f"{document.where(here)} is not a key Ionbeam knows{_suggestion(key, known)}"
        if key in known:
            yield from _unknown_below(_model_in(known[key].annotation), value, here, document)


def _unknown_below(
    model: type[BaseModel] | None, value: Any, path: KeyPath, document: Document
) -> Iterator[str]:
    if model is None:
        return
    if isinstance(value, dict):
        yield from _unknown_keys(model, value, path, document)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_below(model, item, (*path, index), document)


def _names(key: str, field: FieldInfo) -> Iterator[str]:
    """Every name a field is read under."""
    yield key
    alias = field.validation_alias
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, AliasChoices):
        yield from (choice for choice in alias.choices if isinstance(choice, str))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``annotation``, such as that of ``tuple[Model, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _without_effect(path: KeyPath) -> str | None:
    name = dotted(path)
    return next((why for pattern, why in WITHOUT_EFFECT.items() if fnmatchcase(name, pattern)), None)


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _validated(model: type[M], values: Mapping[str, Any], path: KeyPath, document: Document) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_fault(fault, path, document) for fault in error.errors(include_url=False)]
        raise ConfigInvalid("; ".join(faults)) from None


def _fault(fault: Any, path: KeyPath, document: Document) -> str:
    where: KeyPath = (*path, *fault["loc"])
    wanted = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{document.where(where)} is missing"
    value = masked(document.written.get(where, fault["input"]), str(where[-1]))
    is_text = isinstance(fault["input"], str) or not isinstance(value, str)
    return f"{document.where(where)} is {repr(value) if is_text else value}: {wanted}"
