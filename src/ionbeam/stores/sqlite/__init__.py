"""State in one SQLite file (WAL, every commit synced): the embedded `StateStore`.

Several processes may open it. Work in hand belongs to an owner whose file lock the kernel releases
when its process dies, so nothing waits for a lease to run out after a crash.
"""

from ionbeam.stores.sqlite.state import SqliteStateStore

__all__ = ["SqliteStateStore"]
