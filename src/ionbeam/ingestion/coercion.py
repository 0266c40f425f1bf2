"""Columns become the types their map declares; what cannot be read is marked, never lost.

Every function works on a whole column. The fast path costs one look at the column; only columns
that hold something unreadable are taken apart.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ionbeam.errors import PayloadInvalid
from ionbeam.observations.columns import TIME_TYPE
from ionbeam.observations.timespan import to_nanoseconds, to_utc

Mask = npt.NDArray[np.bool_]

_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?\d{1,18}$"
_DAY = r"^\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_TIME = f"{_DAY}({_CLOCK}{_ZONE}?)?$"
_ZONED_TIME = f"{_DAY}{_CLOCK}{_ZONE}$"
_BELOW_MICROSECOND = re.compile(r"\.\d{6}(\d+)")

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3}
_REACH_NS = 2**63 - 1
"""Nanoseconds reach from 1677 to 2262 only; what lies outside cannot be an observation."""


@dataclass(frozen=True, slots=True)
class Coerced:
    """A column in its declared type; ``bad`` marks values that could not be read (null there)."""

    values: pa.Array
    bad: Mask | None = None


def coerce(column: pa.ChunkedArray | pa.Array, target: pa.DataType, name: str) -> Coerced:
    """``column`` as ``target``; `PayloadInvalid` when the two have nothing to do with each other.

    Missing stays missing: null, NaN and empty text become null, and so does the text ``nan`` where a
    number is declared.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_bytes(column.type):
        column = _decoded(column, name)
    if pa.types.is_null(column.type):
        return Coerced(pa.nulls(len(column), target))
    if target == TIME_TYPE:
        return _to_time(column, name)
    if _is_text(column.type):
        return _from_text(column, target, name)
    if _is_text(target):
        return _to_text(column, target, name)
    return _from_number(column, target, name)


def _from_number(column: pa.Array, target: pa.DataType, name: str) -> Coerced:
    if pa.types.is_temporal(column.type):
        raise PayloadInvalid(f"column {name!r} holds {column.type}, which cannot become {target}")
    if pa.types.is_decimal(column.type) or pa.types.is_float16(column.type):
        column = _cast(column, pa.float64(), name)
    if pa.types.is_boolean(target) and not pa.types.is_boolean(column.type):
        return _number_to_boolean(_to_floating(_cast(column, pa.float64(), name)))
    if pa.types.is_floating(target):
        return _to_floating(_cast(column, target, name))
    if pa.types.is_integer(target) and pa.types.is_floating(column.type):
        return _floating_to_integer(column, target)
    if pa.types.is_integer(target) and pa.types.is_integer(column.type):
        return _narrow(column, target)
    return Coerced(_cast(column, target, name))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _decoded(column: pa.Array, name: str) -> pa.Array:
    """Bytes as text: some writers of Parquet leave out that text is text."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise PayloadInvalid(f"column {name!r} holds {column.type} that is no text in UTF-8") from error


def _cast(column: pa.Array, target: pa.DataType, name: str) -> pa.Array:
    if column.type == target:
        return column
    try:
        return column.cast(target, safe=False)
    except pa.ArrowException as error:
        raise PayloadInvalid(f"column {name!r} holds {column.type}, which cannot become {target}") from error


def _mask(condition: pa.Array) -> Mask:
    result: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return result


def _without(column: pa.Array, bad: Mask) -> Coerced:
    """``column`` with the marked values null."""
    if not bad.any():
        return Coerced(column)
    return Coerced(pc.if_else(pa.array(bad), pa.scalar(None, column.type), column), bad)


def _to_floating(column: pa.Array) -> Coerced:
    if pc.all(pc.is_finite(column)).as_py() in (True, None):
        return Coerced(column)
    bad = _mask(pc.is_inf(column))
    missing = pc.or_(pc.is_nan(column), pa.array(bad))
    return Coerced(pc.if_else(missing, pa.scalar(None, column.type), column), bad if bad.any() else None)


def _to_text(column: pa.Array, target: pa.DataType, name: str) -> Coerced:
    text = _cast(column, target, name)
    if pa.types.is_floating(column.type):
        text = pc.if_else(pc.is_nan(column), pa.scalar(None, target), text)
    return Coerced(text)


def _number_to_boolean(number: Coerced) -> Coerced:
    known = _mask(pc.is_in(number.values, pa.array([0.0, 1.0])))
    checked = _without(number.values, _mask(number.values.is_valid()) & ~known)
    return Coerced(checked.values.cast(pa.bool_()), _either(number.bad, checked.bad))


def _floating_to_integer(column: pa.Array, target: pa.DataType) -> Coerced:
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    whole = _mask(pc.equal(pc.floor(column), column))
    low, high = _limits(target)
    # Beyond 2**53 a float no longer names one integer, so nothing there is taken for one.
    reach = min(high, 2**53)
    inside = _mask(
        pc.and_(pc.greater_equal(column, float(max(low, -(2**53)))), pc.less_equal(column, float(reach)))
    )
    checked = _without(column, _mask(column.is_valid()) & ~(whole & inside))
    return Coerced(checked.values.cast(target), checked.bad)


def _narrow(column: pa.Array, target: pa.DataType) -> Coerced:
    try:
        return Coerced(column.cast(target))
    except pa.ArrowInvalid:
        pass
    low, high = _limits(target)
    values = pc.fill_null(column, 0).to_numpy()
    checked = _without(column, _mask(column.is_valid()) & ((values < low) | (values > high)))
    return Coerced(checked.values.cast(target), checked.bad)


def _limits(kind: pa.DataType) -> tuple[int, int]:
    limits = np.iinfo(kind.to_pandas_dtype())
    return int(limits.min), int(limits.max)


def _from_text(column: pa.Array, target: pa.DataType, name: str) -> Coerced:
    if _is_text(target):
        column = column.cast(target)
        if pc.any(pc.equal(column, "")).as_py():
            return Coerced(pc.if_else(pc.equal(column, ""), pa.scalar(None, target), column))
        return Coerced(column)
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    missing = pc.or_(pc.equal(text, ""), pc.equal(pc.utf8_lower(text), "nan"))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    if pa.types.is_boolean(target):
        lower = pc.utf8_lower(text)
        known = pc.is_in(lower, pa.array(["true", "false", "1", "0"]))
        checked = _without(lower, _mask(text.is_valid()) & ~_mask(known))
        return Coerced(checked.values.cast(target), checked.bad)
    integer = pa.types.is_integer(target)
    readable = _mask(pc.match_substring_regex(text, _INTEGER if integer else _FLOAT))
    checked = _without(text, _mask(text.is_valid()) & ~readable)
    # Arrow reads no leading plus sign.
    digits = pc.replace_substring_regex(checked.values, r"^\+", "")
    numbers = digits.cast(pa.int64() if integer else pa.float64())
    typed = _narrow(numbers, target) if integer else _to_floating(_cast(numbers, target, name))
    return Coerced(typed.values, _either(checked.bad, typed.bad))


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _to_time(column: pa.Array, name: str) -> Coerced:
    """Times in ns UTC; the map declares the column as UTC, so times without a zone are read as UTC."""
    if _is_text(column.type):
        return _text_to_time(column.cast(pa.string()))
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        raise PayloadInvalid(
            f"time column {name!r} holds {column.type}; give timestamps or ISO 8601 text, "
            "for a number does not tell its unit"
        )
    in_nanoseconds = pa.timestamp("ns", tz=column.type.tz)
    try:
        return Coerced(column.cast(in_nanoseconds).cast(TIME_TYPE))
    except pa.ArrowInvalid:
        ticks = column.cast(pa.int64())
        reach = _REACH_NS // _NANOSECONDS[column.type.unit]
        checked = _without(column, _mask(pc.or_(pc.greater(ticks, reach), pc.less(ticks, -reach))))
        return Coerced(checked.values.cast(in_nanoseconds).cast(TIME_TYPE), checked.bad)


def _text_to_time(column: pa.Array) -> Coerced:
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    readable = _mask(pc.match_substring_regex(text, _TIME))
    zoned = _mask(pc.match_substring_regex(text, _ZONED_TIME))
    checked = _without(text, _mask(text.is_valid()) & ~readable)
    nothing = pa.scalar(None, pa.string())
    try:
        with_zone = pc.if_else(pa.array(zoned), checked.values, nothing).cast(TIME_TYPE)
        without = pc.if_else(pa.array(zoned), nothing, checked.values).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        one_by_one = _text_to_time_one_by_one(checked.values)
        return Coerced(one_by_one.values, _either(checked.bad, one_by_one.bad))
    return Coerced(pc.coalesce(with_zone, without.cast(pa.int64()).cast(TIME_TYPE)), checked.bad)


def _text_to_time_one_by_one(text: pa.Array) -> Coerced:
    """The slow way, for columns in which some text looks like a time and is none (30 February).

    It reads the others exactly as the fast way does, for a row must not depend on its neighbours.
    """
    values: list[int | None] = []
    bad = np.zeros(len(text), dtype=bool)
    for row, value in enumerate(text.to_pylist()):
        moment = None if value is None else _read_time(value)
        bad[row] = value is not None and moment is None
        values.append(moment)
    return Coerced(pa.array(values, pa.int64()).cast(TIME_TYPE), bad)


def _read_time(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        microseconds = to_nanoseconds(to_utc(moment))
    except ValueError:
        return None
    below = _BELOW_MICROSECOND.search(text)
    nanoseconds = microseconds + (int(below[1].ljust(3, "0")) if below else 0)
    return nanoseconds if abs(nanoseconds) <= _REACH_NS else None
