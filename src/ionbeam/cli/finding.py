"""What a word on the command line names: a time, a span, a dataset, a window, an entry."""

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ionbeam.cli.failures import Misuse
from ionbeam.errors import InvalidInput, NaiveDatetime
from ionbeam.observations.timespan import TimeSpan, format_duration, parse_time
from ionbeam.ports import StateStore
from ionbeam.records import QuarantineEntry, WindowKey, WindowState

_ALWAYS = TimeSpan(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
_SHOWN = 5


def time_of(text: str, option: str) -> datetime:
    """A time in UTC; `Misuse` names the option it was given for."""
    try:
        return parse_time(text)
    except InvalidInput as error:
        raise Misuse(f"{option}: {error}") from error


def span_of(start: str | None, end: str | None) -> TimeSpan:
    """The span between two options; an absent one means for ever."""
    span = (
        time_of(start, "--start") if start else _ALWAYS.start,
        time_of(end, "--end") if end else _ALWAYS.end,
    )
    if span[0] >= span[1]:
        raise Misuse(f"--end {end} is not after --start {start}")
    return TimeSpan(*span)


def one_of(kind: str, text: str, known: Sequence[str]) -> str:
    """The one of ``known`` that ``text`` is or begins; `Misuse` names what was probably meant."""
    begun = [name for name in known if name.startswith(text)]
    if text in known or len(begun) == 1:
        return text if text in known else begun[0]
    if not known:
        raise Misuse(f"there is no {kind} {text!r}; there is none at all yet")
    if begun:
        raise Misuse(f"{text!r} begins more than one {kind}: {_some(begun)}")
    near = difflib.get_close_matches(text, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"choose from {_some(known)}"
    raise Misuse(f"there is no {kind} {text!r}; {advice}")


async def dataset_of(state: StateStore, text: str) -> str:
    """The name of the dataset meant by ``text``."""
    return one_of("dataset", text, [record.metadata.dataset.name for record in await state.datasets.list()])


async def window_of(state: StateStore, dataset: str, text: str) -> WindowState:
    """The window that ``text`` names: by its name or the beginning of it, its file, or a time inside."""
    windows = await state.windows.windows(dataset)
    if named := _named(windows, text):
        return named
    labels = {window_label(window.key): window for window in windows}
    begun = [label for label in labels if label.startswith(text)]
    if len(begun) == 1:
        return labels[begun[0]]
    if not begun and _is_time(text):
        instant = time_of(text, "START")
        at = TimeSpan(instant, instant + timedelta(microseconds=1))
        inside = [label for label, window in labels.items() if window.key.span.overlaps(at)]
        if len(inside) == 1:
            return labels[inside[0]]
    return labels[one_of(f"window of {dataset}", text, list(labels))]


async def start_of(state: StateStore, dataset: str, text: str) -> datetime:
    """The time that ``text`` is, or where the window of that name or file starts."""
    named = _named(await state.windows.windows(dataset), text)
    return named.key.start if named else time_of(text, "START")


async def entry_of(state: StateStore, text: str) -> QuarantineEntry:
    """The quarantine entry whose id is or begins with ``text``."""
    entries = {str(entry.id): entry for entry in await state.quarantine.list()}
    return entries[one_of("quarantine entry", text, list(entries))]


def window_label(key: WindowKey) -> str:
    """A window in ISO 8601: ``2024-01-01T00:00:00Z/PT1H``."""
    return f"{key.start:%Y-%m-%dT%H:%M:%SZ}/{format_duration(key.length)}"


def _named(windows: Sequence[WindowState], text: str) -> WindowState | None:
    """The window with exactly this label, or published in the file of this name."""
    stem = text.rpartition("/")[2].removesuffix(".parquet")
    return next((w for w in windows if window_label(w.key) == text or w.key.file_stem == stem), None)


def _is_time(text: str) -> bool:
    """Whether ``text`` is a time, be it without a zone."""
    try:
        parse_time(text)
    except NaiveDatetime:
        return True
    except InvalidInput:
        return False
    return True


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
