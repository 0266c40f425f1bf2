"""Which quantities have a name: the CF standard name table, shipped in compact form.

Names outside the table are allowed, since sensors measure more than it lists; they are remarked on.
A unit that cannot express a quantity the table knows is refused.

Source: CF standard name table, https://cfconventions.org/standard-names.html; its version is the
first line of the shipped file.
"""

import difflib
import gzip
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from ionbeam.errors import MapInvalid
from ionbeam.observations.units import fits, is_unit

WATER = ("precipitation", "rainfall", "evaporation", "evapotranspiration")
"""Quantities of liquid water that gauges give as a depth: 1 mm of water is 1 kg m-2.

Snowfall is not among them, because a depth of snow is not a depth of water.
"""


@dataclass(frozen=True, slots=True)
class StandardName:
    """One entry of the CF table."""

    name: str
    canonical_unit: str
    """Empty for names of text, such as ``institution``."""
    alias_of: str = ""
    """The current name, where this one is obsolete."""


def standard_name(name: str) -> StandardName | None:
    """The table's entry; an alias carries the canonical unit of its current name."""
    return _table()[1].get(name)


def table_version() -> str:
    """The version line of the table."""
    return _table()[0]


@lru_cache(maxsize=256)
def suggest(name: str) -> str | None:
    """The current standard name most alike, or None when nothing is near."""
    entries = _table()[1]
    near = difflib.get_close_matches(name, entries, n=1, cutoff=0.8)
    return (entries[near[0]].alias_of or near[0]) if near else None


def check_quantity(name: str, unit: str) -> tuple[str, ...]:
    """Remarks on a standard name and a valid unit for it; `MapInvalid` when the unit cannot express it.

    Depths of water for masses per area are accepted with a remark, as rain gauges report them.
    """
    entry = standard_name(name)
    if entry is None:
        near = suggest(name)
        return (f"{name!r} is not a CF standard name" + (f"; did you mean {near!r}?" if near else ""),)
    remarks = []
    if entry.alias_of:
        remarks.append(f"{name!r} is an old name; CF now says {entry.alias_of!r}")
    if entry.canonical_unit and not fits(unit, entry.canonical_unit):
        if not _is_depth_of_water(entry, unit):
            raise MapInvalid(
                f"{name!r} cannot be given in {unit!r}; CF measures it in {entry.canonical_unit!r}"
            )
        remarks.append(f"{unit!r} is read as a depth of water, of which 1 mm is 1 kg m-2")
    return tuple(remarks)


def _is_depth_of_water(entry: StandardName, unit: str) -> bool:
    as_mass = f"({unit}) (1000 kg m-3)"
    named = any(word in (entry.alias_of or entry.name) for word in WATER)
    return named and is_unit(as_mass) and fits(as_mass, entry.canonical_unit)


@cache
def _table() -> tuple[str, dict[str, StandardName]]:
    packed = files("ionbeam.observations").joinpath("cf_standard_names.tsv.gz").read_bytes()
    version, *lines = gzip.decompress(packed).decode().splitlines()
    rows = [(line + "\t\t").split("\t")[:3] for line in lines]
    units = {name: unit for name, unit, _ in rows}
    return version, {
        name: StandardName(name, units[alias_of] if alias_of else unit, alias_of)
        for name, unit, alias_of in rows
    }
