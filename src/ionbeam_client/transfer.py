"""Streams of Arrow batches in and out of the store both sides share.

An object is one Parquet file; its key may be given with or without ``.parquet``.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ionbeam.errors import ObjectMissing, StoreUnavailable
from ionbeam.ingestion.payload import Batches, write_parquet
from ionbeam.ports import BatchStore
from ionbeam.stores.local import LocalBatchStore

SUFFIX = ".parquet"
BATCH_ROWS = 65_536

Opener = Callable[[str], AbstractContextManager[IO[bytes] | pa.NativeFile]]


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
        async with aclosing(_batches(self._objects.open, object_key(key), batch_size)) as batches:
            async for batch in batches:
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


async def read_dataset(
    objects: BatchStore, location: str, batch_size: int | None = None
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The batches of a dataset file the platform announced; errors as those of `ArrowStore`.

    A platform that keeps its dataset files outside the object store announces absolute paths.
    """
    opener = _open_file if Path(location).is_absolute() else objects.open
    async with aclosing(_batches(opener, object_key(location), batch_size)) as batches:
        async for batch in batches:
            yield batch


def object_key(key: str) -> str:
    """The full key; whether it is one, the store checks."""
    return key if key.endswith(SUFFIX) else key + SUFFIX


async def _batches(
    opener: Opener, location: str, batch_size: int | None
) -> AsyncGenerator[pa.RecordBatch, None]:
    with ExitStack() as stack:
        file = stack.enter_context(await asyncio.to_thread(opener, location))
        parquet = await asyncio.to_thread(pq.ParquetFile, file)
        batches = parquet.iter_batches(batch_size or BATCH_ROWS)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            yield batch


def _open_file(path: str) -> AbstractContextManager[pa.NativeFile]:
    try:
        file: AbstractContextManager[pa.NativeFile] = pa.OSFile(path)
    except FileNotFoundError as error:
        raise ObjectMissing(f"there is no dataset file {path}; is its folder mounted here?") from error
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error}") from error
    return file
