"""Answers kept per event, for handlers that may be called again for one they had begun.

Using it is optional: decorate the functions that fetch, and a repeated event is answered from what
was fetched the first time.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import uuid4

from ionbeam_client.constants import MAX_CACHE_PERIOD

P = ParamSpec("P")
T = TypeVar("T")

EVENT_ID = "event_id"
LONGEST_KEY = 200
_DIGEST = 16
_PLAIN = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST_KEY - 1}}}", re.ASCII)


class StorageBackend(Protocol):
    """JSON documents by event and key."""

    async def get(self, event_id: str, key: str) -> Any:
        """The document; None when there is none."""
        ...

    async def put(self, event_id: str, key: str, document: Any) -> None:
        """Keep a document in place of an earlier one; `TypeError` when it is no JSON."""
        ...


class MemoryStorage:
    """A `StorageBackend` that lasts as long as the process."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}

    async def get(self, event_id: str, key: str) -> Any:
        """See `StorageBackend`."""
        return json.loads(self._texts.get((event_id, key), "null"))

    async def put(self, event_id: str, key: str, document: Any) -> None:
        """See `StorageBackend`."""
        self._texts[event_id, key] = json.dumps(document)


class FileStorage:
    """A `StorageBackend` of files ``{folder}/{event_id}/{key}.json``; `OSError` where it cannot write."""

    def __init__(self, folder: Path | str = ".cache") -> None:
        self._folder = Path(folder)

    async def get(self, event_id: str, key: str) -> Any:
        """See `StorageBackend`."""
        try:
            return json.loads(await asyncio.to_thread(self._path(event_id, key).read_bytes))
        except FileNotFoundError:
            return None

    async def put(self, event_id: str, key: str, document: Any) -> None:
        """See `StorageBackend`."""
        await asyncio.to_thread(_replace, self._path(event_id, key), json.dumps(document))

    def _path(self, event_id: str, key: str) -> Path:
        return self._folder / sanitised(event_id) / f"{sanitised(key)}.json"


def sanitised(key: str) -> str:
    """``key`` as a file name of at most 200 of ``A-Za-z0-9._-``, a digest in it where it had to change."""
    if _PLAIN.fullmatch(key):
        return key
    digest = sha256(key.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", key).lstrip(".")
    return f"{readable[: LONGEST_KEY - _DIGEST - 1]}_{digest}"


def cached(
    storage: StorageBackend,
    *,
    key: Callable[..., str] | None = None,
    max_age: timedelta = MAX_CACHE_PERIOD,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Have an async function answer from ``storage`` what it answered before for the same event.

    The function has a parameter ``event_id`` (text or UUID) and answers JSON. ``key`` makes the key
    from the call's arguments; without it the key is the function's name and its other arguments, as
    `repr` writes them. Answers older than ``max_age`` are asked for again.

    `ValueError` when the function has no ``event_id``, or a call gives none.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        form = signature(function)
        if EVENT_ID not in form.parameters:
            raise ValueError(f"a cached function needs a parameter {EVENT_ID}; {_name(function)} has none")

        @wraps(function)
        async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            call = form.bind_partial(*args, **kwargs)
            call.apply_defaults()
            event_id = str(call.arguments.pop(EVENT_ID, None) or "")
            if not event_id:
                raise ValueError(f"{_name(function)} is cached by event; give it an {EVENT_ID}")
            name = key(*args, **kwargs) if key else f"{_name(function)}_{call.arguments}"
            kept = await storage.get(event_id, name)
            if kept is not None and datetime.now(UTC) - datetime.fromisoformat(kept["at"]) < max_age:
                known: T = kept["value"]
                return known
            value = await function(*args, **kwargs)
            await storage.put(event_id, name, {"at": datetime.now(UTC).isoformat(), "value": value})
            return value

        return answer

    return decorate


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{uuid4().hex}")
    try:
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
