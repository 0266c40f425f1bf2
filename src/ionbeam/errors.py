"""Everything that can go wrong, grouped by what the caller should do about it.

::

    IonbeamError
    ├── Retriable               wait, then do the same again
    │   ├── SourceUnavailable
    │   ├── StoreUnavailable
    │   ├── BrokerUnavailable
    │   └── Busy
    ├── Fatal                   stop: a person has to change something
    │   ├── ConfigInvalid
    │   ├── SourceRejected
    │   └── ExtraMissing
    ├── Skippable               put this item aside with its reason, go on with the others
    │   └── SourceMalformed
    ├── InvalidInput            what came in can never work; quarantine it with the reason
    │   ├── NaiveDatetime
    │   ├── MessageInvalid
    │   ├── MapInvalid
    │   ├── PayloadMissing
    │   └── PayloadInvalid
    ├── ObjectExists            a create-only put met an object that is already there
    ├── ObjectMissing
    ├── ObjectCorrupt           an object's bytes are damaged
    └── Fenced                  another worker holds the work now; drop the result

A class's docstring is its message when it is raised without one.
"""


class IonbeamError(Exception):
    """Something went wrong in Ionbeam."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or type(self).__name__).strip()


class Retriable(IonbeamError):
    """This failed for now; the same call may succeed later."""


class SourceUnavailable(Retriable):
    """The source cannot be reached or answers with a server error."""


class StoreUnavailable(Retriable):
    """The store cannot be reached."""


class BrokerUnavailable(Retriable):
    """The message broker cannot be reached."""


class Busy(Retriable):
    """Another worker is doing this right now."""


class Fatal(IonbeamError):
    """This cannot work until somebody changes something."""


class ConfigInvalid(Fatal):
    """The configuration is not valid."""


class SourceRejected(Fatal):
    """The source refuses us: wrong credentials or a request it does not allow."""


class ExtraMissing(Fatal):
    """An optional library is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'ionbeam[{extra}]'")


class Skippable(IonbeamError):
    """This item is put aside; the others go on."""


class SourceMalformed(Skippable):
    """The source answered with something its format does not allow."""


class InvalidInput(IonbeamError, ValueError):
    """What came in can never work."""


class NaiveDatetime(InvalidInput):
    """A datetime without a zone says nothing about when; give it one, such as 2024-01-01T00:00:00Z."""


class MessageInvalid(InvalidInput):
    """A message does not have the form its model asks for."""


class MapInvalid(InvalidInput):
    """An ingestion map declares something that cannot work."""


class PayloadMissing(InvalidInput):
    """The payload a command points to is not there."""


class PayloadInvalid(InvalidInput):
    """The payload cannot be read as the map describes it."""


class ObjectExists(IonbeamError):
    """An object with this key already exists."""


class ObjectMissing(IonbeamError):
    """There is no object with this key."""


class ObjectCorrupt(IonbeamError):
    """The bytes of this object are damaged."""


class Fenced(IonbeamError):
    """Another worker took this work over."""
