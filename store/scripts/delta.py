"""The rows that one transition adds or moves on, written beside the execution's own row.

Their values are plain ones. SQLite's driver takes a `str` or an `int` as it is; about an enum or a bool
it asks its adapters first, which takes as long as writing half a row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from perdure.store import telling
from perdure.store.errors import DuplicateCommand, IllegalTransition, NotFound, PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX, SEALED_BYTES_MAX
from perdure.store.script import Script
from perdure.store.scripts import approvals, deliveries, items
from perdure.store.states import StepState, step_can_become
from perdure.store.writes import AttemptWrite, CheckpointWrite, Delta, EventWrite, MessageWrite, TimerWrite

Row = tuple[Any, ...]  # the values of one statement, in the order of its question marks

INSERT_ATTEMPT: Final = """
INSERT INTO workflow_step_executions (execution_no, step_no, generation, attempt, lineage, state,
    is_outcome, opened_version, settled_version, started_at, finished_at, due_at, error, output,
    made_in)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# What an attempt has been given it keeps (when it started, its output); `due_at` is the new state's own.
MOVE_ATTEMPT: Final = """
UPDATE workflow_step_executions SET state = ?, due_at = ?{columns}
WHERE execution_no = ? AND step_no = ? AND generation = ? AND attempt = ? AND state = ?
"""
OUTCOME: Final = "is_outcome = 1, settled_version = coalesce(settled_version, ?)"

INSERT_EVENT: Final = """
INSERT INTO workflow_events (execution_no, version, at, type, step_no, attempt, by, command_id, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

SET_TIMER: Final = """
INSERT INTO workflow_timers (execution_no, kind, step_no, due_at) VALUES (?, ?, ?, ?)
ON CONFLICT (execution_no, kind, step_no) DO UPDATE SET due_at = excluded.due_at
"""

CLEAR_TIMER: Final = "DELETE FROM workflow_timers WHERE execution_no = ? AND kind = ? AND step_no = ?"

INSERT_CHECKPOINT: Final = """
INSERT INTO workflow_checkpoints (execution_no, version, label, by, automatic, created_at,
    steps_completed, steps_total, size_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

INSERT_SIGNAL: Final = """
INSERT INTO workflow_signals (execution_no, version, name, payload, received_at) VALUES (?, ?, ?, ?, ?)
"""

MOVE_SIGNAL: Final = """
UPDATE workflow_signals SET taken_version = ?, taken_by = ? WHERE execution_no = ? AND version = ?
"""

# A message may be applied by one change (a pause is requested) and answered by a later one.
APPLY_MESSAGE: Final = """
UPDATE workflow_messages
SET applied_version = coalesce(applied_version, ?), answer = coalesce(answer, ?)
WHERE no = ? AND execution_no = ?
"""


def text(payload: bytes | None, what: str) -> str | None:
    """A payload as the column keeps it. Raises PayloadTooLarge."""
    if payload is None:
        return None
    if len(payload) > PAYLOAD_BYTES_MAX and not _is_small_inside(payload):
        raise PayloadTooLarge(what, size=len(payload), limit=PAYLOAD_BYTES_MAX)
    return payload.decode()


def _is_small_inside(payload: bytes) -> bool:
    """Whether it is an encrypted one, of which a third is the price of being text."""
    return payload.startswith(b'"$sealed:') and len(payload) <= SEALED_BYTES_MAX


def illegal_attempt(attempts: tuple[AttemptWrite, ...]) -> AttemptWrite | None:
    """The first attempt whose move is not in the tables.

    A new row may be in any state that a pending step comes to within one change: a body that
    began and ended between two commits leaves no trace of having run, and a restore copies outcomes.
    """
    for attempt in attempts:
        before, after = attempt.before, attempt.state
        if before is None:
            if after is StepState.COMPENSATED:
                return attempt
        elif not step_can_become(before, after):
            return attempt
    return None


def write(no: int, execution_id: str, version: int, at: int, delta: Delta) -> Script[int]:
    """Write all of it as of `version`; return the id of the first event, or 0.

    Raises IllegalTransition when an attempt is not in the state its move begins with,
    DuplicateCommand, NotFound for a message, PayloadTooLarge.
    """
    for attempt in delta.attempts:
        if attempt.before is None:
            yield INSERT_ATTEMPT, inserted_attempt(no, version, attempt)
            continue
        columns, values = moved_attempt(no, version, attempt)
        if (yield move_attempt_with(columns), values).rowcount == 0:
            raise (yield from misplaced_attempt(no, execution_id, version, attempt))
    for timer in delta.timers:
        yield from _set_timer(no, timer)
    for message in delta.messages:
        yield from _apply_message(no, version, message)
    yield from _write_what_waits(no, version, at, delta)
    if delta.checkpoint is not None:
        yield INSERT_CHECKPOINT, checkpoint(no, version, at, delta.checkpoint)
    if not delta.events:
        return 0
    return (yield from _append_events(no, execution_id, version, at, delta.events))


def _write_what_waits(no: int, version: int, at: int, delta: Delta) -> Script[None]:
    """What came and waits for a step, and what steps wait for."""
    for signal in delta.signals:
        yield INSERT_SIGNAL, (no, version, signal.name, text(signal.payload, "the payload of a signal"), at)
    for move in delta.taken:
        taken_version = None if move.step_no is None else version
        yield MOVE_SIGNAL, (taken_version, move.step_no, no, move.version)
    for approval in delta.approvals:
        yield approvals.write(no, approval)
    for post in delta.posts:
        payload = text(post.payload, "a message")
        yield telling.POST, (post.command_id, post.kind, payload, post.sender, at, post.execution_id)
    if delta.loops or delta.items:
        yield from items.write(no, delta.loops, delta.items)
    for position, delivery in enumerate(delta.deliveries):
        yield deliveries.INSERT_DELIVERY, deliveries.insert(no, version, position, at, delivery)


def inserted_attempt(no: int, version: int, attempt: AttemptWrite) -> Row:
    """The values of INSERT_ATTEMPT. Raises PayloadTooLarge."""
    return (
        no,
        attempt.step_no,
        attempt.generation,
        attempt.attempt,
        attempt.lineage,
        str(attempt.state),
        int(attempt.is_outcome),
        version,
        version if attempt.is_outcome else None,
        attempt.started_at,
        attempt.finished_at,
        attempt.due_at,
        text(attempt.error, "an error"),
        text(attempt.output, "the output of a step"),
        attempt.made_in,
    )


def moved_attempt(no: int, version: int, attempt: AttemptWrite) -> tuple[tuple[str, ...], Row]:
    """The columns that a move sets besides, and the values of its statement. Raises PayloadTooLarge."""
    columns: dict[str, Any] = {}
    if attempt.is_outcome:
        columns[OUTCOME] = version
    if attempt.started_at is not None:
        columns["started_at = ?"] = attempt.started_at
    if attempt.finished_at is not None:
        columns["finished_at = ?"] = attempt.finished_at
    if attempt.output is not None:
        columns["output = ?"] = text(attempt.output, "the output of a step")
    if attempt.error is not None:
        columns["error = ?"] = text(attempt.error, "an error")
    if attempt.cost_nanos is not None:
        columns["cost_nanos = ?"] = attempt.cost_nanos
    if attempt.tokens is not None:
        columns["tokens = ?"] = attempt.tokens
    guard = (no, attempt.step_no, attempt.generation, attempt.attempt, str(attempt.before))
    return tuple(columns), (str(attempt.state), attempt.due_at, *columns.values(), *guard)


@lru_cache(maxsize=256)
def move_attempt_with(columns: tuple[str, ...]) -> str:
    """The statement that moves an attempt on and sets these columns too."""
    return MOVE_ATTEMPT.format(columns="".join(f", {column}" for column in columns))


def misplaced_attempt(
    no: int, execution_id: str, version: int, attempt: AttemptWrite
) -> Script[IllegalTransition]:
    """Say where the attempt really is."""
    row = (
        yield (
            (
                "SELECT state FROM workflow_step_executions "
                "WHERE execution_no = ? AND step_no = ? AND generation = ? AND attempt = ?"
            ),
            (no, attempt.step_no, attempt.generation, attempt.attempt),
        )
    ).fetchone()
    return IllegalTransition(
        execution_id,
        state="without it" if row is None else f"{row[0]}, not {attempt.before}",
        command=f"move attempt {attempt.attempt} of step {attempt.step_no} to {attempt.state} in",
        version=version - 1,
    )


def _set_timer(no: int, timer: TimerWrite) -> Script[None]:
    if timer.due_at is None:
        yield CLEAR_TIMER, (no, timer.kind, timer.step_no)
    else:
        yield SET_TIMER, (no, timer.kind, timer.step_no, timer.due_at)


def _apply_message(no: int, version: int, message: MessageWrite) -> Script[None]:
    answer = text(message.answer, "an answer")
    if (yield APPLY_MESSAGE, (version, answer, message.no, no)).rowcount == 0:
        raise NotFound("message", message.no, hint="the execution's inbox does not hold it")


def checkpoint(no: int, version: int, at: int, write: CheckpointWrite) -> Row:
    """The values of INSERT_CHECKPOINT."""
    return (
        no,
        version,
        write.label,
        write.by,
        int(write.automatic),
        at,
        write.steps_completed,
        write.steps_total,
        write.size_bytes,
    )


def event(no: int, version: int, at: int, write: EventWrite) -> Row:
    """The values of INSERT_EVENT. Raises PayloadTooLarge."""
    return (
        no,
        version,
        at,
        write.type,
        write.step_no,
        write.attempt,
        write.by,
        write.command_id,
        None if write.data is None else text(write.data, "the data of an event"),
    )


def _append_events(
    no: int,
    execution_id: str,
    version: int,
    at: int,
    events: tuple[EventWrite, ...],
) -> Script[int]:
    """Append in order; within one transaction the ids are consecutive."""
    first: int = 0
    for write in events:
        if write.command_id is not None:
            yield from refuse_repetition(no, execution_id, write.command_id)
        inserted = (yield INSERT_EVENT, event(no, version, at, write)).lastrowid
        first = first or inserted or 0
    return first


def refuse_repetition(no: int, execution_id: str, command_id: str) -> Script[None]:
    """Raise DuplicateCommand when the command is in the log already."""
    found = yield "SELECT 1 FROM workflow_events WHERE execution_no = ? AND command_id = ?", (no, command_id)
    if found.fetchone() is not None:
        raise DuplicateCommand(execution_id, command_id=command_id)
