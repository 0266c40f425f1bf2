"""`IonbeamClient`: one connection, one store, any number of handlers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from functools import cached_property
from types import TracebackType
from uuid import UUID, uuid4

import pyarrow as pa
import structlog

from ionbeam.brokers.middleware import handling
from ionbeam.errors import BrokerUnavailable, ConfigInvalid, ExtraMissing, PayloadInvalid
from ionbeam.ingestion.payload import Batches, each, write_payload
from ionbeam.messages.codec import encode
from ionbeam.messages.topology import (
    EXCHANGES,
    INGESTION_EXCHANGE,
    INGESTION_KEY,
    INGESTION_QUEUE,
    QUEUES,
    Queue,
    projection_queue,
    source_queue,
)
from ionbeam.observations.columns import raw_schema
from ionbeam.observations.timespan import TimeSpan
from ionbeam.ports import BatchStore, Broker, Handler, Subscription
from ionbeam.stores.local import LocalBatchStore
from ionbeam_client.config import IonbeamClientConfig
from ionbeam_client.models import (
    DataSetAvailableEvent,
    IngestDataCommand,
    IngestionMetadata,
    StartSourceCommand,
)
from ionbeam_client.transfer import read_dataset

log = structlog.get_logger(__name__)

TriggerHandler = Callable[[datetime, datetime], Awaitable[None]]
"""Fetches and ingests what there is between two times."""

ExportHandler = Callable[[DataSetAvailableEvent, AsyncIterator[pa.RecordBatch]], Awaitable[None]]
"""Takes a window's new revision: the event and its rows."""


class IonbeamClient:
    """Speaks with an Ionbeam platform.

    Use it with ``async with``. Without ``broker`` it connects to RabbitMQ at ``config.amqp_url``;
    without ``store`` payloads lie in ``config.arrow_store_path``, which the platform must share.
    A broker that was given is left open.
    """

    def __init__(
        self,
        config: IonbeamClientConfig | None = None,
        *,
        broker: Broker | None = None,
        store: BatchStore | None = None,
    ) -> None:
        self._config = config or IonbeamClientConfig()
        self._given_broker = broker
        self._given_store = store
        self._broker: Broker | None = None
        self._handlers: dict[Queue, Handler] = {}
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> "IonbeamClient":
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def register_trigger_handler(self, source_name: str, handler: TriggerHandler) -> None:
        """Have ``handler`` called whenever the platform wants a span of ``source_name``.

        A handler that fails is called again a few times, then the command goes to the dead letters.
        `RuntimeError` once connected, `ValueError` when the source has a handler already.
        """

        async def trigger(command: StartSourceCommand) -> None:
            await handler(command.start_time, command.end_time)

        self._register(source_queue(source_name), handling(StartSourceCommand, trigger))

    def register_export_handler(
        self,
        exporter_name: str,
        handler: ExportHandler,
        dataset_filter: set[str] | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Have ``handler`` called with every new window revision of the datasets in the filter.

        Exporters of one name share the work; each name gets every event. Batches have at most
        ``batch_size`` rows. Failures and errors as for `register_trigger_handler`.
        """

        async def export(event: DataSetAvailableEvent) -> None:
            if dataset_filter is not None and event.metadata.name not in dataset_filter:
                return
            rows = batch_size or self._config.write_batch_size
            batches = read_dataset(self._store, event.dataset_location, rows)
            async with aclosing(batches) as stream:
                await handler(event, stream)

        self._register(projection_queue(exporter_name), handling(DataSetAvailableEvent, export))

    async def connect(self) -> None:
        """Connect, make sure the queues exist, and start the handlers; harmless when connected.

        `BrokerUnavailable`, `ConfigInvalid` or `ExtraMissing` when that does not work.
        """
        if self._broker is not None:
            return
        broker = self._given_broker or _rabbit(self._config)
        ingestion = [queue for queue in QUEUES if queue.name == INGESTION_QUEUE]
        try:
            await broker.declare(EXCHANGES, [*ingestion, *self._handlers])
            # Handlers may ingest from their first message on.
            self._broker = broker
            for queue, handler in self._handlers.items():
                self._subscriptions.append(await broker.consume(queue.name, handler))
        except BaseException:
            self._broker = broker
            await self.close()
            raise
        log.info("client connected", handlers=len(self._handlers))

    async def close(self) -> None:
        """Take no more messages, let the handlers finish what they have in hand, disconnect."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.cancel() for subscription in subscriptions))
        broker, self._broker = self._broker, None
        if broker is not None and self._given_broker is None:
            await broker.close()

    async def ingest(
        self,
        batch_stream: Batches,
        metadata: IngestionMetadata,
        start_time: datetime,
        end_time: datetime,
        *,
        ingestion_id: UUID | None = None,
        allow_empty: bool = False,
    ) -> IngestDataCommand:
        """Store the stream as a payload and order its ingestion; the command that was sent.

        The payload claims to be all there is in ``[start_time, end_time)``. Batches may bring their
        columns in any order and in any type that converts; undeclared columns are left out. Given the
        same ``ingestion_id`` again the platform ingests once.

        With ``allow_empty`` a stream without rows is an answer: there was nothing in the span, and it
        counts as covered.

        `RuntimeError` before connecting; `ValueError` for an empty stream or a naive datetime;
        `BrokerUnavailable` when the command could not be sent: the same call may then be repeated.
        """
        if self._broker is None:
            raise RuntimeError("the client is not connected; use 'async with' or connect() first")
        if not isinstance(start_time, datetime) or not isinstance(end_time, datetime):
            raise TypeError("start_time and end_time must be datetimes with a time zone")
        span = TimeSpan(start_time, end_time)
        payload = await write_payload(
            self._store,
            metadata.dataset.name,
            span,
            batch_stream if allow_empty else _not_empty(batch_stream),
            raw_schema(metadata.ingestion_map),
        )
        command = IngestDataCommand(
            id=ingestion_id or uuid4(),
            metadata=metadata,
            payload_location=payload.location,
            start_time=span.start,
            end_time=span.end,
        )
        await self._send(self._broker, command)
        log.info(
            "ingestion ordered",
            dataset=metadata.dataset.name,
            ingestion_id=str(command.id),
            rows=payload.rows,
        )
        return command

    @cached_property
    def _store(self) -> BatchStore:
        return self._given_store or LocalBatchStore(self._config.arrow_store_path)

    def _register(self, queue: Queue, handler: Handler) -> None:
        if self._broker is not None:
            raise RuntimeError("the client is connected already; register handlers before connecting")
        if queue in self._handlers:
            raise ValueError(f"{queue.subscriber} has a handler already")
        self._handlers[queue] = handler

    async def _send(self, broker: Broker, command: IngestDataCommand) -> None:
        body = encode(command)
        for offer in range(1, self._config.max_retries + 1):
            try:
                await broker.publish(INGESTION_EXCHANGE, INGESTION_KEY, body, message_id=str(command.id))
                return
            except BrokerUnavailable as error:
                if offer == self._config.max_retries:
                    log.error(
                        "command not sent", ingestion_id=str(command.id), payload=command.payload_location
                    )
                    raise
                log.warning("command delayed", ingestion_id=str(command.id), offer=offer, reason=str(error))
                await asyncio.sleep(self._config.retry_delay * 2 ** (offer - 1))


def _rabbit(config: IonbeamClientConfig) -> Broker:
    if config.amqp_url is None:
        raise ConfigInvalid("amqp_url is None; name a RabbitMQ server or give the client a broker")
    try:
        from ionbeam.brokers.rabbit import RabbitBroker
    except ModuleNotFoundError as error:
        raise ExtraMissing("rabbit", "a client with amqp_url") from error
    return RabbitBroker(config.amqp_url, timeout=config.connection_timeout)


async def _not_empty(batches: Batches) -> AsyncIterator[pa.RecordBatch | pa.Table]:
    """The same stream; `PayloadInvalid` at its end when it had no rows."""
    rows = 0
    async for batch in each(batches):
        yield batch
        rows += batch.num_rows
    if not rows:
        raise PayloadInvalid("the batch stream is empty; there is nothing to ingest")
