import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ionbeam.errors import Busy, StoreUnavailable
from ionbeam.ports import StateStore
from ionbeam.stores.sqlite import SqliteStateStore
from ionbeam.stores.sqlite.database import Database
from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.state_store_contract import StateStoreContract
from ionbeam.testing.state_store_contract.examples import NOW, a_command, claimed, ingestion, queued


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
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[SqliteStateStore]:
        store = SqliteStateStore(tmp_path, clock)
        yield store
        await store.close()

    @pytest.fixture
    async def other(
        self, store: SqliteStateStore, tmp_path: Path, clock: VirtualClock
    ) -> AsyncIterator[SqliteStateStore]:
        other = SqliteStateStore(tmp_path, clock)
        yield other
        await other.close()


def test_it_is_a_state_store(store: SqliteStateStore):
    port: StateStore = store
    assert port is store
