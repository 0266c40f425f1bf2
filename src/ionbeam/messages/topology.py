"""Every exchange and queue, in one table: code declares from it, the documentation is printed from it.

Work queues hold commands for one consumer; fan-out exchanges hand events to one durable queue per
reader. ``ionbeam.ingestion.ingestV1`` serves both publishing styles: the default exchange with the
queue's name, and the direct exchange ``ionbeam.ingestion`` with the key ``ingestV1``.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from ionbeam.messages.commands import IngestDataCommand, StartSourceCommand
from ionbeam.messages.events import DataAvailableEvent, DataSetAvailableEvent

INGESTION_EXCHANGE = "ionbeam.ingestion"
INGESTION_KEY = "ingestV1"
INGESTION_QUEUE = "ionbeam.ingestion.ingestV1"
DATA_AVAILABLE = "ionbeam.data.available"
AGGREGATION_QUEUE = "ionbeam.data.available.aggregation"
DATASET_AVAILABLE = "ionbeam.dataset.available"


class ExchangeKind(StrEnum):
    """How an exchange chooses its queues."""

    DIRECT = "direct"
    FANOUT = "fanout"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: ExchangeKind
    message: type
    publisher: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue, bound to ``exchange`` with ``routing_key`` or reached by its name alone."""

    name: str
    message: type
    publisher: str
    subscriber: str
    purpose: str
    exchange: str = ""
    routing_key: str = ""


EXCHANGES = (
    Exchange(
        INGESTION_EXCHANGE,
        ExchangeKind.DIRECT,
        IngestDataCommand,
        "sources and clients",
        f"takes ingest commands under the key `{INGESTION_KEY}`",
    ),
    Exchange(
        DATA_AVAILABLE,
        ExchangeKind.FANOUT,
        DataAvailableEvent,
        "ingestion",
        "tells that observations have landed",
    ),
    Exchange(
        DATASET_AVAILABLE,
        ExchangeKind.FANOUT,
        DataSetAvailableEvent,
        "aggregation",
        "tells that a window has a new revision",
    ),
)

QUEUES = (
    Queue(
        INGESTION_QUEUE,
        IngestDataCommand,
        "sources and clients",
        "ingestion",
        "orders to ingest a payload",
        INGESTION_EXCHANGE,
        INGESTION_KEY,
    ),
    Queue(
        AGGREGATION_QUEUE,
        DataAvailableEvent,
        "ingestion",
        "aggregation",
        "observations to close into windows",
        DATA_AVAILABLE,
    ),
)


def sanitised(name: str) -> str:
    """A name as it appears inside a queue name; an empty one becomes ``unknown``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip()) or "unknown"


def source_queue(source_name: str) -> Queue:
    """The work queue that starts a source: ``ionbeam.source.{name}.start``."""
    return Queue(
        f"ionbeam.source.{sanitised(source_name)}.start",
        StartSourceCommand,
        "scheduler",
        f"source {source_name}",
        "asks the source for a span",
    )


def projection_queue(projection_name: str) -> Queue:
    """The queue in which a projection or exporter finds new window revisions."""
    return Queue(
        f"{DATASET_AVAILABLE}.{sanitised(projection_name)}",
        DataSetAvailableEvent,
        "aggregation",
        f"projection {projection_name}",
        "window revisions to project",
        DATASET_AVAILABLE,
    )
