"""Which columns a window has when the maps behind its observations differ.

The answer depends on the set of maps alone, not on which came last, so a window is the same
whatever the order of arrival, and a changed map never drops the columns of an older one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ionbeam.observations.columns import AXES, canonical_schema
from ionbeam.observations.dataset import IngestionMetadata


@dataclass(frozen=True, slots=True)
class Layout:
    """A window's schema and what makes its observations one."""

    schema: pa.Schema
    identity: tuple[str, ...]


def layout_of(maps: Sequence[IngestionMetadata]) -> Layout:
    """The union of the maps' columns.

    The leading map (highest version, then most columns) gives order and identity; columns only
    others have follow by name, canonical variables before metadata. Types that differ become
    float64 where both are numbers, else string.
    """
    leading = min(maps, key=_rank)
    variables = [v.canonical_name() for v in leading.ingestion_map.canonical_variables]
    known = {v.canonical_name() for m in maps for v in m.ingestion_map.canonical_variables}
    metadata = [v.column for v in leading.ingestion_map.metadata_variables]
    known_metadata = {v.column for m in maps for v in m.ingestion_map.metadata_variables}
    names = dict.fromkeys(
        [
            *AXES,
            *variables,
            *sorted(known - set(variables)),
            *metadata,
            *sorted(known_metadata - set(metadata)),
        ]
    )
    schemas = [canonical_schema(m.ingestion_map) for m in maps]
    fields = [
        pa.field(name, _common_type(s.field(name).type for s in schemas if name in s.names)) for name in names
    ]
    return Layout(pa.schema(fields), tuple(leading.ingestion_map.identity_columns()))


def _rank(metadata: IngestionMetadata) -> tuple[int, int, str]:
    columns = len(metadata.ingestion_map.canonical_variables) + len(metadata.ingestion_map.metadata_variables)
    return -metadata.version, -columns, metadata.model_dump_json()


def _common_type(types: Iterable[pa.DataType]) -> pa.DataType:
    distinct = set(types)
    if len(distinct) == 1:
        return distinct.pop()
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in distinct):
        return pa.float64()
    return pa.string()
