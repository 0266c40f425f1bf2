"""What every `BatchStore` must do, as tests to inherit.

    class TestMyStore(BatchStoreContract):
        @pytest.fixture
        def store(self): return MyStore(...)

The store a test gets is empty. The tests are coroutines: run pytest-asyncio in auto mode.
"""

# ruff: noqa: D102 - a contract's clauses are told by their names

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ionbeam.errors import InvalidInput, ObjectExists, ObjectMissing
from ionbeam.ports import BatchStore, ObjectEntry

MIB = 1 << 20

REFUSED_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\0b",
    "a\nb",
    "a\ud800b",
    "a/" + "x" * 256,
    "a/" + "ü" * 128,
    "/".join(["x" * 100] * 11),
]
ODD_KEYS = [
    "odd/ü/日本.parquet",
    "odd/with space, comma",
    "odd/a%002Ab%",
    "odd/*?[x]",
    "odd/hour=01/x_PT1H",
    "odd/.hidden/.file",
    "odd/~",
    "odd/a#1",
    "odd/C:",
    'odd/back\\slash"quote',
]


class BatchStoreContract:
    """Inherit, and give a ``store`` fixture."""

    async def test_what_was_put_is_read_back(self, store: BatchStore) -> None:
        await store.put("a/b.bin", b"abc")
        assert _content(store, "a/b.bin") == b"abc"

    async def test_an_empty_object_is_an_object(self, store: BatchStore) -> None:
        await store.put("a/empty", b"")
        assert _content(store, "a/empty") == b""
        assert await _listed(store, "a/") == [ObjectEntry("a/empty", 0)]

    async def test_an_opened_object_can_be_sought_in(self, store: BatchStore) -> None:
        await store.put("a/b", b"0123456789")
        with store.open("a/b") as file:
            file.seek(-3, 2)
            assert file.read() == b"789"
            file.seek(2)
            assert file.read(2) == b"23"

    async def test_a_second_put_is_refused_and_changes_nothing(self, store: BatchStore) -> None:
        await store.put("a/b", b"first")
        with pytest.raises(ObjectExists, match="a/b"):
            await store.put("a/b", b"second")
        assert _content(store, "a/b") == b"first"

    async def test_overwriting_replaces_or_creates(self, store: BatchStore) -> None:
        await store.put("a/b", b"a longer first", overwrite=True)
        await store.put("a/b", b"second", overwrite=True)
        assert await _listed(store, "a/") == [ObjectEntry("a/b", 6)]
        assert _content(store, "a/b") == b"second"

    async def test_of_16_racing_puts_one_wins(self, store: BatchStore) -> None:
        for number in range(10):
            key = f"race/{number}/object"
            bodies = [bytes([i]) * 5000 for i in range(16)]
            answers = await asyncio.gather(*(store.put(key, b) for b in bodies), return_exceptions=True)
            winners = [body for body, answer in zip(bodies, answers, strict=True) if answer is None]
            assert len(winners) == 1
            assert sum(isinstance(answer, ObjectExists) for answer in answers) == 15
            assert _content(store, key) == winners[0]

    async def test_racing_overwrites_leave_one_of_them_whole(self, store: BatchStore) -> None:
        bodies = [bytes([i]) * 5000 for i in range(16)]
        await asyncio.gather(*(store.put("a/b", body, overwrite=True) for body in bodies))
        assert _content(store, "a/b") in bodies
        assert await _keys(store, "a/") == ["a/b"]

    async def test_a_put_file_is_copied_and_left_alone(self, store: BatchStore, tmp_path: Path) -> None:
        file = tmp_path / "payload"
        file.write_bytes(b"from a file")
        await store.put("a/b", file)
        with file.open("ab") as handle:
            handle.write(b", changed afterwards")
        assert _content(store, "a/b") == b"from a file"

    async def test_a_file_replaces_only_when_told_to(self, store: BatchStore, tmp_path: Path) -> None:
        file = tmp_path / "payload"
        file.write_bytes(b"from a file")
        await store.put("a/b", b"first")
        with pytest.raises(ObjectExists):
            await store.put("a/b", file)
        assert _content(store, "a/b") == b"first"
        await store.put("a/b", file, overwrite=True)
        assert _content(store, "a/b") == b"from a file"

    async def test_a_big_file_is_put_in_bounded_memory(self, store: BatchStore, tmp_path: Path) -> None:
        file = tmp_path / "big"
        with file.open("wb") as handle:
            handle.truncate(192 * MIB)
        before = _restart_peak_memory()
        await store.put("a/big", file)
        assert _peak_memory() - before < 96 * MIB
        assert await _listed(store, "a/") == [ObjectEntry("a/big", 192 * MIB)]

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_a_put_that_fails_leaves_nothing(
        self, store: BatchStore, tmp_path: Path, overwrite: bool
    ) -> None:
        with pytest.raises(FileNotFoundError):
            await store.put("a/b", tmp_path / "absent", overwrite=overwrite)
        assert await _keys(store, "a/") == []
        with pytest.raises(ObjectMissing):
            store.open("a/b")

    async def test_what_is_not_there_is_missing(self, store: BatchStore) -> None:
        with pytest.raises(ObjectMissing, match="a/b"):
            store.open("a/b")

    async def test_a_prefix_is_no_object(self, store: BatchStore) -> None:
        await store.put("a/b/c", b"x")
        with pytest.raises(ObjectMissing):
            store.open("a/b")
        with pytest.raises(ObjectMissing):
            await store.copy("a/b", "d")
        await store.delete(["a/b"])
        assert await _keys(store, "a/") == ["a/b/c"]

    @pytest.mark.parametrize("key", REFUSED_KEYS, ids=ascii)
    async def test_a_key_that_could_be_read_as_another_is_refused(self, store: BatchStore, key: str) -> None:
        await store.put("sane", b"x")
        attempts: list[Callable[[], Awaitable[None]]] = [
            lambda: store.put(key, b"x"),
            lambda: store.put(key, b"x", overwrite=True),
            lambda: store.copy("sane", key),
            lambda: store.copy(key, "sane"),
            lambda: store.delete([key]),
        ]
        for attempt in attempts:
            with pytest.raises(InvalidInput):
                await attempt()
        with pytest.raises(InvalidInput):
            store.open(key)
        assert _content(store, "sane") == b"x"

    @pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
    async def test_an_odd_key_comes_back_as_it_is(self, store: BatchStore, key: str) -> None:
        await store.put(key, b"x")
        assert await _keys(store, "odd/") == [key]
        assert _content(store, key) == b"x"
        await store.copy(key, "elsewhere")
        await store.delete([key])
        assert await _keys(store, "odd/") == []
        assert _content(store, "elsewhere") == b"x"

    async def test_a_listing_ends_at_its_prefix(self, store: BatchStore) -> None:
        for key in ("a/x", "a/y/z", "ab/x", "a.x", "b/a/x"):
            await store.put(key, b"x")
        assert await _keys(store, "a/") == ["a/x", "a/y/z"]
        assert await _keys(store, "a/y/") == ["a/y/z"]

    async def test_a_listing_is_sorted_by_key_and_tells_sizes(self, store: BatchStore) -> None:
        keys = ["l/b/1", "l/b.x", "l/a", "l/ü", "l/Z", "l/10", "l/9", "l/b/0"]
        for size, key in enumerate(keys):
            await store.put(key, b"x" * size)
        sizes = {key: size for size, key in enumerate(keys)}
        assert await _listed(store, "l/") == [ObjectEntry(key, sizes[key]) for key in sorted(keys)]

    async def test_a_listing_of_nothing_is_empty(self, store: BatchStore) -> None:
        await store.put("a", b"x")
        assert await _keys(store, "nothing/") == []
        assert await _keys(store, "a/") == []

    @pytest.mark.parametrize("prefix", ["", "a", "/", "../", "a//"])
    async def test_a_prefix_without_its_slash_is_refused(self, store: BatchStore, prefix: str) -> None:
        with pytest.raises(InvalidInput):
            await _keys(store, prefix)

    async def test_a_copy_replaces_its_target(self, store: BatchStore) -> None:
        await store.put("a/1", b"one")
        await store.put("a/2", b"two, longer")
        await store.copy("a/1", "a/current")
        await store.copy("a/2", "a/current")
        assert _content(store, "a/current") == b"two, longer"
        await store.copy("a/1", "a/current")
        assert _content(store, "a/current") == b"one"
        assert await _keys(store, "a/") == ["a/1", "a/2", "a/current"]

    async def test_a_copy_made_again_changes_nothing(self, store: BatchStore) -> None:
        await store.put("a/1", b"one")
        for target in ("a/2", "a/2", "a/1"):
            await store.copy("a/1", target)
        assert await _listed(store, "a/") == [ObjectEntry("a/1", 3), ObjectEntry("a/2", 3)]
        assert _content(store, "a/1") == _content(store, "a/2") == b"one"

    async def test_a_copy_outlives_its_source(self, store: BatchStore) -> None:
        await store.put("a/1", b"one")
        await store.copy("a/1", "a/2")
        await store.put("a/1", b"changed", overwrite=True)
        assert _content(store, "a/2") == b"one"
        await store.delete(["a/1"])
        assert _content(store, "a/2") == b"one"

    async def test_a_copy_of_nothing_leaves_its_target(self, store: BatchStore) -> None:
        await store.put("a/2", b"two")
        with pytest.raises(ObjectMissing, match="a/1"):
            await store.copy("a/1", "a/2")
        assert await _listed(store, "a/") == [ObjectEntry("a/2", 3)]

    @pytest.mark.parametrize("way", ["copy", "put"])
    async def test_readers_see_the_old_or_the_new_object(self, store: BatchStore, way: str) -> None:
        bodies = [b"o" * 100_000, b"n" * 150_000]
        for number, body in enumerate(bodies):
            await store.put(f"a/{number}", body)
        await store.copy("a/0", "a/current")
        finished, seen = threading.Event(), set[bytes]()

        def read() -> None:
            while not finished.is_set():
                seen.add(_content(store, "a/current"))

        readers = [asyncio.create_task(asyncio.to_thread(read)) for _ in range(2)]
        try:
            for turn in range(5000):
                if turn >= 60 and len(seen) >= 2:
                    break
                if way == "copy":
                    await store.copy(f"a/{turn % 2}", "a/current")
                else:
                    await store.put("a/current", bodies[turn % 2], overwrite=True)
        finally:
            finished.set()
            await asyncio.gather(*readers)
        assert seen == set(bodies)

    async def test_an_open_file_stays_what_it_was(self, store: BatchStore) -> None:
        await store.put("a/b", b"x" * 100_000)
        with store.open("a/b") as file:
            assert file.read(1) == b"x"
            await store.put("a/b", b"y" * 100_000, overwrite=True)
            assert set(file.read()) == set(b"x")

    async def test_what_was_deleted_is_gone_and_can_be_put_again(self, store: BatchStore) -> None:
        for key in ("a/1", "a/2", "a/3"):
            await store.put(key, b"first")
        await store.delete(["a/1", "a/3"])
        assert await _keys(store, "a/") == ["a/2"]
        await store.put("a/1", b"again")
        assert _content(store, "a/1") == b"again"

    async def test_deleting_what_is_absent_is_no_error(self, store: BatchStore) -> None:
        await store.put("a/1", b"x")
        await store.delete(["none/of/this", "a/1", "a/1", "a/1/deeper"])
        assert await _keys(store, "a/") == []
        await store.delete([])


def _content(store: BatchStore, key: str) -> bytes:
    with store.open(key) as file:
        return bytes(file.read())


async def _listed(store: BatchStore, prefix: str) -> list[ObjectEntry]:
    return [entry async for entry in store.list(prefix)]


async def _keys(store: BatchStore, prefix: str) -> list[str]:
    return [entry.key for entry in await _listed(store, prefix)]


def _restart_peak_memory() -> int:
    """Forget this process's peak memory; its memory now in bytes. Source: Linux proc(5)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("peak memory cannot be restarted on this system")
    return _peak_memory()


def _peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
