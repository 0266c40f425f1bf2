"""Where exceptions become verdicts: once, for every handler on every broker.

A handler either returns or raises an error of `ionbeam.errors`; what that means for the message is
said by one table here:

====================================== ======= ==========================================
raised                                 verdict because
====================================== ======= ==========================================
nothing                                ACK     done
`Fenced`                               ACK     somebody else does it
`Retriable`                            RETRY   it may work later
`InvalidInput`, `Skippable`, `Fatal`   DEAD    it will never work as it is
anything else                          RETRY   a defect, logged with its traceback
====================================== ======= ==========================================
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

import structlog
from pydantic import BaseModel

from ionbeam.errors import Fatal, Fenced, InvalidInput, Retriable, Skippable
from ionbeam.messages.codec import decode
from ionbeam.ports import Delivery, Handler, Outcome, Verdict

log = structlog.get_logger(__name__)

LONGEST_DELAY_S = 60.0

M = TypeVar("M", bound=BaseModel)


def handling(model: type[M], handler: Callable[[M], Awaitable[None]]) -> Handler:
    """A broker handler that decodes a ``model``, calls ``handler`` with it and answers for it.

    Everything logged meanwhile carries ``message_id`` and ``kind``.
    """

    async def decoded(delivery: Delivery) -> Outcome:
        await handler(decode(model, delivery.body))
        return Outcome(Verdict.ACK)

    async def handle(delivery: Delivery) -> Outcome:
        with structlog.contextvars.bound_contextvars(message_id=delivery.message_id, kind=model.__name__):
            started = perf_counter()
            outcome = await _answer(decoded, delivery)
            _report(delivery, outcome, perf_counter() - started)
            return outcome

    return handle


async def outcome_of(handler: Handler, delivery: Delivery, max_deliveries: int) -> Outcome:
    """What is to become of a delivery; RETRY turns into DEAD at the last delivery allowed."""
    outcome = await _answer(handler, delivery)
    if outcome.verdict is Verdict.RETRY and delivery.attempt >= max_deliveries:
        return Outcome(Verdict.DEAD, f"given up after {delivery.attempt} deliveries: {outcome.reason}")
    return outcome


def backoff(attempt: int, first_s: float) -> float:
    """Seconds before delivery ``attempt + 1``: doubling from ``first_s``, at most a minute."""
    return float(min(first_s * 2 ** (attempt - 1), LONGEST_DELAY_S))


async def _answer(handler: Handler, delivery: Delivery) -> Outcome:
    try:
        return await handler(delivery)
    except Fenced as error:
        return Outcome(Verdict.ACK, str(error))
    except Retriable as error:
        return Outcome(Verdict.RETRY, _reason(error))
    except (InvalidInput, Skippable, Fatal) as error:
        return Outcome(Verdict.DEAD, _reason(error))
    except Exception as error:
        log.exception("handler failed", queue=delivery.queue, attempt=delivery.attempt)
        return Outcome(Verdict.RETRY, _reason(error))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _report(delivery: Delivery, outcome: Outcome, seconds: float) -> None:
    tell = log.debug if outcome.verdict is Verdict.ACK else log.warning
    tell(
        "message handled",
        queue=delivery.queue,
        verdict=outcome.verdict.value,
        reason=outcome.reason,
        attempt=delivery.attempt,
        seconds=round(seconds, 6),
    )
