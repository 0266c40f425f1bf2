"""What a column means: the canonical variable, its name, and the axes around it.

A canonical column is named ``standard_name__cf_unit__level__method__period``. The name is written
and read here only: ``level`` is written as Python writes a float, so 2 and 2.0 are the same column.
Source of the form: the published dataset contract; standard names and units are those of the CF
conventions.
"""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, model_validator

from ionbeam.errors import InvalidInput

SEPARATOR = "__"


def _dtype_name(value: Any) -> Any:
    """Any numpy dtype-like, or pandas dtype, as the string that survives JSON."""
    if isinstance(value, str):
        return value
    if not isinstance(value, type) and isinstance(name := getattr(value, "name", None), str):
        return name
    try:
        return np.dtype(value).name
    except TypeError as error:
        raise ValueError(f"{value!r} is not a dtype; use a name such as 'float64' or 'string'") from error


DtypeName = Annotated[str, BeforeValidator(_dtype_name)]


class BaseVariable(BaseModel):
    """A column with a dtype; null takes the default."""

    model_config = ConfigDict(frozen=True)

    dtype: DtypeName

    @model_validator(mode="before")
    @classmethod
    def _null_dtype_is_default(cls, form: Any) -> Any:
        if isinstance(form, dict) and form.get("dtype", ...) is None:
            return {key: value for key, value in form.items() if key != "dtype"}
        return form


class CanonicalStandard(BaseModel):
    """What is observed, apart from its unit: the key projections map by."""

    model_config = ConfigDict(frozen=True)

    standard_name: str
    level: FiniteFloat
    method: str
    period: str

    @classmethod
    def from_canonical_name(cls, name: str) -> "CanonicalStandard":
        """The standard part of a canonical column name."""
        parsed = CanonicalVariable.from_canonical_name(name)
        return cls(
            standard_name=parsed.standard_name, level=parsed.level, method=parsed.method, period=parsed.period
        )


class CanonicalVariable(CanonicalStandard, BaseVariable):
    """One observed variable: the source's column and what it means."""

    dtype: DtypeName = "float64"
    level: FiniteFloat = 0.0
    """Height above ground in m, or another vertical level the source names."""
    method: str = "point"
    """CF cell method over ``period``: point, mean, maximum, minimum, sum."""
    period: str = "PT0S"
    """An opaque label, usually an ISO 8601 duration."""
    column: str
    cf_unit: str

    def canonical_name(self) -> str:
        """The column name in every dataset file."""
        level = str(self.level + 0.0)  # minus zero is zero
        return SEPARATOR.join((self.standard_name, self.cf_unit, level, self.method, self.period))

    def standard(self) -> CanonicalStandard:
        """What is observed, without unit and column."""
        return CanonicalStandard(
            standard_name=self.standard_name, level=self.level, method=self.method, period=self.period
        )

    @classmethod
    def from_canonical_name(cls, name: str) -> "CanonicalVariable":
        """Read a canonical name leniently: absent trailing parts take their defaults.

        `InvalidInput` when there is no standard name, no unit, or the level is no number.
        """
        standard_name, _, rest = name.partition(SEPARATOR)
        parts = [*rest.split(SEPARATOR), "", "", ""]
        cf_unit, level, method, period = parts[:4]
        if not standard_name or not cf_unit:
            raise InvalidInput(
                f"{name!r} is not a canonical column name; "
                "it needs standard_name__unit[__level__method__period]"
            )
        try:
            height = float(level) if level else 0.0
        except ValueError as error:
            raise InvalidInput(f"{name!r} has the level {level!r}, which is not a number") from error
        if not math.isfinite(height):
            raise InvalidInput(f"{name!r} has the level {level!r}, which is no height")
        return cls(
            column=name,
            standard_name=standard_name,
            cf_unit=cf_unit,
            level=height,
            method=method or "point",
            period=period or "PT0S",
        )


class MetadataVariable(BaseVariable):
    """A column that tells about the observation: station, sensor type, quality flag."""

    dtype: DtypeName = "string"
    column: str

    @property
    def is_quality_flag(self) -> bool:
        """Flags (``*_qc``) are judgements about an observation, never part of its identity."""
        return self.column.endswith("_qc")


class TimeAxis(BaseVariable):
    """When the observation was true in the world."""

    dtype: DtypeName = "datetime64[ns, UTC]"
    from_col: str | None = None


class LatitudeAxis(BaseVariable):
    """Degrees north."""

    dtype: DtypeName = "float64"
    standard_name: str
    cf_unit: str
    from_col: str | None = None


class LongitudeAxis(BaseVariable):
    """Degrees east."""

    dtype: DtypeName = "float64"
    standard_name: str
    cf_unit: str
    from_col: str | None = None
