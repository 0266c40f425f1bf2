"""A stream of batches becomes one raw Parquet payload, named by its content.

The payload has the columns its map declares, in that order: columns that did not come are null,
undeclared ones are left out. A column gets its declared type when every value of the whole stream
converts to it, and is text otherwise, so that ingestion can refuse single rows instead of the
payload. Because that is known only at the end, a long stream waits in temporary files; memory holds
about one row group. The same rows in batches of other sizes make the same bytes.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ionbeam.errors import ObjectExists, PayloadInvalid
from ionbeam.observations.naming import object_name
from ionbeam.observations.timespan import TimeSpan, format_stamp
from ionbeam.ports import BatchStore

ROW_GROUP = 131_072
"""Rows per row group. Payloads are named by their bytes, so changing it renames those of the same rows."""

Batches = AsyncIterable[pa.RecordBatch | pa.Table] | Iterable[pa.RecordBatch | pa.Table]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Payload:
    """A stored payload."""

    location: str
    """``raw/{dataset}/{start}Z-{end}Z_{digest, 16 digits}.parquet``."""
    rows: int
    digest: str
    """sha256 over the file, in hexadecimal."""


async def write_payload(
    store: BatchStore,
    dataset: str,
    span: TimeSpan,
    batches: Batches,
    schema: pa.Schema | None = None,
    *,
    scratch: Path | None = None,
) -> Payload:
    """Store ``batches`` as the payload of ``dataset`` for ``span``; long streams wait in ``scratch``.

    No rows make an empty payload: there honestly was nothing. Without a ``schema`` the columns and
    types that come are the declared ones. `PayloadInvalid` when a column is neither its type nor text,
    or a name comes twice.
    """
    with TemporaryDirectory(prefix="ionbeam-", dir=scratch, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "payload.parquet"
        rows = await write_parquet(path, batches, schema)
        digest = await asyncio.to_thread(_digest, path)
        location = (
            f"raw/{object_name(dataset)}/"
            f"{format_stamp(span.start)}Z-{format_stamp(span.end)}Z_{digest[:16]}.parquet"
        )
        with suppress(ObjectExists):  # named by content: what is there is this
            await store.put(location, path)
    return Payload(location, rows, digest)


async def write_parquet(path: Path, batches: Batches, schema: pa.Schema | None = None) -> int:
    """Write ``batches`` to a local Parquet file as `write_payload` does; the number of rows."""
    with TemporaryDirectory(prefix="ionbeam-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        spool = _Spool(Path(folder), schema)
        async for batch in each(batches):
            spool.add(batch)
            if spool.full:
                await asyncio.to_thread(spool.unload)
        return await asyncio.to_thread(spool.write, path)


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with the columns of ``schema`` in its order; text where a column does not convert."""
    columns = [
        _converted(table, name, kind, or_text=True)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(dict(zip(schema.names, columns, strict=True)))


class _Spool:
    """Rows as they came, kept until the type of every column is known."""

    def __init__(self, folder: Path, declared: pa.Schema | None) -> None:
        self._folder = folder
        self._declared = declared
        self._types: dict[str, pa.DataType] = {}
        if declared is not None:
            self._types = dict(zip(declared.names, declared.types, strict=True))
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._files: list[Path] = []

    @property
    def full(self) -> bool:
        """Whether the rows in memory fill a row group."""
        return self._held_rows >= ROW_GROUP

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Hold a batch."""
        if not isinstance(batch, (pa.RecordBatch, pa.Table)):
            raise TypeError(
                f"a payload is made of Arrow record batches or tables, not {type(batch).__name__}"
            )
        self._held += batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        self._held_rows += batch.num_rows

    def unload(self) -> None:
        """Move what is held to files."""
        for table in self._take():
            file = self._folder / f"{len(self._files)}.arrow"
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            self._files.append(file)

    def write(self, path: Path) -> int:
        """Write everything to one Parquet file; the number of rows."""
        last = list(self._take())
        schema = pa.schema(list(self._types.items()))
        rows = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            tables = (_fitted(table, schema) for part in (self._unloaded(), last) for table in part)
            for group in _regrouped(tables, ROW_GROUP):
                writer.write_table(group, row_group_size=ROW_GROUP)
                rows += group.num_rows
        return rows

    def _take(self) -> Iterator[pa.Table]:
        """What is held, batches of one schema together, after learning their types."""
        held, self._held, self._held_rows = self._held, [], 0
        for schema, run in groupby(held, key=lambda batch: batch.schema):
            table = pa.Table.from_batches(list(run), schema)
            self._learn(table)
            yield table

    def _learn(self, table: pa.Table) -> None:
        """Widen to text the columns that do not convert."""
        if self._declared is None:
            for field in table.schema:
                if pa.types.is_null(self._types.get(field.name, pa.null())):
                    self._types[field.name] = _plain(field.type)
        for name, kind in self._types.items():
            self._types[name] = _converted(table, name, kind, or_text=True).type

    def _unloaded(self) -> Iterator[pa.Table]:
        for file in self._files:
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
                yield reader.read_all()


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [_converted(table, field.name, field.type, or_text=False) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _converted(table: pa.Table, name: str, kind: pa.DataType, *, or_text: bool) -> pa.ChunkedArray:
    """A column of ``table`` as ``kind``; nulls when it is absent, text when it does not convert."""
    present = table.schema.get_all_field_indices(name)
    if not present:
        return pa.chunked_array([pa.nulls(table.num_rows, kind)])
    if len(present) > 1:
        raise PayloadInvalid(f"the column {name!r} comes {len(present)} times")
    column = table.column(present[0])
    try:
        return _cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if or_text and kind != pa.string():
            return _converted(table, name, pa.string(), or_text=False)
        raise PayloadInvalid(
            f"the column {name!r} holds {column.type}, which is neither {kind} nor text: {error}"
        ) from error


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    column = column.cast(_plain(column.type))
    if pa.types.is_timestamp(kind) and (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    ):
        raise pa.ArrowInvalid("a number does not tell which unit of time it counts")
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if is_number and (pa.types.is_temporal(column.type) or pa.types.is_boolean(column.type)):
        raise pa.ArrowInvalid(f"{column.type} is no number")
    if pa.types.is_integer(kind) and pa.types.is_floating(column.type):
        # Data frames write a missing integer as NaN.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, dictionary-encoded or not."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _regrouped(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``size``, the last one shorter."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        while rows + table.num_rows >= size:
            head = table.slice(0, size - rows)
            yield pa.concat_tables([*held, head]).combine_chunks()
            table = table.slice(head.num_rows)
            held, rows = [], 0
        held.append(table)
        rows += table.num_rows
    if rows:
        yield pa.concat_tables(held).combine_chunks()


async def each(items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    """The items of either kind of stream."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
