"""Streams of Arrow batches in and out of the store both sides share.

An object is one Parquet file; its key may be given with or without ``.parquet``.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ionbeam.errors import ObjectMissing
from ionbeam.ingestion.payload import Batches, write_parquet
from ionbeam.ports import BatchStore
from ionbeam.stores.local import LocalBatchStore

SUFFIX = ".parquet"
BATCH_ROWS = 65_536


class ArrowStore(Protocol):
    """Batches under keys."""

    async def write_record_batches(
        self, key: str, batch_stream: Batches, schema: pa.Schema | None = None, overwrite: bool = False
    ) -> int:
        """Store a stream whole or not at all; the number of rows. No rows store nothing.

        `ObjectExists` when the key is taken, unless ``overwrite``.
        """
        ...

    def read_record_batches(self, key: str, batch_size: int | None = None) -> AsyncIterator[pa.RecordBatch]:
        """The batches of an object, at most ``batch_size`` rows each; `ObjectMissing` when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        ...


class ObjectArrowStore:
    """An `ArrowStore` over any `ports.BatchStore`."""

    def __init__(self, objects: BatchStore) -> None:
        self._objects = objects

    async def write_record_batches(
        self, key: str, batch_stream: Batches, schema: pa.Schema | None = None, overwrite: bool = False
    ) -> int:
        """See `ArrowStore`."""
        location = object_key(key)
        with TemporaryDirectory(prefix="ionbeam-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "batches.parquet"
            rows = await write_parquet(path, batch_stream, schema)
            if rows:
                await self._objects.put(location, path, overwrite=overwrite)
        return rows

    async def read_record_batches(
        self, key: str, batch_size: int | None = None
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """See `ArrowStore`."""
        with ExitStack() as stack:
            file = await asyncio.to_thread(stack.enter_context, self._objects.open(object_key(key)))
            parquet = await asyncio.to_thread(pq.ParquetFile, file)
            batches = parquet.iter_batches(batch_size or BATCH_ROWS)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield batch

    async def delete(self, key: str) -> None:
        """See `ArrowStore`."""
        await self._objects.delete([object_key(key)])

    async def exists(self, key: str) -> bool:
        """See `ArrowStore`."""
        return await asyncio.to_thread(self._is_there, object_key(key))

    def _is_there(self, location: str) -> bool:
        try:
            with self._objects.open(location):
                return True
        except ObjectMissing:
            return False


class LocalFileSystemStore(ObjectArrowStore):
    """An `ArrowStore` in a folder; `InvalidInput` for keys that would lead out of it."""

    def __init__(self, base_path: Path | str) -> None:
        super().__init__(LocalBatchStore(Path(base_path)))


def object_key(key: str) -> str:
    """The full key; whether it is one, the store checks."""
    return key if key.endswith(SUFFIX) else key + SUFFIX
