"""The ledgers joined into one `StateStore`."""

from pathlib import Path

from ionbeam.ports import Clock
from ionbeam.stores.sqlite.builds import SqliteBuildQueue
from ionbeam.stores.sqlite.database import Database
from ionbeam.stores.sqlite.ingestions import SqliteIngestionLedger
from ionbeam.stores.sqlite.log import SqliteEventLog
from ionbeam.stores.sqlite.registry import SqliteBookmarks, SqliteDatasetRegistry, SqliteQuarantineLedger
from ionbeam.stores.sqlite.windows import SqliteWindowLedger


class SqliteStateStore:
    """`ports.StateStore` in ``folder/state.sqlite``."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._database = Database(folder)
        self.log = SqliteEventLog(self._database, clock)
        self.ingestions = SqliteIngestionLedger(self._database, clock)
        self.windows = SqliteWindowLedger(self._database)
        self.builds = SqliteBuildQueue(self._database, clock)
        self.datasets = SqliteDatasetRegistry(self._database, clock)
        self.quarantine = SqliteQuarantineLedger(self._database)
        self.bookmarks = SqliteBookmarks(self._database)

    async def close(self) -> None:
        """Close the file; what this process still holds becomes free."""
        await self._database.close()
