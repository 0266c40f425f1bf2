"""WHERE DATA COMES FROM: one file per feed.

A source file is a data sheet (whose data, how often, which quirks), a table of variables, and a
class whose ``fetch(span)`` yields Arrow batches in the feed's own columns. It knows no broker, no
store and no clock: a `Fetcher` is all it gets. What it yields for a span depends on the span and
the remote content alone, so asking twice is harmless, and it raises where it could not find out.

A new feed is one file here, one row in `SOURCES`, one test file and one page of documentation;
`ionbeam.testing.source_contract` holds what every source promises.
"""

import difflib
from datetime import timedelta
from importlib import import_module
from typing import Any, Protocol, cast

from pydantic import BaseModel

from ionbeam.errors import ConfigInvalid
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.ports import Fetcher, Source

SOURCES: dict[str, str] = {
    "ioncannon": "ionbeam.sources.ioncannon:IonCannon",
    "sensor_community": "ionbeam.sources.sensor_community:SensorCommunity",
}
"""Every source by name, as ``module:Class``; a module is imported when its source is used."""

ALIASES: dict[str, str] = {"sensor.community": "sensor_community"}
"""Other names people give a source, such as that of its dataset."""


class SourceClass(Protocol):
    """What a source's class tells before there is an instance."""

    name: str
    metadata: IngestionMetadata
    settings_model: type[BaseModel]
    """The source's block of the configuration; keys it does not know are ignored."""
    max_span: timedelta
    """The longest span one command should ask for."""

    def __call__(self, settings: Any, fetcher: Fetcher) -> Source:
        """The source under these settings."""
        ...


def load(name: str) -> SourceClass:
    """The class of a source; `ConfigInvalid` when there is none of this name."""
    location = SOURCES.get(ALIASES.get(name, name))
    if location is None:
        near = difflib.get_close_matches(name, [*SOURCES, *ALIASES], n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(SOURCES)}"
        raise ConfigInvalid(f"there is no source {name!r}; {advice}")
    module, _, class_name = location.partition(":")
    return cast(SourceClass, getattr(import_module(module), class_name))
