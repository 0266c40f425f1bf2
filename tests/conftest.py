"""How hypothesis runs, and a way to die at any moment."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("developer", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "developer")


class Killed(BaseException):
    """The process is no more: nothing it would still like to do happens."""


class Life:
    """Ends just before one of the calls made through what it holds."""

    Killed = Killed

    def __init__(self, last: int | None = None) -> None:
        self.calls: list[str] = []
        self._last = last

    def of(self, thing: Any) -> Any:
        """``thing``, whose coroutines count as calls."""
        return _Mortal(thing, self, type(thing).__name__)

    def call(self, name: str) -> None:
        """Count a call, unless it is one too many."""
        if self._last is not None and len(self.calls) >= self._last:
            raise Killed
        self.calls.append(name)


class _Mortal:
    def __init__(self, thing: Any, life: Life, name: str) -> None:
        self._thing, self._life, self._name = thing, life, name

    def __getattr__(self, name: str) -> Any:
        found, called = getattr(self._thing, name), f"{self._name}.{name}"
        if inspect.iscoroutinefunction(found):
            return self._mortal(found, called)
        return found if callable(found) else _Mortal(found, self._life, called)

    def _mortal(self, function: Callable[..., Any], called: str) -> Callable[..., Any]:
        @wraps(function)
        async def call(*args: Any, **options: Any) -> Any:
            self._life.call(called)
            return await function(*args, **options)

        return call


@pytest.fixture
def life() -> type[Life]:
    """`Life` itself: a test may need several."""
    return Life
