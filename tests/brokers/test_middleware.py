import pytest
import structlog
from pydantic import BaseModel

from ionbeam.brokers.middleware import LONGEST_DELAY_S, backoff, handling, outcome_of
from ionbeam.errors import Busy, ConfigInvalid, Fenced, IonbeamError, PayloadInvalid, SourceMalformed
from ionbeam.ports import Delivery, Outcome, Verdict


class Order(BaseModel):
    amount: int


def delivery(body: bytes = b'{"amount": 3}', attempt: int = 1) -> Delivery:
    return Delivery("orders", body, "the id", attempt)


async def test_a_handler_receives_the_decoded_model() -> None:
    received: list[Order] = []

    async def take(order: Order) -> None:
        received.append(order)

    assert await handling(Order, take)(delivery()) == Outcome(Verdict.ACK)
    assert received == [Order(amount=3)]


async def test_what_cannot_be_decoded_is_dead_and_never_handled() -> None:
    async def never(order: Order) -> None:
        pytest.fail("must not be called")

    outcome = await handling(Order, never)(delivery(b'{"amount": "many"}'))
    assert outcome.verdict is Verdict.DEAD
    assert "amount" in outcome.reason


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Busy("held by another"), Verdict.RETRY),
        (Fenced("taken over"), Verdict.ACK),
        (PayloadInvalid("no rows"), Verdict.DEAD),
        (SourceMalformed("not JSON"), Verdict.DEAD),
        (ConfigInvalid("no such source"), Verdict.DEAD),
        (IonbeamError("something else"), Verdict.RETRY),
        (ZeroDivisionError("a defect"), Verdict.RETRY),
    ],
)
async def test_each_kind_of_error_has_its_verdict_and_is_the_reason(
    error: Exception, verdict: Verdict
) -> None:
    async def failing(order: Order) -> None:
        raise error

    outcome = await handling(Order, failing)(delivery())
    assert outcome.verdict is verdict
    assert str(error) in outcome.reason


async def test_a_defect_is_logged_with_its_traceback_and_the_message_it_belongs_to() -> None:
    async def failing(order: Order) -> None:
        raise ZeroDivisionError("a defect")

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as events:
        await handling(Order, failing)(delivery())
    failed, handled = events
    assert failed["event"] == "handler failed"
    assert failed["exc_info"] is True
    assert handled["event"] == "message handled"
    assert handled["seconds"] >= 0
    for event in events:
        assert (event["message_id"], event["kind"], event["queue"]) == ("the id", "Order", "orders")


async def test_log_context_ends_with_the_message() -> None:
    async def take(order: Order) -> None:
        assert structlog.contextvars.get_contextvars() == {"message_id": "the id", "kind": "Order"}

    assert (await handling(Order, take)(delivery())).verdict is Verdict.ACK
    assert structlog.contextvars.get_contextvars() == {}


async def test_the_last_delivery_allowed_turns_a_retry_into_the_end() -> None:
    async def later(_: Delivery) -> Outcome:
        return Outcome(Verdict.RETRY, "still busy")

    assert await outcome_of(later, delivery(attempt=4), 5) == Outcome(Verdict.RETRY, "still busy")
    last = await outcome_of(later, delivery(attempt=5), 5)
    assert last.verdict is Verdict.DEAD
    assert "5 deliveries" in last.reason
    assert "still busy" in last.reason


def test_delays_double_up_to_a_minute() -> None:
    assert [backoff(attempt, 0.5) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert backoff(20, 0.5) == LONGEST_DELAY_S
