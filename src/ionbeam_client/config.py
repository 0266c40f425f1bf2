"""What the client has to be told."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field


class IonbeamClientConfig(BaseModel):
    """Where the broker is and where payloads lie; keys it does not know are ignored."""

    amqp_url: str | None = Field("amqp://guest:guest@localhost:5672/", repr=False)
    """RabbitMQ; None only where the client is given a broker."""
    connection_timeout: float = Field(30.0, gt=0)
    """Seconds."""
    max_retries: int = Field(3, ge=1)
    """How often a command is offered to the broker before ``ingest`` fails."""
    retry_delay: float = Field(1.0, ge=0)
    """Seconds before the second offer, twice as many before each further one."""
    write_batch_size: int = Field(65_536, ge=1)
    """Most rows in a batch handed to an export handler."""
    arrow_store_path: Path = Path("./ionbeam-data")
    """The folder shared with the platform; made when it is first needed."""
    arrow_store_type: Literal["local_filesystem"] = "local_filesystem"
