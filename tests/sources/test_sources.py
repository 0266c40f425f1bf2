from datetime import timedelta

import pytest
from pydantic import BaseModel

from ionbeam.errors import ConfigInvalid
from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.sources import ALIASES, SOURCES, load


@pytest.mark.parametrize("name", [*SOURCES, *ALIASES])
def test_every_source_tells_what_it_needs_before_it_is_made(name: str):
    source = load(name)
    assert source.name == ALIASES.get(name, name)
    assert issubclass(source.settings_model, BaseModel)
    assert isinstance(source.metadata, IngestionMetadata)
    assert source.max_span > timedelta(0)


@pytest.mark.parametrize("name", SOURCES)
def test_settings_need_nothing_and_ignore_what_they_do_not_know(name: str):
    model = load(name).settings_model
    assert model.model_validate({"some_future_key": 1}) == model()


def test_an_unknown_source_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigInvalid, match="did you mean 'ioncannon'"):
        load("ion_cannon")


def test_a_name_like_no_source_is_refused_with_all_names():
    with pytest.raises(ConfigInvalid, match="choose from ioncannon, sensor_community"):
        load("xyz")
