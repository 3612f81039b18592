"""How one execution moves: start, change by compare-and-swap, claim by a new owner.

Scripts for an open transaction; each runs inside a savepoint of its own. They raise the refusal
as a PerdureError, and whoever runs them rolls back to the savepoint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from perdure.store.claims import CLAIM_MAX, Claimed, ClaimFree
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    InvalidId,
    LeaseLost,
    NotFound,
    PerdureError,
    StoreError,
)
from perdure.store.records import Loaded
from perdure.store.script import Script
from perdure.store.scripts import delta
from perdure.store.scripts.guards import PassGuard
from perdure.store.scripts.queueing import enqueue
from perdure.store.scripts.reads import load_by_no
from perdure.store.scripts.rows import FREE
from perdure.store.scripts.tallies import take_away
from perdure.store.states import IN_FLIGHT, TERMINAL, State, can_become
from perdure.store.writes import (
    CHANGEABLE,
    Change,
    Changed,
    Claim,
    ForkWrite,
    Start,
    Started,
    Statement,
    Write,
    is_id,
)

INSERT_EXECUTION: Final = """
INSERT INTO workflow_executions (id, workflow_no, state, version, epoch, runner_no, priority, updated_at,
    created_at, started_at, deadline_at, remaining_ms, triggered_by, parent_id, trace_id, agents,
    finished_at, error, timeout_ms, parent_step)
VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# An update and no look, so that nobody can claim the parent before the start is committed.
HOLD_PARENT: Final = "UPDATE workflow_executions SET epoch = epoch WHERE id = ? AND epoch = ?"

INSERT_CONTEXT: Final = "INSERT INTO workflow_contexts (execution_no, context) VALUES (?, ?)"

PATCH_CONTEXT: Final = "UPDATE workflow_contexts SET patched_context = ? WHERE execution_no = ?"

MOVE_EXECUTION: Final = (
    "UPDATE workflow_executions SET version = version + 1, updated_at = ?{columns} "
    "WHERE no = ? AND version = ? AND epoch = ? AND state = ?"
)

INSERT_FORK: Final = "INSERT INTO workflow_forks (execution_no, source_id, source_version) VALUES (?, ?, ?)"

NOTE_FORK: Final = """
INSERT INTO workflow_events (execution_no, version, at, type, by, data)
SELECT no, version, ?, 'forked_to', ?, ? FROM workflow_executions WHERE id = ?
"""


CLEAR_TIMERS: Final = "DELETE FROM workflow_timers WHERE execution_no = ?"

CLAIM: Final = """
UPDATE workflow_executions SET epoch = epoch + 1, runner_no = ?, updated_at = ? WHERE no = ? AND epoch = ?
"""

# What a remark asks for, a database with row locks does: two that claim at once pass each other by.
CLAIM_FREE: Final = f"""
UPDATE workflow_executions SET epoch = epoch + 1, runner_no = ?, updated_at = ?
WHERE no IN (SELECT e.no FROM workflow_executions e
             WHERE e.no IN ({", ".join("?" * CLAIM_MAX)}) AND {FREE} ORDER BY e.no /* SKIP LOCKED */)
RETURNING id, epoch
"""


def start(write: Start) -> Script[Started]:
    """Insert the execution at version 1, or join the one that has its id."""
    if not is_id(write.id):
        raise InvalidId("execution", write.id)
    found = (yield "SELECT no FROM workflow_executions WHERE id = ?", (write.id,)).fetchone()
    if found is not None:
        return Started(found[0], joined=True, first_event_id=0)
    refuse_illegal_start(write)
    if write.parent_epoch is not None:
        yield from _hold_parent(write)
    no = (yield INSERT_EXECUTION, inserted_execution(write)).lastrowid
    assert no is not None
    yield INSERT_CONTEXT, (no, delta.text(write.context, "the context"))
    first = yield from delta.write(no, write.id, 1, write.at, write.delta)
    if write.place is not None:
        yield from enqueue(no, write.place)
    if write.fork is not None:
        yield from _note_fork(no, write, write.fork)
    return Started(no, joined=False, first_event_id=first)


def _note_fork(no: int, write: Start, fork: ForkWrite) -> Script[None]:
    """Write down whose past it shares, and tell it in the source's log, which does not move by that."""
    yield INSERT_FORK, (no, fork.source_id, fork.source_version)
    data = {"execution": write.id, "version": fork.source_version}
    noted = yield NOTE_FORK, (write.at, fork.by, msgspec.json.encode(data).decode(), fork.source_id)
    if noted.rowcount != 1:
        raise NotFound("execution", fork.source_id, hint="it was deleted while it was forked")


def _hold_parent(write: Start) -> Script[None]:
    """Raise LeaseLost when whoever starts a child does not own its parent any more."""
    assert write.parent_id is not None
    assert write.parent_epoch is not None
    if (yield HOLD_PARENT, (write.parent_id, write.parent_epoch)).rowcount == 0:
        row = (yield "SELECT epoch FROM workflow_executions WHERE id = ?", (write.parent_id,)).fetchone()
        current = write.parent_epoch + 1 if row is None else row[0]
        raise LeaseLost(write.parent_id, held_epoch=write.parent_epoch, current_epoch=current)


def inserted_execution(write: Start) -> delta.Row:
    """The values of INSERT_EXECUTION."""
    return (
        write.id,
        write.workflow_no,
        str(write.state),
        0 if write.runner_no is None else 1,
        write.runner_no,
        write.priority,
        write.at if write.imported_at is None else write.imported_at,
        write.at,
        write.at if write.state in IN_FLIGHT else write.started_at,
        write.deadline_at,
        write.remaining_ms,
        write.triggered_by,
        write.parent_id,
        write.trace_id,
        write.agents,
        write.finished_at,
        delta.text(write.error, "an error"),
        write.timeout_ms,
        write.parent_step,
    )


def explain(write: Write) -> Script[PerdureError | None]:
    """What a broken constraint means, if it can be told: a foreign key does not say which one it was.

    Asked when the write has been undone.
    """
    runner_no = write.runner_no if isinstance(write, Start | Claim | ClaimFree | PassGuard) else None
    if isinstance(write, Change):
        runner_no = write.claimed_by
    if runner_no is None:
        return None
    listed = yield "SELECT 1 FROM runners WHERE no = ?", (runner_no,)
    return None if listed.fetchone() else not_listed(runner_no)


def not_listed(runner_no: int) -> NotFound:
    """The refusal of what a runner writes that is not on the list."""
    return NotFound("runner", runner_no, hint="it was taken off the list; it must stop or register anew")


def refuse_illegal_start(write: Start) -> None:
    """Raise IllegalTransition when an execution cannot begin in that state."""
    attempt = delta.illegal_attempt(write.delta.attempts)
    if attempt is None and can_become(State.IDLE, write.state):
        return
    wrong = write.state if attempt is None else f"{attempt.state} for step {attempt.step_no}"
    raise IllegalTransition(write.id, state="not started", command=f"begin as {wrong}:")


def change(write: Change) -> Script[Changed]:
    """Move the execution by compare-and-swap and write what the move brings with it."""
    if not can_become(write.before, write.state):
        raise (yield from _why_refused(write, f"become {write.state}:"))
    attempt = delta.illegal_attempt(write.delta.attempts)
    if attempt is not None:
        command = f"take step {attempt.step_no} from {attempt.before or 'nothing'} to {attempt.state} in"
        raise (yield from _why_refused(write, command))
    if (yield from _swap(write)) == 0:
        raise (yield from _why_refused(write, f"go from {write.before} to {write.state}:"))
    version = write.version + 1
    if write.before in TERMINAL:
        yield from take_away([write.execution_no])
    if write.state in TERMINAL:
        yield CLEAR_TIMERS, (write.execution_no,)
    first = yield from delta.write(write.execution_no, write.execution_id, version, write.at, write.delta)
    return Changed(version, first)


def _swap(write: Change) -> Script[int]:
    """The compare-and-swap itself; answers how many rows moved (0 or 1)."""
    if "context" in write.fields:
        yield PATCH_CONTEXT, patched_context(write)
    columns, values = moved_execution(write)
    return (yield move_with(columns), values).rowcount


def patched_context(write: Change) -> delta.Row:
    """The values of PATCH_CONTEXT. Raises PayloadTooLarge."""
    return (delta.text(write.fields["context"], "the context"), write.execution_no)


def moved_execution(write: Change) -> tuple[tuple[str, ...], delta.Row]:
    """The columns that a move sets besides, and the values of its statement.

    A state that stays is not among them: to be told of it costs six partial indexes a look. Raises
    PayloadTooLarge, and StoreError for a column that a change may not set.
    """
    columns: dict[str, Any] = {}
    if write.state is not write.before:
        columns["state"] = str(write.state)
    if write.claimed_by is not None:
        columns["epoch"] = write.epoch + 1
        columns["runner_no"] = write.claimed_by
    if write.fields:
        columns |= _fields(write)
    guard = (write.execution_no, write.version, write.epoch, str(write.before))
    return tuple(columns), (write.at, *columns.values(), *guard)


def _fields(write: Change) -> dict[str, Any]:
    """The columns that a change names itself, but for the context, which has a row of its own."""
    fields = {name: value for name, value in write.fields.items() if name != "context"}
    unknown = fields.keys() - CHANGEABLE
    if unknown:
        raise StoreError(
            f"a change may not set {', '.join(sorted(unknown))}: only {', '.join(sorted(CHANGEABLE))}"
        )
    if isinstance(error := fields.get("error"), bytes):
        fields["error"] = delta.text(error, "an error")
    return fields


@lru_cache(maxsize=256)
def move_with(columns: tuple[str, ...]) -> str:
    """The compare-and-swap that sets these columns too."""
    return MOVE_EXECUTION.format(columns="".join(f", {column} = ?" for column in columns))


def _why_refused(write: Change, command: str) -> Script[PerdureError]:
    """Look the execution up to tell a stale change from an illegal one."""
    row = (
        yield "SELECT version, epoch, state FROM workflow_executions WHERE no = ?", (write.execution_no,)
    ).fetchone()
    if row is None:
        return NotFound("execution", write.execution_id)
    version, epoch, state = row
    if epoch != write.epoch:
        return LeaseLost(write.execution_id, held_epoch=write.epoch, current_epoch=epoch)
    if version != write.version:
        return Conflict(write.execution_id, expected=write.version, current=version)
    return IllegalTransition(write.execution_id, state=state, command=command, version=version)


def claim(write: Claim) -> Script[Loaded]:
    """Raise the epoch, so that the last owner loses every race from here on."""
    taken = (yield CLAIM, (write.runner_no, write.at, write.execution_no, write.epoch)).rowcount
    if taken == 0:
        row = (yield "SELECT epoch FROM workflow_executions WHERE no = ?", (write.execution_no,)).fetchone()
        if row is None:
            raise NotFound("execution", write.execution_id)
        raise Conflict(write.execution_id, expected=write.epoch, current=row[0])
    loaded = yield from load_by_no(write.execution_no)
    assert loaded is not None  # it was there a statement ago
    if loaded.execution.state in TERMINAL:
        yield from take_away([write.execution_no])  # a failure that tells no time has this one now
    return loaded


def claim_free(write: ClaimFree) -> Script[Claimed]:
    """Raise the epoch of all that are free; the text is one, however many there are."""
    nos = write.execution_nos
    padding = (0,) * (CLAIM_MAX - len(nos))  # no execution's number
    taken = yield CLAIM_FREE, (write.runner_no, write.at, *nos, *padding)
    return Claimed({id_: epoch for id_, epoch in taken})  # noqa: C416  a row need not be a tuple


def statements_of(write: Write, answer: object) -> tuple[Statement, ...]:
    """What the user wants executed with a write that was answered so; to join an execution writes nothing."""
    if isinstance(write, Change) or (isinstance(answer, Started) and not answer.joined):
        assert isinstance(write, Change | Start)
        return write.delta.statements
    return ()
