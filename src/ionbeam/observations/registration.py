"""Checking a map once, when it is registered, so that its column names can be trusted afterwards.

Unit labels are repaired, remarks are collected, and everything that cannot work is refused at once.
No value is touched here.

**Relative humidity in percent, declared as 1.** Several feeds deliver 0 to 100 and declare the unit
``1``, which makes 55 % a fraction of 55 and everything computed from it wrong by a factor of 100.
A true fraction has the very same declaration, so the unit alone cannot tell. Only the feeds known
to do it (`PERCENT_AS_ONE`) are repaired to ``%``; any other dataset keeps ``1`` with a remark, and
`suspect_columns` tells from the values.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ionbeam.errors import InvalidInput, MapInvalid
from ionbeam.observations.columns import AXES, LATITUDE, LONGITUDE, TIME, check_identity, is_known
from ionbeam.observations.dataset import DataIngestionMap, IngestionMetadata
from ionbeam.observations.naming import LONGEST_NAME, object_name
from ionbeam.observations.units import Conversion, check_unit, converter, fits
from ionbeam.observations.variable import (
    SEPARATOR,
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
)
from ionbeam.observations.vocabulary import check_quantity

V = TypeVar("V")
A = TypeVar("A", LatitudeAxis, LongitudeAxis)

HUMIDITY = "relative_humidity"
PERCENT_AS_ONE = frozenset({"netatmo", "netatmo_mqtt", "meteotracker", "sensor.community"})
"""Datasets that deliver relative humidity in percent while declaring ``1``."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Metadata with valid units, and what there is to say about it."""

    metadata: IngestionMetadata
    findings: tuple[str, ...] = ()
    """Sentences, each naming the column it is about."""


def register(metadata: IngestionMetadata) -> Registration:
    """Check a dataset's map; `MapInvalid` names every fault at once.

    Registering the returned metadata again changes nothing.
    """
    m, dataset = metadata.ingestion_map, metadata.dataset.name
    notes = _Notes()
    lat = notes.on("the latitude axis", m.lat, partial(_settle_axis, m.lat, "latitude"))
    lon = notes.on("the longitude axis", m.lon, partial(_settle_axis, m.lon, "longitude"))
    variables = [
        notes.on(f"column {v.column!r}", v, partial(_settle, v, dataset)) for v in m.canonical_variables
    ]
    changed = m.model_copy(update={"lat": lat, "lon": lon, "canonical_variables": variables})
    faults = [*_name_faults(dataset), *notes.faults, *_column_faults(changed), *_identity_faults(changed)]
    if faults:
        raise MapInvalid(f"the map of dataset {dataset!r} cannot work: " + "; ".join(faults))
    findings = (*notes.findings, *_dtype_findings(changed), *_case_findings(changed))
    return Registration(metadata.model_copy(update={"ingestion_map": changed}), findings)


def suspect_columns(observations: pa.Table, ingestion_map: DataIngestionMap) -> tuple[str, ...]:
    """A sentence for every relative humidity in unit ``1`` whose values look like percent.

    ``observations`` is a canonical table.
    """
    return tuple(
        f"column {v.column!r}: relative humidity is declared '1' but exceeds 2; declare '%' if it is percent"
        for v in ingestion_map.canonical_variables
        if v.standard_name == HUMIDITY and v.cf_unit == "1"
        if suspect_fraction(observations.column(v.canonical_name()))
    )


def suspect_fraction(values: pa.Array | pa.ChunkedArray) -> bool:
    """Whether numbers declared as a fraction look like percent: any of them is greater than 2.

    Nulls and NaN say nothing. Saturated air reads a little above 1, never above 2.
    """
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        return False
    highest = pc.max(values).as_py()
    return highest is not None and highest > 2


class _Notes:
    """Findings and faults of everything looked at."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.faults: list[str] = []

    def on(self, what: str, declared: V, settle: Callable[[], tuple[V, list[str]]]) -> V:
        """The settled value; the declared one where settling it finds a fault."""
        try:
            settled, remarks = settle()
        except InvalidInput as fault:
            self.faults.append(f"{what}: {fault}")
            return declared
        self.findings += [f"{what}: {remark}" for remark in remarks]
        return settled


def _settle(variable: CanonicalVariable, dataset: str) -> tuple[CanonicalVariable, list[str]]:
    unit, remarks = _settle_unit(variable.cf_unit)
    if variable.standard_name == HUMIDITY and unit == "1":
        if dataset in PERCENT_AS_ONE:
            unit = "%"
            remarks.append(f"dataset {dataset!r} delivers percent while declaring '1'; the unit is now '%'")
        else:
            remarks.append("relative humidity in '1' has to lie between 0 and 1; declare '%' for percent")
    settled = variable.model_copy(update={"cf_unit": unit})
    _check_readable(settled)
    return settled, [*remarks, *check_quantity(variable.standard_name, unit)]


def _settle_axis(axis: A, standard_name: str) -> tuple[A, list[str]]:
    unit, remarks = _settle_unit(axis.cf_unit)
    if not fits(unit, "degree") or converter(unit, "degree") != Conversion(1.0, 0.0):
        raise MapInvalid(f"{axis.cf_unit!r} is not degrees")
    if axis.standard_name != standard_name:
        raise MapInvalid(f"its standard name is {axis.standard_name!r}")
    return axis.model_copy(update={"cf_unit": unit}), remarks


def _settle_unit(declared: str) -> tuple[str, list[str]]:
    check = check_unit(declared)
    if not check.repaired:
        return check.unit, []
    return check.unit, [f"unit {declared!r} is written {check.unit!r}: {check.reason}"]


def _check_readable(variable: CanonicalVariable) -> None:
    """Refuse a variable whose canonical name would be read as another one."""
    name = variable.canonical_name()
    read = CanonicalVariable.from_canonical_name(name)
    if read.standard() != variable.standard() or read.cf_unit != variable.cf_unit:
        raise MapInvalid(
            f"{name!r} does not read back; no part of a name may be empty, hold {SEPARATOR!r} "
            "or begin or end with '_'"
        )


def _name_faults(dataset: str) -> list[str]:
    size = len(object_name(dataset))
    return [f"its name takes {size} bytes in a key; {LONGEST_NAME} fit"] if size > LONGEST_NAME else []


def _column_faults(ingestion_map: DataIngestionMap) -> list[str]:
    m = ingestion_map
    metadata = [v.column for v in m.metadata_variables]
    canonical = [v.canonical_name() for v in m.canonical_variables]
    axes = [m.datetime.from_col or TIME, m.lat.from_col or LATITUDE, m.lon.from_col or LONGITUDE]
    mapped = [*axes, *(v.column for v in m.canonical_variables), *metadata]
    taken = {*AXES, *canonical} - set(axes)
    return [
        *(["a column has an empty name"] if any(not column.strip() for column in mapped) else []),
        *_repeats("column", mapped),
        *_repeats("canonical name", canonical),
        *(f"metadata column {c!r} has the name of another output column" for c in metadata if c in taken),
    ]


def _dtype_findings(ingestion_map: DataIngestionMap) -> list[str]:
    m = ingestion_map
    variables: list[CanonicalVariable | MetadataVariable] = [*m.canonical_variables, *m.metadata_variables]
    return [
        f"column {v.column!r}: {v.dtype!r} is no dtype Ionbeam knows; its values are kept as text"
        for v in variables
        if not is_known(v.dtype)
    ]


def _case_findings(ingestion_map: DataIngestionMap) -> list[str]:
    """Names of one table, the payload or the published one, that many engines take for the same."""
    m = ingestion_map
    metadata = [v.column for v in m.metadata_variables]
    axes = [m.datetime.from_col or TIME, m.lat.from_col or LATITUDE, m.lon.from_col or LONGITUDE]
    tables = (
        [*axes, *(v.column for v in m.canonical_variables), *metadata],
        [*AXES, *(v.canonical_name() for v in m.canonical_variables), *metadata],
    )
    alike: dict[tuple[int, str], dict[str, None]] = {}
    for table, names in enumerate(tables):
        for name in names:
            alike.setdefault((table, name.casefold()), {})[name] = None
    groups = dict.fromkeys(tuple(names) for names in alike.values() if len(names) > 1)
    return [
        f"columns {' and '.join(map(repr, names))} differ only in case; engines that ignore it see one"
        for names in groups
    ]


def _identity_faults(ingestion_map: DataIngestionMap) -> list[str]:
    try:
        check_identity(ingestion_map)
    except MapInvalid as fault:
        return [str(fault)]
    return []


def _repeats(what: str, names: list[str]) -> list[str]:
    return [f"{what} {name!r} is mapped {n} times" for name, n in Counter(names).items() if n > 1]
