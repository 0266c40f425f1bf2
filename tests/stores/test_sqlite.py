import asyncio
import errno
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from ionbeam.aggregation.coordinator import Coordinator
from ionbeam.aggregation.readiness import ReadinessPolicy
from ionbeam.errors import Busy, StoreUnavailable
from ionbeam.ports import StateStore
from ionbeam.records import BuildOrder
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.stores.sqlite.database import Database
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.state_store_contract import StateStoreContract
from ionbeam.testing.state_store_contract.examples import (
    NOW,
    a_command,
    built,
    claimed,
    ingestion,
    queued,
    settled,
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
async def store(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[SqliteStateStore]:
    store = SqliteStateStore(tmp_path, clock)
    yield store
    await store.close()


@pytest.fixture
async def other(
    store: SqliteStateStore, tmp_path: Path, clock: VirtualClock
) -> AsyncIterator[SqliteStateStore]:
    other = SqliteStateStore(tmp_path, clock)
    yield other
    await other.close()


class TestSqliteStateStore(StateStoreContract):
    """The suite, with the fixtures above."""


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("ionbeam.stores.sqlite.database.os.open", refuse)
    with pytest.raises(StoreUnavailable, match=f"{tmp_path} cannot be written: Read-only file system"):
        Database(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file/state cannot be written: Not a directory"):
        Database(tmp_path / "file" / "state")


def test_it_is_a_state_store(store: SqliteStateStore):
    port: StateStore = store
    assert port is store


CLAIM = """
import asyncio, os, sys
from pathlib import Path
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.state_store_contract.examples import NOW, ingestion

async def main():
    store = SqliteStateStore(Path(sys.argv[1]), VirtualClock(NOW))
    claim = await store.ingestions.claim(ingestion(9))
    order = await store.builds.claim(NOW)
    print(claim.token, order.token, flush=True)
    sys.stdin.readline()
    os._exit(9)

asyncio.run(main())
"""


async def test_the_work_of_a_killed_process_is_free_at_once(store: SqliteStateStore, tmp_path: Path):
    await queued(store)
    await store.ingestions.accept(a_command(9), 60)
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", CLAIM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        tokens = [int(token) for token in (await asyncio.to_thread(process.stdout.readline)).split()]
        with pytest.raises(Busy):
            await store.ingestions.claim(ingestion(9))
        assert await store.builds.claim(NOW) is None
        process.communicate("die\n")
    assert process.returncode == 9

    claim = await store.ingestions.claim(ingestion(9))
    assert claim is not None
    order = await claimed(store)
    assert [claim.token, order.token] == [token + 1 for token in tokens]
    assert order.attempt == 2


async def test_what_a_closed_store_held_is_free(store: SqliteStateStore, tmp_path: Path, clock: VirtualClock):
    await queued(store)
    await store.ingestions.accept(a_command(9), 60)
    gone = SqliteStateStore(tmp_path, clock)
    await gone.ingestions.claim(ingestion(9))
    await claimed(gone)
    await gone.close()
    assert await store.ingestions.claim(ingestion(9)) is not None
    assert await store.builds.claim(NOW) is not None


async def test_everything_is_there_after_opening_again(tmp_path: Path, clock: VirtualClock):
    store = SqliteStateStore(tmp_path, clock)
    await queued(store)
    await built(store)
    before = (await store.windows.windows(), await store.ingestions.books(), await store.log.open_entries())
    await store.close()
    store = SqliteStateStore(tmp_path, clock)
    after = (await store.windows.windows(), await store.ingestions.books(), await store.log.open_entries())
    await store.close()
    assert after == before


async def test_a_store_leaves_no_owner_behind(tmp_path: Path, clock: VirtualClock):
    store = SqliteStateStore(tmp_path, clock)
    assert len(list((tmp_path / "owners").iterdir())) == 1
    await store.close()
    assert list((tmp_path / "owners").iterdir()) == []


async def test_every_commit_is_synced_to_the_write_ahead_log(tmp_path: Path):
    database = Database(tmp_path)
    mode = await database.read(lambda c: c.execute("PRAGMA journal_mode").fetchone()[0])
    synchronous = await database.read(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])
    await database.close()
    assert (mode, synchronous) == ("wal", 2)


async def test_a_step_that_fails_leaves_nothing(tmp_path: Path):
    database = Database(tmp_path)

    def half(c: sqlite3.Connection) -> None:
        c.execute("INSERT INTO bookmarks VALUES ('a', '1')")
        raise KeyError("half way")

    with pytest.raises(KeyError):
        await database.write(half)
    assert await database.read(lambda c: c.execute("SELECT * FROM bookmarks").fetchall()) == []
    await database.close()


async def test_a_state_that_cannot_be_written_is_unavailable(tmp_path: Path):
    database = Database(tmp_path)
    await database.read(lambda c: c.execute("SELECT 1").fetchone())
    with pytest.raises(StoreUnavailable, match=re.escape(str(tmp_path))):
        await database.write(lambda c: c.execute("INSERT INTO nowhere VALUES (1)"))
    await database.write(lambda c: c.execute("INSERT INTO bookmarks VALUES ('a', '1')"))
    await database.close()


async def test_no_step_of_the_pipeline_scans_a_table(tmp_path: Path, clock: VirtualClock):
    """What an event costs must not grow with how much is remembered."""
    store = SqliteStateStore(tmp_path, clock)
    statements: list[str] = []
    await store._database.read(lambda c: c.set_trace_callback(statements.append))
    for number in (1, 2):
        event = await settled(store, a_command(number))
        coordinator = Coordinator(store, clock, ReadinessPolicy(), lambda: None)
        await coordinator.handle(event)
        await store.ingestions.chunks_before("story", NOW, 9)
        await store.ingestions.latest("story", event.span)
        [order] = await built(store)
        await store.builds.retire(order.key)
        await store.builds.fail(await _reclaimed(store, number), "x", NOW + timedelta(days=1))
    assert await store.builds.claim(NOW) is None
    await store.builds.next_due()
    await store.log.open_entries()
    await store._database.read(lambda c: c.set_trace_callback(None))

    def plans(c: sqlite3.Connection) -> list[str]:
        return [
            f"{row['detail']}: {statement}"
            for statement in statements
            if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH"))
            for row in c.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        ]

    found = await store._database.read(plans)
    await store.close()
    in_hand = r"(log|windows) USING (COVERING )?INDEX (log_open|windows_(free|due|held))"
    scans = [plan for plan in found if plan.startswith("SCAN ")]
    assert [plan for plan in scans if not re.match(f"SCAN ({in_hand}|lengths|json_each)", plan)] == []
    by_dataset_alone = [plan for plan in found if re.match(r"SEARCH .*\(dataset=\?\):", plan)]
    assert [plan for plan in by_dataset_alone if "MIN(" not in plan] == []
    assert sum("SEARCH windows" in plan for plan in found) > 5


async def _reclaimed(store: SqliteStateStore, number: int) -> BuildOrder:
    await queued(store, 100 + number, 12, 13)
    return await claimed(store)
