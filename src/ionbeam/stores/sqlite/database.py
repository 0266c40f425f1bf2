"""One connection on one thread, and the owners of work in hand."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from ionbeam.errors import StoreUnavailable

T = TypeVar("T")

BUSY_TIMEOUT_S = 60.0


class Database:
    """Runs functions over one SQLite connection, each in a transaction of its own.

    ``folder`` holds ``state.sqlite`` and ``owners/``. A commit is on disk when `write` returns.
    `StoreUnavailable` when the folder cannot be written or the file cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.sqlite"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._owners = folder / "owners"
        self.owner = uuid4().hex
        try:
            self._owners.mkdir(parents=True, exist_ok=True)
            self._lock = self._hold(self.owner)
            self._sweep_owners()
        except OSError as error:
            raise StoreUnavailable(f"the state in {folder} cannot be written: {error.strerror}") from error
        self._connection = self._thread.submit(self._connect).result()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(files(__package__).joinpath("schema.sql").read_text())
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnavailable(f"the state in {self._path} cannot be used: {error}") from error
        return connection

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction that takes the write lock at once."""
        return await self._run("BEGIN IMMEDIATE", work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` over one consistent snapshot."""
        return await self._run("BEGIN", work)

    async def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            connection = self._connection
            try:
                connection.execute(begin)
                try:
                    result = work(connection)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise StoreUnavailable(f"the state in {self._path} cannot be used: {error}") from error
            return result

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    def _hold(self, owner: str) -> int:
        path = self._owners / owner
        while True:
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Between the two calls another process may have swept the file as a dead one's.
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
            os.close(handle)

    def _sweep_owners(self) -> None:
        for path in self._owners.iterdir():
            self.is_alive(path.name)

    def is_alive(self, owner: str) -> bool:
        """Whether the process behind ``owner`` still runs: it holds a lock that ends with it."""
        if owner == self.owner:
            return True
        path = self._owners / owner
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(handle)

    async def close(self) -> None:
        """Close the file; what this owner still holds becomes free."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()
        (self._owners / self.owner).unlink(missing_ok=True)
        os.close(self._lock)
