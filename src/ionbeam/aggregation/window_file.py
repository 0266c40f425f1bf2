"""The file of one window: Parquet whose bytes follow from its rows alone, and the hash of those rows.

Rows arrive sorted, in tables of any size; they leave in row groups of one fixed size, each written
and hashed as one table, so how they were cut on the way here leaves no trace.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, slots=True)
class WindowFile:
    """A written window file."""

    rows: int
    content_hash: str


class WindowFileWriter:
    """Writes sorted canonical tables of ``schema`` to ``path``."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            # Rounded values repeat: dictionaries make them faster and smaller, and are given up early
            # where they do not.
            dictionary_pagesize_limit=128 * 1024,
        )
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._hash = ContentHash(schema)
        self._rows = 0

    def append(self, table: pa.Table) -> None:
        """Add rows behind those already there."""
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows < ROW_GROUP_ROWS:
            return
        rows = pa.concat_tables(self._waiting)
        whole = rows.num_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        for start in range(0, whole, ROW_GROUP_ROWS):
            self._write(rows.slice(start, ROW_GROUP_ROWS))
        self._waiting = [rows.slice(whole)]
        self._waiting_rows = rows.num_rows - whole

    def close(self) -> WindowFile:
        """Write what is left and finish the file."""
        if self._waiting_rows:
            self._write(pa.concat_tables(self._waiting))
        self._writer.close()
        return WindowFile(self._rows, self._hash.hexdigest())

    def _write(self, rows: pa.Table) -> None:
        rows = rows.combine_chunks()
        self._hash.update(rows)
        self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        self._rows += rows.num_rows


class ContentHash:
    """blake2b (128 bit) over schema and rows in one canonical form: what a null slot or an offset
    happens to hold in memory does not count, nor does the Parquet library's version."""

    def __init__(self, schema: pa.Schema) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._hash.update("\n".join(f"{f.name}\t{f.type}" for f in schema).encode())

    def update(self, rows: pa.Table) -> None:
        """Add rows; where one call ends and the next begins counts."""
        self._hash.update(rows.num_rows.to_bytes(8, "little"))
        for column in rows.columns:
            for buffer in _canonical_buffers(column.combine_chunks()):
                self._hash.update(buffer)

    def hexdigest(self) -> str:
        """The hash as 32 hexadecimal digits."""
        return self._hash.hexdigest()


def _canonical_buffers(column: pa.Array) -> list[memoryview | bytes]:
    buffers: list[memoryview | bytes] = []
    if column.null_count:
        buffers.append(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_string(column.type):
        text = pc.fill_null(column, "")
        lengths = pc.binary_length(text).to_numpy()
        first, last = np.frombuffer(text.buffers()[1], np.int32)[[text.offset, text.offset + len(text)]]
        data = text.buffers()[2]
        return [*buffers, lengths.data, memoryview(data)[first:last] if data else b""]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values = np.ascontiguousarray(pc.fill_null(column, 0).to_numpy())
    return [*buffers, values.data]
