"""The JSON of every message, byte for byte as published, and everything older senders may write."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from ionbeam.errors import MessageInvalid
from ionbeam.messages.codec import decode, encode
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent

ID = "00000000-0000-0000-0000-000000000001"
DATASET = (
    '{"name":"example_weather","description":"Example","aggregation_span":"PT1H",'
    '"source_links":[{"mime_type":"text/html","title":"t","href":"https://x"}],"keywords":["weather"],'
    '"subject_to_change_window":"PT0S"}'
)
METADATA = (
    f'{{"dataset":{DATASET},'
    '"ingestion_map":{"datetime":{"dtype":"datetime64[ns, UTC]","from_col":"time"},'
    '"lat":{"dtype":"float64","standard_name":"latitude","cf_unit":"degrees_north","from_col":null},'
    '"lon":{"dtype":"float64","standard_name":"longitude","cf_unit":"degrees_east","from_col":null},'
    '"canonical_variables":[{"dtype":"float64","standard_name":"air_temperature","level":2.0,"method":"point",'
    '"period":"PT0S","column":"T0","cf_unit":"degC"}],'
    '"metadata_variables":[{"dtype":"string","column":"station_id"}]},"version":1}'
)
SPAN = '"start_time":"2024-01-01T00:00:00Z","end_time":"2024-01-01T01:00:00Z"'
PUBLISHED: dict[type[BaseModel], str] = {
    StartSourceCommand: f'{{"id":"{ID}","source_name":"meteotracker",{SPAN}}}',
    IngestDataCommand: (
        f'{{"id":"{ID}","metadata":{METADATA},'
        '"payload_location":"raw/example_weather/20240101T000000Z-20240101T010000Z_20240101T010203Z",'
        f"{SPAN}}}"
    ),
    DataAvailableEvent: f'{{"id":"{ID}","metadata":{METADATA},{SPAN}}}',
    DataSetAvailableEvent: (
        f'{{"id":"{ID}","metadata":{DATASET},'
        f'"dataset_location":"example_weather/20240101T000000_PT1H.parquet",{SPAN}}}'
    ),
}
MODELS = list(PUBLISHED)


def form(model: type[BaseModel], **changed: object) -> bytes:
    """The published message with some keys changed."""
    return json.dumps(json.loads(PUBLISHED[model]) | changed).encode()


@pytest.mark.parametrize("model", MODELS)
def test_a_message_reads_and_writes_the_published_bytes(model: type[BaseModel]) -> None:
    body = PUBLISHED[model].encode()
    assert encode(decode(model, body)) == body


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_required(model: type[BaseModel]) -> None:
    for key in json.loads(PUBLISHED[model]):
        body = {k: v for k, v in json.loads(PUBLISHED[model]).items() if k != key}
        with pytest.raises(MessageInvalid, match=f"not a valid {model.__name__}.*{key}"):
            decode(model, json.dumps(body).encode())


@pytest.mark.parametrize("model", MODELS)
def test_unknown_keys_are_ignored(model: type[BaseModel]) -> None:
    assert encode(decode(model, form(model, trace="abc"))) == PUBLISHED[model].encode()


@pytest.mark.parametrize("model", MODELS)
def test_a_message_without_a_zone_is_refused_with_what_to_write(model: type[BaseModel]) -> None:
    with pytest.raises(MessageInvalid, match=r"start_time.*no time zone; write 2024-01-01T00:00:00Z"):
        decode(model, form(model, start_time="2024-01-01T00:00:00"))
    with pytest.raises(MessageInvalid, match=r"end_time.*no time zone"):
        decode(model, form(model, end_time="2024-01-01"))


@pytest.mark.parametrize("model", MODELS)
def test_a_backward_span_is_refused(model: type[BaseModel]) -> None:
    with pytest.raises(MessageInvalid, match="lies before start_time"):
        decode(model, form(model, end_time="2023-12-31T23:59:59Z"))


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_span_is_allowed(model: type[BaseModel]) -> None:
    message = decode(model, form(model, end_time="2024-01-01T00:00:00Z"))
    assert message.span.length == timedelta(0)


@pytest.mark.parametrize("model", MODELS)
def test_a_time_no_calendar_holds_is_refused_and_not_raised_through(model: type[BaseModel]) -> None:
    with pytest.raises(MessageInvalid, match="outside the years"):
        decode(model, form(model, end_time="9999-12-31T23:59:59-05:00"))


@pytest.mark.parametrize("model", MODELS)
def test_other_offsets_are_written_in_utc_and_parts_of_seconds_are_kept(model: type[BaseModel]) -> None:
    message = decode(
        model, form(model, start_time="2024-01-01T01:00:00+02:00", end_time="2024-01-01T00:00:00.5Z")
    )
    written = json.loads(encode(message))
    assert written["start_time"] == "2023-12-31T23:00:00Z"
    assert written["end_time"] == "2024-01-01T00:00:00.500000Z"
    assert message.span.start == datetime(2023, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff\xfe", b'{"id":'])
@pytest.mark.parametrize("model", MODELS)
def test_a_body_that_is_no_message_is_refused(model: type[BaseModel], body: bytes) -> None:
    with pytest.raises(MessageInvalid, match="not a valid"):
        decode(model, body)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(MessageInvalid) as refusal:
        decode(StartSourceCommand, b'{"id":"x","start_time":1,"end_time":"?"}')
    assert all(key in str(refusal.value) for key in ("id:", "source_name:", "end_time:"))


def test_use_cache_is_written_only_where_it_is_set() -> None:
    plain = decode(StartSourceCommand, form(StartSourceCommand))
    assert plain.use_cache is False
    for off in (form(StartSourceCommand), form(StartSourceCommand, use_cache=False)):
        assert b"use_cache" not in encode(decode(StartSourceCommand, off))
    cached = encode(plain.model_copy(update={"use_cache": True}))
    assert json.loads(cached)["use_cache"] is True
    assert decode(StartSourceCommand, cached).use_cache is True


def test_identity_travels_only_where_a_map_names_it() -> None:
    command = decode(IngestDataCommand, form(IngestDataCommand))
    assert b"identity" not in encode(command)
    named = json.loads(PUBLISHED[IngestDataCommand])
    named["metadata"]["ingestion_map"]["identity"] = ["station_id"]
    again = json.loads(encode(decode(IngestDataCommand, json.dumps(named).encode())))
    assert again == named


def test_locations_may_be_given_as_paths() -> None:
    command = decode(IngestDataCommand, form(IngestDataCommand))
    moved = IngestDataCommand.model_validate(
        command.model_dump() | {"payload_location": Path("/a/b.parquet")}
    )
    assert json.loads(encode(moved))["payload_location"] == "/a/b.parquet"
    event = DataSetAvailableEvent(
        id=UUID(ID),
        metadata={"name": "netatmo"},
        dataset_location=Path("/datasets/netatmo_20240101T120000_PT1H.parquet"),
        start_time=datetime(2024, 1, 1, 12, tzinfo=UTC),
        end_time=datetime(2024, 1, 1, 13, tzinfo=UTC),
    )
    assert event.dataset_location == "/datasets/netatmo_20240101T120000_PT1H.parquet"


def test_a_location_is_still_text_and_nothing_else() -> None:
    with pytest.raises(ValidationError, match="payload_location"):
        IngestDataCommand.model_validate(json.loads(PUBLISHED[IngestDataCommand]) | {"payload_location": 7})


def test_a_dataset_event_carries_the_dataset_and_not_its_map() -> None:
    event = decode(DataSetAvailableEvent, form(DataSetAvailableEvent, metadata={"name": "netatmo"}))
    assert event.metadata.name == "netatmo"
    assert not hasattr(event.metadata, "ingestion_map")
