"""IonCannon: synthetic stations with believable weather, for demonstrations and load tests.

::

    Network   None. Stations SYNTH_0000, SYNTH_0001, … stand still at places drawn inside the bounds.
    Licence   None needed.
    Cadence   Any; times are epoch multiples of the measurement frequency.
    Limits    About a million observations per second and core.
    Quirks    Wanted ones, each a share between 0 and 1: late (a station's hour arrives with the
              start of the next one), gap (a station's hour never arrives), duplicate (a row comes
              twice), malformed (a row comes a second time without time or at an impossible place),
              disorder (rows change places within their batch).

Every number is a function of (seed, station, time) alone, by counter-based hashing: however a span
is split, the parts bring the same rows. A row comes with the fetch whose span holds its delivery,
which is its own time, or for a late row the end of its hour.

Sun and seasons use a circular orbit; humidity the Magnus form of Alduchov and Eskridge (1996);
pressure falls with height as in a standard atmosphere of scale height 8.4 km.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, Field, model_validator

from ionbeam.observations.columns import LATITUDE, LONGITUDE, TIME, TIME_TYPE, raw_schema
from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata
from ionbeam.observations.timespan import TimeSpan, to_nanoseconds
from ionbeam.observations.variable import (
    CanonicalVariable,
    LatitudeAxis,
    LongitudeAxis,
    MetadataVariable,
    TimeAxis,
)
from ionbeam.ports import Fetcher
