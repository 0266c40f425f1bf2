"""Arrow schemas: of a raw payload as its map describes it, and of canonical observations.

A canonical table holds ``datetime`` timestamp[ns, UTC], ``lat`` and ``lon`` float64, then the
canonical variables, then the metadata columns, each once, absent values null.
"""

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from ionbeam.errors import MapInvalid
from ionbeam.observations.dataset import DataIngestionMap

TIME = "datetime"
LATITUDE = "lat"
LONGITUDE = "lon"
AXES = (TIME, LATITUDE, LONGITUDE)
TIME_TYPE = pa.timestamp("ns", tz="UTC")

_STRINGS = {"string", "str", "object", "category", "large_string"}
_PANDAS = {"boolean": "bool"} | {
    f"{kind}{bits}": f"{kind.lower()}{bits}" for kind in ("Int", "UInt", "Float") for bits in (8, 16, 32, 64)
}
_SIMPLE = re.compile(r"[<>=|]?[A-Za-z]\w*(\[\w+\])?", re.ASCII)


def arrow_type(dtype: str) -> pa.DataType:
    """The Arrow type of a numpy or pandas dtype name; strings for what neither knows.

    Half floats become single ones: Arrow computes next to nothing with halves.
    """
    return _known_type(dtype) or pa.string()


def is_known(dtype: str) -> bool:
    """Whether a dtype name says how values are kept; they are kept as text where it does not."""
    return _known_type(dtype) is not None


def _known_type(dtype: str) -> pa.DataType | None:
    name = dtype.removesuffix("[pyarrow]")
    if name.startswith("datetime64"):
        return TIME_TYPE
    if name in _STRINGS:
        return pa.string()
    # Anything richer numpy would evaluate as an expression, and a dtype may come from anybody.
    if not _SIMPLE.fullmatch(name):
        return None
    try:
        known = np.dtype(_PANDAS.get(name, name))
        kind = TIME_TYPE if known.kind == "M" else pa.from_numpy_dtype(known)
    except (TypeError, pa.ArrowNotImplementedError):
        return None
    return pa.float32() if pa.types.is_float16(kind) else kind


def _once(fields: Iterable[pa.Field]) -> pa.Schema:
    """A schema of the fields in order, later ones of the same name dropped."""
    return pa.schema(list({f.name: f for f in reversed(list(fields))}.values())[::-1])


def raw_schema(ingestion_map: DataIngestionMap) -> pa.Schema:
    """What a payload holds under a map, in the source's own column names."""
    m = ingestion_map
    return _once(
        [
            pa.field(m.datetime.from_col or TIME, TIME_TYPE),
            pa.field(m.lat.from_col or LATITUDE, pa.float64()),
            pa.field(m.lon.from_col or LONGITUDE, pa.float64()),
            *(pa.field(v.column, arrow_type(v.dtype)) for v in m.canonical_variables),
            *(pa.field(v.column, arrow_type(v.dtype)) for v in m.metadata_variables),
        ]
    )


def canonical_schema(ingestion_map: DataIngestionMap) -> pa.Schema:
    """The schema of the observations a map makes."""
    m = ingestion_map
    return _once(
        [
            pa.field(TIME, TIME_TYPE),
            pa.field(LATITUDE, pa.float64()),
            pa.field(LONGITUDE, pa.float64()),
            *(pa.field(v.canonical_name(), arrow_type(v.dtype)) for v in m.canonical_variables),
            *(pa.field(v.column, arrow_type(v.dtype)) for v in m.metadata_variables),
        ]
    )


def check_identity(ingestion_map: DataIngestionMap) -> None:
    """Refuse an identity that names a column the observations do not have."""
    known = {v.column for v in ingestion_map.metadata_variables} | {LATITUDE, LONGITUDE}
    for column in ingestion_map.identity or ():
        if column not in known:
            raise MapInvalid(
                f"identity names {column!r}, which is no metadata variable; choose from {sorted(known)}"
            )
