import ionbeam_client
from ionbeam_client import constants, errors, models


def test_every_published_model_can_be_imported_from_here() -> None:
    assert set(models.__all__) == {
        "BaseVariable",
        "CanonicalStandard",
        "CanonicalVariable",
        "DataAvailableEvent",
        "DataIngestionMap",
        "DataSetAvailableEvent",
        "DatasetMetadata",
        "IngestDataCommand",
        "IngestionMetadata",
        "LatitudeAxis",
        "Link",
        "LongitudeAxis",
        "MetadataVariable",
        "StartSourceCommand",
        "TimeAxis",
    }
    assert all(hasattr(models, name) for name in models.__all__)


def test_the_published_names_of_the_package() -> None:
    published = {
        "IonbeamClient",
        "ingest",
        "IonbeamClientConfig",
        "ExportHandler",
        "TriggerHandler",
        "coerce_types",
    }
    assert published <= set(ionbeam_client.__all__)
    assert all(hasattr(ionbeam_client, name) for name in ionbeam_client.__all__)


def test_the_published_constants() -> None:
    assert (constants.INGESTION_EXCHANGE, constants.INGESTION_KEY) == ("ionbeam.ingestion", "ingestV1")
    assert constants.INGESTION_QUEUE == "ionbeam.ingestion.ingestV1"
    assert constants.AXES == ("datetime", "lat", "lon")
    assert constants.MAX_CACHE_PERIOD.days == 7


def test_every_error_is_one_of_ours() -> None:
    assert all(issubclass(getattr(errors, name), errors.IonbeamError) for name in errors.__all__)
