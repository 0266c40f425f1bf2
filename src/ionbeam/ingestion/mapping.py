"""Raw batches become canonical observations and rejects: pure, column by column.

A row is rejected when its time is missing, unreadable or outside the years 1700 to 2199, its position
is impossible, a number cannot be read, or it holds no value of any declared variable. Everything else
lands, nulls kept.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ionbeam.errors import PayloadInvalid
from ionbeam.ingestion.coercion import Mask, coerce
from ionbeam.observations.columns import LATITUDE, LONGITUDE, TIME, canonical_schema, raw_schema
from ionbeam.observations.dataset import DataIngestionMap
from ionbeam.observations.timespan import to_nanoseconds

REASON, COLUMN, VALUE, ROW = "_reason", "_column", "_value", "_row"
"""Columns that a quarantined row has besides its raw ones."""

# The windows around an observation must be within the reach of nanosecond timestamps, 1678 to 2261.
_YEARS_NS = to_nanoseconds(datetime(1700, 1, 1, tzinfo=UTC)), to_nanoseconds(datetime(2200, 1, 1, tzinfo=UTC))

BAD_TIME = "bad_time"
IMPOSSIBLE_POSITION = "impossible_position"
UNREADABLE_VALUE = "unreadable_value"
NO_VALUE = "no_value"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a raw batch became."""

    observations: pa.Table
    """Canonical rows, in the order they came."""
    rejects: pa.Table | None
    """Raw rows with `REASON`, `COLUMN`, `VALUE` and `ROW`; None when every row is good."""

    def reasons(self) -> dict[str, int]:
        """How many rows were rejected for each reason."""
        return {} if self.rejects is None else dict(Counter(self.rejects.column(REASON).to_pylist()))


class _Faults:
    """The first fault of every row."""

    def __init__(self, rows: int) -> None:
        self.bad: Mask = np.zeros(rows, dtype=bool)
        self._reason = np.full(rows, "", dtype=object)
        self._column = np.full(rows, "", dtype=object)

    def add(self, bad: Mask | None, reason: str, column: str) -> None:
        """Mark rows that have no fault yet."""
        if bad is None or not bad.any():
            return
        fresh = bad & ~self.bad
        self._reason[fresh] = reason
        self._column[fresh] = column
        self.bad |= bad

    def rejects(self, raw: pa.Table, first_row: int) -> pa.Table | None:
        """The faulty raw rows, each with what is wrong."""
        rows: npt.NDArray[np.intp] = np.flatnonzero(self.bad)
        if len(rows) == 0:
            return None
        refused = raw.take(pa.array(rows))
        texts = {name: refused.column(name).cast(pa.string()) for name in set(self._column[rows]) - {""}}
        values = [
            texts[name][i].as_py() if name in texts else None for i, name in enumerate(self._column[rows])
        ]
        return (
            refused.append_column(REASON, pa.array(self._reason[rows], pa.string()))
            .append_column(COLUMN, pa.array(self._column[rows], pa.string()))
            .append_column(VALUE, pa.array(values, pa.string()))
            .append_column(ROW, pa.array(rows + first_row, pa.int64()))
        )


def check_columns(schema: pa.Schema, ingestion_map: DataIngestionMap) -> None:
    """Refuse a payload without its axes or with a column twice, naming the columns."""
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise PayloadInvalid(f"the payload has more than one column {', '.join(twice)}")
    axes = raw_schema(ingestion_map).names[:3]
    absent = [name for name in axes if name not in schema.names]
    if absent:
        raise PayloadInvalid(
            f"the payload has no column {', '.join(absent)}; it has {', '.join(schema.names)}"
        )


def to_canonical(raw: pa.Table, ingestion_map: DataIngestionMap, first_row: int = 0) -> Mapped:
    """Map one raw table; ``first_row`` is its first row's number in the payload.

    Raises `PayloadInvalid` when a column's type has nothing to do with the declared one.
    """
    check_columns(raw.schema, ingestion_map)
    target = canonical_schema(ingestion_map)
    source_of = _raw_names(ingestion_map)
    faults = _Faults(raw.num_rows)
    columns: dict[str, pa.Array] = {}
    for field in target:
        name = source_of[field.name]
        if name not in raw.schema.names:
            columns[field.name] = pa.nulls(raw.num_rows, field.type)
            continue
        coerced = coerce(raw.column(name), field.type, name)
        columns[field.name] = coerced.values
        faults.add(coerced.bad, BAD_TIME if field.name == TIME else UNREADABLE_VALUE, name)
    faults.add(_nulls(columns[TIME]), BAD_TIME, source_of[TIME])
    faults.add(_outside(columns[TIME].cast(pa.int64()), *_YEARS_NS), BAD_TIME, source_of[TIME])
    _check_position(columns, faults, source_of)
    _check_any_value(columns, faults, ingestion_map)
    table = pa.Table.from_arrays([columns[f.name] for f in target], schema=target)
    if faults.bad.any():
        table = table.filter(pa.array(~faults.bad))
    return Mapped(table, faults.rejects(raw, first_row))


def _raw_names(ingestion_map: DataIngestionMap) -> dict[str, str]:
    """Canonical column name → raw column name."""
    m = ingestion_map
    names = {v.column: v.column for v in reversed(m.metadata_variables)}
    names |= {v.canonical_name(): v.column for v in reversed(m.canonical_variables)}
    return names | {
        TIME: m.datetime.from_col or TIME,
        LATITUDE: m.lat.from_col or LATITUDE,
        LONGITUDE: m.lon.from_col or LONGITUDE,
    }


def _nulls(column: pa.Array) -> Mask | None:
    if column.null_count == 0:
        return None
    nulls: Mask = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _check_position(columns: dict[str, pa.Array], faults: _Faults, source_of: dict[str, str]) -> None:
    """Latitude -90..90; longitude -180..360, brought to -180..180; both or neither."""
    lat, lon = columns[LATITUDE], columns[LONGITUDE]
    faults.add(_outside(lat, -90.0, 90.0), IMPOSSIBLE_POSITION, source_of[LATITUDE])
    faults.add(_outside(lon, -180.0, 360.0), IMPOSSIBLE_POSITION, source_of[LONGITUDE])
    if lat.null_count or lon.null_count:
        no_lat, no_lon = (axis.is_null().to_numpy(zero_copy_only=False) for axis in (lat, lon))
        faults.add(no_lat & ~no_lon, IMPOSSIBLE_POSITION, source_of[LATITUDE])
        faults.add(no_lon & ~no_lat, IMPOSSIBLE_POSITION, source_of[LONGITUDE])
    if len(lon) and (pc.max(lon).as_py() or 0.0) > 180.0:
        columns[LONGITUDE] = pc.if_else(pc.greater(lon, 180.0), pc.subtract(lon, 360.0), lon)


def _outside(column: pa.Array, low: int | float, high: int | float) -> Mask | None:
    limits = pc.min_max(column).as_py()
    if limits["min"] is None or (limits["min"] >= low and limits["max"] <= high):
        return None
    outside: Mask = pc.fill_null(pc.or_(pc.less(column, low), pc.greater(column, high)), False).to_numpy(
        zero_copy_only=False
    )
    return outside


def _check_any_value(columns: dict[str, pa.Array], faults: _Faults, ingestion_map: DataIngestionMap) -> None:
    """A row in which every declared variable is missing observes nothing."""
    variables = [columns[v.canonical_name()] for v in ingestion_map.canonical_variables]
    if not variables or any(column.null_count == 0 for column in variables):
        return
    empty = np.ones(len(variables[0]), dtype=bool)
    for column in variables:
        empty &= column.is_null().to_numpy(zero_copy_only=False)
    faults.add(empty, NO_VALUE, "")
