"""The dataset models: lenient in, exact out."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from ionbeam.observations.dataset import DataIngestionMap, DatasetMetadata, IngestionMetadata, Link

MAP = {
    "datetime": {},
    "lat": {"standard_name": "latitude", "cf_unit": "degrees_north"},
    "lon": {"standard_name": "longitude", "cf_unit": "degrees_east"},
    "canonical_variables": [],
    "metadata_variables": [],
}


def ingestion_map(*tags: str, **more: object) -> DataIngestionMap:
    return DataIngestionMap.model_validate(MAP | {"metadata_variables": [{"column": t} for t in tags]} | more)


def test_a_name_alone_describes_a_dataset() -> None:
    made = DatasetMetadata(name="netatmo")
    assert made.model_dump_json() == (
        '{"name":"netatmo","description":"","aggregation_span":"P1D","source_links":[],"keywords":[],'
        '"subject_to_change_window":"PT0S"}'
    )
    assert made.aggregation_span == timedelta(days=1)


@pytest.mark.parametrize("name", [{}, {"name": ""}, {"name": None}])
def test_a_dataset_without_a_name_is_refused(name: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="name"):
        DatasetMetadata.model_validate(name)


@pytest.mark.parametrize("missing", ["mime_type", "title", "href"])
def test_a_link_needs_all_its_parts(missing: str) -> None:
    link = {"mime_type": "text/html", "title": "t", "href": "https://example.org"}
    assert Link(**link).model_dump() == link
    with pytest.raises(ValidationError, match=missing):
        Link.model_validate({k: v for k, v in link.items() if k != missing})


def test_unknown_keys_are_ignored_everywhere() -> None:
    plain = {"dataset": {"name": "a"}, "ingestion_map": MAP}
    noisy = {
        "dataset": {"name": "a", "licence": "CC0"},
        "ingestion_map": MAP | {"altitude": {}, "datetime": {"zone": "UTC"}},
        "owner": "somebody",
    }
    assert IngestionMetadata.model_validate(noisy) == IngestionMetadata.model_validate(plain)


def test_the_version_is_1_unless_told_otherwise() -> None:
    assert IngestionMetadata.model_validate({"dataset": {"name": "a"}, "ingestion_map": MAP}).version == 1


@pytest.mark.parametrize("missing", MAP)
def test_a_map_needs_its_axes_and_both_lists(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        DataIngestionMap.model_validate({k: v for k, v in MAP.items() if k != missing})


@pytest.mark.parametrize("span", ["PT0S", "-PT1H", 0, "PT0.5S", "PT1.000001S", "PT59.5S", "P366DT1S", "P2Y"])
def test_a_window_has_whole_seconds_up_to_a_year(span: object) -> None:
    with pytest.raises(ValidationError, match="whole seconds, from PT1S to P366D"):
        DatasetMetadata.model_validate({"name": "a", "aggregation_span": span})


@pytest.mark.parametrize("span", ["PT1S", "PT90S", "P366D"])
def test_the_shortest_and_longest_windows_are_accepted(span: str) -> None:
    made = DatasetMetadata.model_validate({"name": "a", "aggregation_span": span})
    assert DatasetMetadata.model_validate_json(made.model_dump_json()) == made


def test_the_allowed_lateness_is_not_negative() -> None:
    with pytest.raises(ValidationError, match="must not be negative"):
        DatasetMetadata.model_validate({"name": "a", "subject_to_change_window": "-PT1S"})


@pytest.mark.parametrize(
    ("given_form", "value", "written"),
    [
        ("PT1H", timedelta(hours=1), "PT1H"),
        ("PT05M", timedelta(minutes=5), "PT5M"),
        ("01:30:00", timedelta(minutes=90), "PT1H30M"),
        (3600, timedelta(hours=1), "PT1H"),
        ("P1D", timedelta(days=1), "P1D"),
        ("P1M", timedelta(days=30), "P30D"),
        ("P1Y", timedelta(days=365), "P1Y"),
    ],
)
def test_durations_are_read_in_all_published_forms(
    given_form: object, value: timedelta, written: str
) -> None:
    made = DatasetMetadata.model_validate({"name": "a", "aggregation_span": given_form})
    assert made.aggregation_span == value
    assert made.model_dump(mode="json")["aggregation_span"] == written
    assert DatasetMetadata.model_validate_json(made.model_dump_json()) == made


def test_seconds_as_text_are_refused() -> None:
    with pytest.raises(ValidationError, match="aggregation_span"):
        DatasetMetadata.model_validate({"name": "a", "aggregation_span": "3600"})


def test_identity_is_left_out_of_json_where_a_map_does_not_name_it() -> None:
    assert "identity" not in ingestion_map("station_id").model_dump_json()
    assert "identity" not in ingestion_map("station_id", identity=None).model_dump()


def test_a_named_identity_survives_json() -> None:
    named = ingestion_map("station_id", "living_lab", identity=["station_id"])
    assert named.model_dump_json().endswith('"identity":["station_id"]}')
    assert DataIngestionMap.model_validate_json(named.model_dump_json()) == named


def test_identity_is_every_metadata_column_but_the_quality_flags() -> None:
    assert ingestion_map("station_id", "air_temperature_qc", "author").identity_columns() == [
        "station_id",
        "author",
    ]


@pytest.mark.parametrize("tags", [(), ("air_temperature_qc",)])
def test_without_identity_columns_the_position_tells_observations_apart(tags: tuple[str, ...]) -> None:
    assert ingestion_map(*tags).identity_columns() == ["lat", "lon"]
    assert ingestion_map("station_id", identity=[]).identity_columns() == ["lat", "lon"]


def test_a_named_identity_replaces_the_default() -> None:
    assert ingestion_map("station_id", "author", identity=["author"]).identity_columns() == ["author"]
