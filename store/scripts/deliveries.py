"""The outbox: what is to be told to somebody outside, written with the change it tells of.

A delivery is made by whoever claims it, which moves the moment at which it is due again; so one whose
maker has died is made once more, under the same id. It ends delivered, or dead after too many tries.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from perdure.store.errors import NotFound
from perdure.store.records import Record
from perdure.store.script import Script
from perdure.store.scripts.rows import maybe_moment, moment
from perdure.store.writes import DeliveryWrite, Write

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"

INSERT_DELIVERY: Final = """
INSERT INTO workflow_deliveries (id, execution_no, event, url, secret, payload, state, attempts, due_at,
    created_at)
VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?)
"""

DELIVERY: Final = """
SELECT d.id, e.id, d.event, d.url, d.secret, d.payload, d.state, d.attempts, d.due_at, d.status, d.reason,
       d.created_at, d.settled_at
FROM workflow_deliveries d JOIN workflow_executions e ON e.no = d.execution_no
"""


class Delivery(Record, frozen=True, kw_only=True):
    """One call of a webhook: what is told to whom, and how far that has come.

    `state` is `pending`, `delivered` or `dead`; `secret` names the key that signs it.
    """

    id: str
    execution_id: str
    event: str
    url: str
    secret: str | None
    payload: bytes
    state: str
    attempts: int
    due_at: datetime | None
    status: int | None
    reason: str | None
    created_at: datetime
    settled_at: datetime | None


class ClaimDelivery(Write, frozen=True, kw_only=True):
    """Take a delivery on: one more attempt, due again at `until` unless it is settled before.

    Of two who claim it exactly one gets it. Answers 1, or 0 when somebody else was faster.
    """

    id: str
    attempts: int
    until: int


class SettleDelivery(Write, frozen=True, kw_only=True):
    """What has become of that attempt; `due_at` is when the next one is, where it is pending still.

    Without effect when another attempt has begun meanwhile. Answers 1, or 0 without effect.
    """

    id: str
    attempts: int
    state: str
    status: int | None
    reason: str | None
    due_at: int | None
    at: int


class RepeatDelivery(Write, frozen=True, kw_only=True):
    """Let a delivery that is dead, or was made, be made once more. Refused: NotFound."""

    id: str
    at: int


def insert(execution_no: int, version: int, position: int, at: int, write: DeliveryWrite) -> tuple[Any, ...]:
    """The values of INSERT_DELIVERY; its id is made of the change it tells of."""
    return (
        f"{write.execution_id}:{version}:{position}",
        execution_no,
        write.event,
        write.url,
        write.secret,
        write.payload.decode(),
        at,
        at,
    )


def claim(write: ClaimDelivery) -> Script[int]:
    """Compare and swap on the number of attempts."""
    return (
        yield (
            (
                "UPDATE workflow_deliveries SET attempts = attempts + 1, due_at = ? "
                "WHERE id = ? AND attempts = ? AND state = 'pending'"
            ),
            (write.until, write.id, write.attempts),
        )
    ).rowcount


def settle(write: SettleDelivery) -> Script[int]:
    """Write down how the attempt ended, if it is still the last one."""
    return (
        yield (
            (
                "UPDATE workflow_deliveries "
                "SET state = ?, status = ?, reason = ?, due_at = ?, settled_at = ? "
                "WHERE id = ? AND attempts = ? AND state = 'pending'"
            ),
            (
                write.state,
                write.status,
                write.reason,
                write.due_at,
                None if write.state == PENDING else write.at,
                write.id,
                write.attempts,
            ),
        )
    ).rowcount


def repeat(write: RepeatDelivery) -> Script[None]:
    """Begin anew, as if it had never been tried."""
    found = yield (
        (
            "UPDATE workflow_deliveries SET state = 'pending', attempts = 0, due_at = ?, settled_at = NULL "
            "WHERE id = ?"
        ),
        (write.at, write.id),
    )
    if found.rowcount == 0:
        raise NotFound("delivery", write.id)


def due(before: int, limit: int) -> Script[list[Delivery]]:
    """Deliveries to be made by that time (ms), the longest due first."""
    where = "WHERE d.state = 'pending' AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?"
    return [_delivery(row) for row in (yield DELIVERY + where, (before, limit))]


def next_due() -> Script[int | None]:
    """When (ms) the next delivery is to be made."""
    row = (yield "SELECT min(due_at) FROM workflow_deliveries WHERE state = 'pending'", ()).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def deliveries(execution_id: str | None, state: str | None, limit: int) -> Script[list[Delivery]]:
    """Deliveries, newest first, of that execution or all, in that state or any."""
    wanted = {"e.id": execution_id, "d.state": state}
    given = {column: value for column, value in wanted.items() if value is not None}
    where = "".join(f"AND {column} = ? " for column in given)
    query = f"{DELIVERY} WHERE 1 = 1 {where}ORDER BY d.created_at DESC, d.id DESC LIMIT ?"
    return [_delivery(row) for row in (yield query, (*given.values(), limit))]


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row[0],
        execution_id=row[1],
        event=row[2],
        url=row[3],
        secret=row[4],
        payload=row[5].encode(),
        state=row[6],
        attempts=row[7],
        due_at=maybe_moment(row[8]),
        status=row[9],
        reason=row[10],
        created_at=moment(row[11]),
        settled_at=maybe_moment(row[12]),
    )
