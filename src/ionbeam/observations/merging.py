"""Observations that arrive more than once become one: the only place where that is decided.

Two rows are the same observation when their time and identity columns are equal; nulls compare
equal. For every other field the latest accepted non-null value wins, so sparse feeds that deliver
one variable at a time complete each other. The result is sorted by time, then identity, nulls last,
and has one row per observation: the same rows in any arrival order give the same table as long as
they do not conflict.

Everything works on whole columns: rows get one int64 key that sorts as (time, identity) does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ionbeam.observations.columns import TIME

Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Merged:
    """One row per observation, sorted, and how many rows were folded into another."""

    table: pa.Table
    folded: int


def merge(rows: pa.Table, identity: Sequence[str]) -> Merged:
    """Fold ``rows``, which stand in acceptance order, into one row per observation.

    ``rows`` is a canonical table whose ``datetime`` has no nulls.
    """
    if rows.num_rows == 0:
        return Merged(rows, 0)
    rows = rows.combine_chunks()
    keys = observation_keys(rows, identity)
    if np.all(keys[1:] > keys[:-1]):
        return Merged(rows, 0)
    order = np.argsort(keys)
    ordered = keys[order]
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    if is_first.all():
        return Merged(rows.take(pa.array(order)), 0)
    # Only now does acceptance order inside a group matter; the faster sort above does not keep it.
    order = np.argsort(keys, kind="stable")
    return Merged(_fold(rows, order, np.flatnonzero(is_first)), int(rows.num_rows - is_first.sum()))


def _fold(rows: pa.Table, order: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]) -> pa.Table:
    """Per group of ``order`` beginning at ``starts``, the last non-null value of every column."""
    ends = np.append(starts[1:], len(order)) - 1
    newest = pa.array(order[ends])
    return pa.Table.from_arrays(
        [
            column.take(newest if column.null_count == 0 else _last_valid(column, order, starts))
            for column in rows.columns
        ],
        schema=rows.schema,
    )


def _last_valid(
    column: pa.ChunkedArray, order: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]
) -> pa.Array:
    """Row index of each group's last non-null value, null where the group has none."""
    valid = column.is_valid().to_numpy()[order]
    position = np.maximum.reduceat(np.where(valid, np.arange(len(order)), -1), starts)
    return pa.array(order[position], mask=position < 0)


def redundant(known: pa.Table, new: pa.Table, identity: Sequence[str]) -> Mask:
    """Which rows of ``new`` would change nothing when merged behind ``known``.

    Both are merged tables; they may differ in columns.
    """
    if known.num_rows == 0:
        return np.zeros(new.num_rows, dtype=bool)
    schema = pa.unify_schemas(
        [new.schema.remove_metadata(), known.schema.remove_metadata()], promote_options="permissive"
    )
    both = pa.concat_tables([with_schema(known, schema), with_schema(new, schema)])
    keys = observation_keys(both, identity)
    known_keys, new_keys = keys[: known.num_rows], keys[known.num_rows :]
    position = np.searchsorted(known_keys, new_keys)
    position[position == len(known_keys)] = 0
    result: Mask = known_keys[position] == new_keys
    if not result.any():
        return result
    taken = pa.array(position)
    for name in new.schema.names:
        if name == TIME or name in identity:
            continue
        after = new.column(name).combine_chunks()
        if name not in known.schema.names:
            result &= after.is_null().to_numpy(zero_copy_only=False)
            continue
        before = known.column(name).combine_chunks().take(taken)
        same = pc.fill_null(pc.equal(_bits(before.cast(after.type)), _bits(after)), False)
        result &= pc.or_(same, after.is_null()).to_numpy(zero_copy_only=False)
    return result


def _bits(column: pa.Array) -> pa.Array:
    """Floats as integers of their bits, for minus zero equals zero and yet makes other files."""
    return column.view(f"int{column.type.bit_width}") if pa.types.is_floating(column.type) else column


def observation_keys(table: pa.Table, identity: Sequence[str]) -> Keys:
    """One int64 per row that is equal for the same observation and sorts as (time, identity...)."""
    time = table.column(TIME).combine_chunks().cast(pa.int64()).to_numpy()
    codes, count = _identity_codes(table, identity)
    first, last = int(time.min()), int(time.max())
    if (last - first + 1) * count > _LARGEST:
        offset = np.unique(time, return_inverse=True)[1]
    else:
        offset = time - first
    keys: Keys = offset * count + codes
    return keys


def _identity_codes(table: pa.Table, identity: Sequence[str]) -> tuple[Keys, int]:
    """Per row, the rank of its identity among all identities that occur (or could), and their number."""
    codes: Keys = np.zeros(table.num_rows, dtype=np.int64)
    count = 1
    # Below this, neither the next column nor the times, ranked, can lead beyond the largest key.
    limit = _LARGEST // (table.num_rows + 1)
    for name in identity:
        ranks, size = _ranks(table.column(name))
        codes = codes * size + ranks
        count *= size
        if count > limit:
            codes = np.unique(codes, return_inverse=True)[1]
            count = int(codes.max()) + 1
    return codes, count


def _ranks(column: pa.ChunkedArray) -> tuple[Keys, int]:
    """Per row, the rank of its value among the column's distinct values; null ranks last."""
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # minus zero becomes zero
    encoded = pc.dictionary_encode(column.combine_chunks())
    distinct = encoded.dictionary
    rank = np.empty(len(distinct) + 1, dtype=np.int64)
    rank[pc.sort_indices(distinct).to_numpy()] = np.arange(len(distinct))
    rank[-1] = len(distinct)
    indices = pc.fill_null(encoded.indices, len(distinct)).to_numpy()
    return rank[indices], len(distinct) + 1


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with exactly the columns of ``schema``: cast, reordered, absent ones null."""
    return pa.Table.from_arrays(
        [
            table.column(field.name).cast(field.type, safe=False)
            if field.name in table.schema.names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )
