"""Messages as bytes and back: JSON, as published."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ionbeam.errors import MessageInvalid
from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent

Message = StartSourceCommand | IngestDataCommand | DataAvailableEvent | DataSetAvailableEvent

M = TypeVar("M", bound=BaseModel)


def encode(message: BaseModel) -> bytes:
    """The JSON body of a message."""
    return message.model_dump_json().encode()


def decode(model: type[M], body: bytes) -> M:
    """Read a body; `MessageInvalid` names every field that is wrong."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'body'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise MessageInvalid(f"not a valid {model.__name__}: {faults}") from error
