"""What a call of the client raises, and what to do about it.

`Retriable`: try again later. `Fatal`: change the configuration. `InvalidInput` (a `ValueError`):
change what was given. Using the client in the wrong order is a plain `RuntimeError`.
"""

from ionbeam.errors import (
    BrokerUnavailable,
    ConfigInvalid,
    ExtraMissing,
    Fatal,
    InvalidInput,
    IonbeamError,
    MapInvalid,
    MessageInvalid,
    NaiveDatetime,
    ObjectExists,
    ObjectMissing,
    PayloadInvalid,
    Retriable,
    Skippable,
    StoreUnavailable,
)

__all__ = [
    "BrokerUnavailable",
    "ConfigInvalid",
    "ExtraMissing",
    "Fatal",
    "InvalidInput",
    "IonbeamError",
    "MapInvalid",
    "MessageInvalid",
    "NaiveDatetime",
    "ObjectExists",
    "ObjectMissing",
    "PayloadInvalid",
    "Retriable",
    "Skippable",
    "StoreUnavailable",
]
