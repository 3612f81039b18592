"""Makes the calls that wait in the outbox: one task, several calls at once, each until it is heard.

A call is claimed first, which moves the moment it is due again past the time one takes; then it is made,
then what came of it is written down. Should this process die in between, whoever looks next makes the
call once more, under the same id: it arrives at least once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from perdure.actors.execution.services import Services
from perdure.actors.kernel import Wakeup
from perdure.actors.log import get_logger
from perdure.runtime.webhooks.posting import CALL_S, TIMEOUT_S, Post, host_of
from perdure.runtime.webhooks.signing import ID, TIMESTAMP, InvalidSignature, sign
from perdure.store.errors import PerdureError
from perdure.store.scripts.deliveries import DEAD, DELIVERED, PENDING, ClaimDelivery, Delivery, SettleDelivery

LOOK_S: Final = 60.0  # how often the outbox is looked at though nothing is due: the clock may have jumped
REST_S: Final = 5.0  # after a failure of the store
PAGE: Final = 100  # calls of one look
AT_ONCE: Final = 8  # calls on their way; each has a thread
CLAIM_MS: Final = int((CALL_S + TIMEOUT_S) * 1000)  # longer than a call takes: who made it is dead by then
TRIES: Final = 12  # with the delays below that is 16 to 32 hours
DELAY_MS: Final = 5_000  # before the second try; each further one waits four times as long
DELAY_MS_MAX: Final = 6 * 3_600_000
GONE: Final = 410  # the receiver says that it never wants to hear of it again
REASON_MAX: Final = 500

log = get_logger("perdure.webhooks")


class Courier:
    """`run` is its task. `key_of` finds the key of a name; `post` makes one call."""

    def __init__(
        self,
        services: Services,
        *,
        post: Post,
        key_of: Callable[[str], str | None] = os.environ.get,
        look_s: float = LOOK_S,
    ) -> None:
        """Deliver what waits in that store's outbox."""
        self._services = services
        self._post = post
        self._key_of = key_of
        self._look_s = look_s
        self._wakeup = Wakeup(services.alarms)
        self._is_closing = False
        services.outbox.on_mail = self.ask

    def ask(self) -> None:
        """Look now: something was put into the outbox."""
        self._wakeup.set()

    def close(self) -> None:
        """Look once more, and leave the rest to others."""
        self._is_closing = True
        self._wakeup.set()

    async def run(self) -> None:
        """Deliver whatever is due, then rest until more is; ends after `close` when all that is due is."""
        while True:
            self._wakeup.clear()
            try:
                rest_s = await self.look()
            except PerdureError as error:
                log.warning("webhooks_not_delivered", error=str(error))
                rest_s = REST_S
            if self._is_closing and not self._wakeup.is_set:
                return
            await self._wakeup.wait(rest_s)

    async def look(self) -> float:
        """Make the calls that are due; answer the seconds until one is again. Raises what a store does."""
        services = self._services
        due = await services.store.deliveries_due(before=services.now_ms(), limit=PAGE)
        room = anyio.CapacityLimiter(AT_ONCE)
        failures: list[PerdureError] = []  # told when all are done: no call is cut off by another's

        async def one(delivery: Delivery) -> None:
            async with room:
                try:
                    await self._deliver(delivery)
                except PerdureError as error:
                    failures.append(error)

        async with anyio.create_task_group() as group:
            for delivery in due:
                group.start_soon(one, delivery)
        if failures:
            raise failures[0]
        next_due = await services.store.next_delivery_due()
        if next_due is None:
            return self._look_s
        return min(self._look_s, max(0.0, (next_due - services.now_ms()) / 1000))

    async def _deliver(self, delivery: Delivery) -> None:
        """Claim it, make the call, write down what came of it."""
        services = self._services
        claim = ClaimDelivery(id=delivery.id, attempts=delivery.attempts, until=services.now_ms() + CLAIM_MS)
        if await services.writer.write(claim) != 1:
            return
        attempt = delivery.attempts + 1
        status, reason = await self._call(delivery)
        settled = settle(
            delivery,
            attempt=attempt,
            status=status,
            reason=reason,
            now=services.now_ms(),
            chance=services.chance(),
        )
        await services.writer.write(settled)
        if settled.state != DELIVERED:
            name = "webhook_dead" if settled.state == DEAD else "webhook_failed"
            to = host_of(delivery.url)
            log.warning(name, delivery=delivery.id, to=to, attempt=attempt, reason=settled.reason)

    async def _call(self, delivery: Delivery) -> tuple[int | None, str | None]:
        """The status it was answered with, or why there was no answer."""
        try:
            return await self._post(delivery.url, self._headers(delivery), delivery.payload), None
        except Exception as error:  # noqa: BLE001 - whatever a place far away leads to, it ends this call alone
            return None, f"{type(error).__name__}: {error}"

    def _headers(self, delivery: Delivery) -> Mapping[str, str]:
        """The headers of the call, signed where a key is named. Raises InvalidSignature without the key."""
        timestamp = self._services.now_ms() // 1000
        if delivery.secret is None:
            return {ID: delivery.id, TIMESTAMP: str(timestamp)}
        key = self._key_of(delivery.secret)
        if not key:
            raise InvalidSignature(f"the variable {delivery.secret} with the key is not set in this process")
        return sign(delivery.payload, id=delivery.id, timestamp=timestamp, key=key)


def settle(
    delivery: Delivery, *, attempt: int, status: int | None, reason: str | None, now: int, chance: float
) -> SettleDelivery:
    """What follows from how an attempt ended: it was heard, is tried again later, or is given up. Pure."""
    is_heard = status is not None and 200 <= status < 300  # noqa: PLR2004 - the range of success
    is_over = attempt >= TRIES or status == GONE
    state = DELIVERED if is_heard else DEAD if is_over else PENDING
    why = reason if status is None else None if is_heard else f"it was answered with {status}"
    delay = min(DELAY_MS * 4 ** (attempt - 1), DELAY_MS_MAX)
    return SettleDelivery(
        id=delivery.id,
        attempts=attempt,
        state=state,
        status=status,
        reason=None if why is None else why[:REASON_MAX],
        due_at=now + int(delay * (1 + chance) / 2) if state == PENDING else None,
        at=now,
    )
