import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionbeam_client.cache import FileStorage, MemoryStorage, StorageBackend, cached, sanitised

EVENT = UUID(int=7)


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    return FileStorage(tmp_path / ".cache") if request.param == "files" else MemoryStorage()


class Feed:
    """Counts how often it is really asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, station: str, *, event_id: UUID | str | None = None) -> dict[str, str]:
        self.asked.append(station)
        return {"station": station}


class TestAStorage:
    async def test_it_keeps_documents_by_event_and_key(self, storage: StorageBackend) -> None:
        await storage.put("e", "k", {"a": [1, None, "ü"]})
        await storage.put("e", "other", 2)
        assert await storage.get("e", "k") == {"a": [1, None, "ü"]}
        assert await storage.get("f", "k") is None
        assert await storage.get("e", "absent") is None

    async def test_a_document_takes_the_place_of_the_one_before(self, storage: StorageBackend) -> None:
        await storage.put("e", "k", 1)
        await storage.put("e", "k", 2)
        assert await storage.get("e", "k") == 2

    async def test_what_is_no_json_is_refused_and_changes_nothing(self, storage: StorageBackend) -> None:
        await storage.put("e", "k", 1)
        with pytest.raises(TypeError):
            await storage.put("e", "k", object())
        assert await storage.get("e", "k") == 1


async def test_a_file_lies_under_its_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await FileStorage().put(str(EVENT), "stations", [1])
    assert json.loads(Path(f".cache/{EVENT}/stations.json").read_text()) == [1]
    assert [path.name for path in Path(f".cache/{EVENT}").iterdir()] == ["stations.json"]


async def test_no_event_and_no_key_leads_out_of_the_folder(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "cache")
    for name in ("..", "../up", "/etc/passwd", ".", ""):
        await storage.put(name, name, name)
    for name in ("..", "../up", "/etc/passwd", ".", ""):
        assert await storage.get(name, name) == name
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@given(st.text(), st.text())
def test_different_keys_have_different_file_names(one: str, other: str) -> None:
    assert (sanitised(one) == sanitised(other)) == (one == other)


@pytest.mark.parametrize("key", ["x" * 201, "a b", "x" * 200 + "/", "ü" * 300, "..", ""])
def test_a_key_becomes_a_file_name_of_at_most_200_characters(key: str) -> None:
    name = sanitised(key)
    assert 0 < len(name) <= 200
    assert name.isascii()
    assert not name.startswith(".")
    assert "/" not in name


def test_a_key_that_is_a_file_name_stays_as_it_is() -> None:
    assert sanitised("stations_2024-01-01.v2") == "stations_2024-01-01.v2"
    assert sanitised("x" * 200) == "x" * 200


class TestACachedFunction:
    async def test_it_is_asked_once_for_an_event_and_arguments(self, storage: StorageBackend) -> None:
        feed = Feed()
        fetch = cached(storage)(feed)
        for _ in range(2):
            assert await fetch("a", event_id=EVENT) == {"station": "a"}
            assert await fetch("b", event_id=EVENT) == {"station": "b"}
        assert await fetch(station="a", event_id=str(EVENT)) == {"station": "a"}
        assert feed.asked == ["a", "b"]
        await fetch("a", event_id=UUID(int=8))
        assert feed.asked == ["a", "b", "a"]

    async def test_an_empty_answer_is_an_answer(self, storage: StorageBackend) -> None:
        asked = []

        @cached(storage)
        async def nothing(event_id: str) -> None:
            asked.append(event_id)

        assert [await nothing("e"), await nothing("e")] == [None, None]
        assert asked == ["e"]

    async def test_the_key_may_be_made_from_the_arguments(self, storage: StorageBackend) -> None:
        feed = Feed()
        fetch = cached(storage, key=lambda station, event_id: f"station-{station.lower()}")(feed)
        await fetch("A", event_id="e")
        await fetch("a", event_id="e")
        assert feed.asked == ["A"]
        assert (await storage.get("e", "station-a"))["value"] == {"station": "A"}

    @pytest.mark.parametrize(
        "call", [lambda f: f("a"), lambda f: f("a", event_id=None), lambda f: f("a", event_id="")]
    )
    async def test_it_cannot_be_called_without_an_event(
        self, storage: StorageBackend, call: Callable[[object], object]
    ) -> None:
        feed = Feed()
        with pytest.raises(ValueError, match="give it an event_id"):
            await call(cached(storage)(feed))
        assert feed.asked == []

    def test_it_has_a_parameter_for_the_event(self, storage: StorageBackend) -> None:
        async def fetch(station: str) -> str:
            return station

        with pytest.raises(ValueError, match=r"needs a parameter event_id; .*fetch has none"):
            cached(storage)(fetch)

    async def test_a_failure_is_not_kept(self, storage: StorageBackend) -> None:
        outcomes = [1, OSError("away")]

        @cached(storage)
        async def fetch(event_id: str) -> int:
            if isinstance(outcome := outcomes.pop(), OSError):
                raise outcome
            return outcome

        with pytest.raises(OSError, match="away"):
            await fetch("e")
        assert [await fetch("e"), await fetch("e")] == [1, 1]

    @pytest.mark.parametrize(("age", "asked"), [(timedelta(days=6), []), (timedelta(days=7), ["a"])])
    async def test_what_is_older_than_a_week_is_asked_for_again(
        self, storage: StorageBackend, age: timedelta, asked: list[str]
    ) -> None:
        feed = Feed()
        fetch = cached(storage, key=lambda station, event_id: station)(feed)
        kept = {"at": (datetime.now(UTC) - age).isoformat(), "value": {"station": "a"}}
        await storage.put("e", "a", kept)
        await fetch("a", event_id="e")
        assert feed.asked == asked
