import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ionbeam.errors import InvalidInput, ObjectExists, StoreUnavailable
from ionbeam.ports import BatchStore
from ionbeam.stores.local import STAGING, LocalBatchStore, check_key
from ionbeam.testing.batch_store_contract import BatchStoreContract


@pytest.fixture
def store(tmp_path: Path) -> LocalBatchStore:
    return LocalBatchStore(tmp_path / "objects")


class TestLocalBatchStore(BatchStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalBatchStore:
        return LocalBatchStore(tmp_path / "objects")


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_it_is_a_batch_store(store: LocalBatchStore):
    port: BatchStore = store
    assert port is store


async def test_an_object_is_the_file_its_key_names(store: LocalBatchStore, tmp_path: Path):
    await store.put("raw/ü/x%002A.parquet", b"x")
    assert (tmp_path / "objects/raw/ü/x%002A.parquet").read_bytes() == b"x"


async def test_the_root_may_be_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = LocalBatchStore(Path("here"))
    monkeypatch.chdir("/")
    await store.put("a", b"x")
    assert files_in(tmp_path / "here") == ["a"]


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=12))
@example("C:")
@example("%2e%2e")
def test_every_key_that_is_not_refused_works(tmp_path_factory: pytest.TempPathFactory, name: str):
    key = f"k/{name}"
    try:
        check_key(key)
    except InvalidInput:
        return

    async def round_trip() -> None:
        store = LocalBatchStore(tmp_path_factory.mktemp("objects"))
        await store.put(key, b"x")
        assert [entry.key async for entry in store.list("k/")] == [key]
        with store.open(key) as file:
            assert file.read() == b"x"

    asyncio.run(round_trip())


async def test_the_staging_folder_is_not_for_objects(store: LocalBatchStore):
    with pytest.raises(InvalidInput):
        await store.put(f"{STAGING}/x", b"x")
    with pytest.raises(InvalidInput):
        [entry async for entry in store.list(f"{STAGING}/")]


async def test_a_put_that_fails_while_writing_leaves_no_file(
    store: LocalBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match=r"raw/x: .*No space left"):
        await store.put("raw/x", b"x")
    assert files_in(tmp_path) == []


async def test_a_put_that_is_interrupted_leaves_no_file(
    store: LocalBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class KilledHere(BaseException):
        pass

    def die(_: int) -> None:
        raise KilledHere

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KilledHere):
        await store.put("raw/x", b"x", overwrite=True)
    assert files_in(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to name what is flushed")
async def test_a_put_flushes_the_file_before_its_name_and_the_name_before_it_returns(
    store: LocalBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flushed = []
    real = os.fsync

    def note(descriptor: int) -> None:
        visible = (tmp_path / "objects/a/b/x").exists()
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, visible))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    await store.put("a/b/x", b"x")
    assert [(name if visible else "staged", visible) for name, visible in flushed] == [
        ("staged", False),
        ("b", True),
        ("a", True),
        ("objects", True),
    ]
    flushed.clear()
    with pytest.raises(ObjectExists):
        await store.put("a/b/x", b"y")
    assert ("b", True) in flushed, "the object somebody else put is not durable yet"
    flushed.clear()
    await store.delete(["a/b/x"])
    assert flushed == [("b", False)]


async def test_a_folder_that_cannot_be_written_is_an_unavailable_store(
    store: LocalBatchStore, tmp_path: Path
):
    (tmp_path / "objects/raw").write_bytes(b"a file where a folder must be")
    with pytest.raises(StoreUnavailable, match="raw/x"):
        await store.put("raw/x", b"x")
    assert files_in(tmp_path / "objects") == ["raw"]


async def test_a_root_that_vanished_is_an_unavailable_store(store: LocalBatchStore, tmp_path: Path):
    shutil.rmtree(tmp_path / "objects")
    with pytest.raises(StoreUnavailable, match="raw/x"):
        await store.put("raw/x", b"x")


def test_a_root_that_cannot_be_made_is_an_unavailable_store(tmp_path: Path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="taken"):
        LocalBatchStore(tmp_path / "taken")


async def test_nothing_staged_is_left_behind(store: LocalBatchStore, tmp_path: Path):
    await store.put("a", b"x")
    with pytest.raises(ObjectExists):
        await store.put("a", b"y")
    await store.copy("a", "b")
    await store.copy("a", "b")
    await store.copy("a", "a")
    assert files_in(tmp_path / "objects") == ["a", "b"]


async def test_leftovers_are_swept_once_they_are_an_hour_old(
    store: LocalBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "objects"
    await store.put("a", b"x")
    leftover = root / STAGING / "leftover"
    leftover.write_bytes(b"half of some")
    os.utime(leftover, (0, 0))
    LocalBatchStore(root)
    assert leftover.exists(), "it may be a link another process made just now to an old object"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3590)
    LocalBatchStore(root)
    assert leftover.exists()
    monkeypatch.setattr(time, "time", lambda: now + 3610)
    LocalBatchStore(root)
    assert files_in(root) == ["a"]


async def test_a_listing_goes_on_while_objects_come_and_go(store: LocalBatchStore):
    for number in range(100):
        await store.put(f"stay/{number:03}", b"x")
    expected = [f"stay/{number:03}" for number in range(100)]
    stop = asyncio.Event()

    async def churn() -> None:
        while not stop.is_set():
            await asyncio.gather(*(store.put(f"stay/churn/{n}", b"x") for n in range(8)))
            await store.delete([f"stay/churn/{n}" for n in range(8)])

    churning = asyncio.create_task(churn())
    for _ in range(200):
        keys = [entry.key async for entry in store.list("stay/")]
        assert [key for key in keys if "churn" not in key] == expected
    stop.set()
    await churning


WRITER = """
import asyncio, sys
from pathlib import Path
from ionbeam.stores.local import LocalBatchStore

async def main():
    store = LocalBatchStore(Path(sys.argv[1]))
    number = 0
    while True:
        body = bytes([number % 256]) * 3_000_000
        await store.put(f"new/{number}", body)
        await store.put("replaced/object", body, overwrite=True)
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


def promised_until_killed(root: Path, extra_s: float) -> list[int]:
    """Numbers a writer reported as put before it was killed, ``extra_s`` after the third."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        promised = [int(writer.stdout.readline()) for _ in range(3)]
        time.sleep(extra_s)  # nothing is waited for: the moment of death is what varies
        writer.send_signal(signal.SIGKILL)
        return promised + [int(line) for line in writer.communicate()[0].split()]


@pytest.mark.parametrize("extra_s", [0.0, 0.003, 0.007])
async def test_a_killed_writer_leaves_whole_objects_only(tmp_path: Path, extra_s: float):
    promised = promised_until_killed(tmp_path, extra_s)
    store = LocalBatchStore(tmp_path)
    entries = [entry async for entry in store.list("new/")]
    assert {f"new/{number}" for number in promised} <= {entry.key for entry in entries}
    assert {entry.size for entry in entries} == {3_000_000}
    with store.open("replaced/object") as file:
        assert len(set(file.read())) == 1
