"""Rows to records: the columns each record is read from, and the function that builds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from perdure.store.circuits import CircuitBreakerState
from perdure.store.codec import decode
from perdure.store.errors import StoreCorrupt
from perdure.store.records import (
    Attempt,
    Checkpoint,
    Error,
    Event,
    Execution,
    ExecutionSummary,
    KeptSignal,
    Message,
    ResumePlan,
    Runner,
    Step,
    Timer,
    Workflow,
)
from perdure.store.states import Role, State, Status, StepState
from perdure.store.usage import Limits, Usage

Row = tuple[Any, ...]
T = TypeVar("T")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# What has something to do and nobody who does it; the text must be the partial index's to be served by it.
CLAIMABLE: Final = (
    "e.runner_no IS NULL AND e.state <> 'completed' AND e.state <> 'awaiting_completion' "
    "AND e.state <> 'paused' AND e.state <> 'failed' AND e.state <> 'cancelled' AND e.state <> 'rolled_back' "
    "AND e.queue IS NULL"
)

# What may be taken by whoever wants to go on with it: also what only waits, whose time may have come, and
# what is paused and has something to tell (WARN_TIMER) or is to go on (RESUME_TIMER).
FREE: Final = (
    "e.runner_no IS NULL AND e.state <> 'completed' AND e.state <> 'failed' "
    "AND e.state <> 'cancelled' AND e.state <> 'rolled_back' AND (e.state <> 'paused' OR EXISTS "
    "(SELECT 1 FROM workflow_timers t WHERE t.execution_no = e.no AND t.kind IN ('warn', 'resume')))"
)

EXECUTION: Final = """
SELECT e.no, e.id, w.name, e.workflow_no, w.revision, w.version, e.state, e.version, e.epoch, r.id,
       e.priority, e.triggered_by, e.parent_id, e.trace_id, e.agents,
       coalesce(c.patched_context, c.context), e.error, e.resume_count, e.pause_mode, e.paused_by,
       e.created_at, e.started_at, e.paused_at, e.finished_at, e.updated_at, e.deadline_at, e.remaining_ms,
       e.pause_reason, e.timeout_ms, e.cost_nanos, e.tokens, e.budget, e.parent_step,
       e.circuit_breaker_state, e.rollback_reason, e.resume_plan,
       e.queue, e.slot
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
JOIN workflow_contexts c ON c.execution_no = e.no
LEFT JOIN runners r ON r.no = e.runner_no
"""

ATTEMPT: Final = """
SELECT a.step_no, coalesce(s.key, '#' || a.step_no), a.generation, a.attempt, a.lineage, a.state,
       a.is_outcome, a.settled_version, a.started_at, a.finished_at, a.due_at, a.deaths, a.output,
       a.error, a.alone, a.cost_nanos, a.tokens, a.made_in
FROM workflow_step_executions a
JOIN workflow_executions e ON e.no = a.execution_no
LEFT JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
"""

EVENT: Final = """
SELECT v.id, e.id, v.version, v.at, v.type, s.key, v.attempt, v.by, v.command_id, e.trace_id, v.data
FROM workflow_events v
JOIN workflow_executions e ON e.no = v.execution_no
LEFT JOIN workflow_steps s ON s.no = v.step_no AND s.workflow_no = coalesce(
    (SELECT m.workflow_no FROM workflow_execution_moves m
     WHERE m.execution_no = v.execution_no AND m.version >= v.version ORDER BY m.version LIMIT 1),
    e.workflow_no)
"""

CHECKPOINT: Final = """
SELECT e.id, k.version, k.label, k.by, k.automatic, k.created_at, k.steps_completed, k.steps_total,
       k.size_bytes
FROM workflow_checkpoints k
JOIN workflow_executions e ON e.no = k.execution_no
"""

MESSAGE: Final = """
SELECT m.no, m.execution_no, m.command_id, m.kind, m.payload, m.sender, m.created_at,
       m.applied_version, m.answer
FROM workflow_messages m
"""

SIGNAL: Final = "SELECT s.version, s.name, s.payload FROM workflow_signals s "
TIMER: Final = "SELECT t.execution_no, t.kind, t.step_no, t.due_at FROM workflow_timers t "

RUNNER: Final = (
    "SELECT no, id, pid, host, kind, lock_path, doorbell, started_at, heartbeat_at, lease_ms "
    "FROM runners ORDER BY no"
)

WORKFLOW: Final = """
SELECT no, name, revision, version, description, author, tags, is_active, created_at, definition
FROM workflows
"""

STEP: Final = """
SELECT s.no, s.key, s.level, s.agent, s.role FROM workflow_steps s WHERE s.workflow_no = ? ORDER BY s.no
"""

NEED: Final = """
SELECT d.step_no, n.key FROM workflow_dependencies d
JOIN workflow_steps n ON n.workflow_no = d.workflow_no AND n.no = d.needs_no
WHERE d.workflow_no = ?
ORDER BY d.step_no, d.needs_no
"""

SUMMARY: Final = """
SELECT id, workflow, workflow_version, state, status, steps_total, steps_completed, steps_failed,
       steps_skipped, steps_running, priority, triggered_by, trace_id, runner, error,
       created_at, started_at, paused_at, finished_at, updated_at, duration_ms,
       pause_mode, paused_by, pause_reason,
       version, (SELECT x.parent_id FROM workflow_executions x WHERE x.no = e.no), rollback_reason,
       (SELECT x.queue FROM workflow_executions x WHERE x.no = e.no)
FROM workflow_execution_summary e
"""


def moment(ms: int) -> datetime:
    """A stored time as people use it, exactly. Raises StoreCorrupt outside the calendar."""
    try:
        return EPOCH + timedelta(milliseconds=ms)
    except (OverflowError, TypeError) as error:
        raise StoreCorrupt(f"{ms!r} in the store is not a time in milliseconds: run verify") from error


def milliseconds(at: datetime) -> int:
    """A time as it is stored, exactly."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def maybe_moment(ms: int | None) -> datetime | None:
    """A stored time that may not have come yet."""
    return None if ms is None else moment(ms)


def execution(row: Row) -> Execution:
    """One row of `EXECUTION`."""
    return Execution(
        no=row[0],
        id=row[1],
        workflow=row[2],
        workflow_no=row[3],
        revision=row[4],
        workflow_version=row[5],
        state=State(row[6]),
        version=row[7],
        epoch=row[8],
        runner=row[9],
        priority=row[10],
        triggered_by=row[11],
        parent_id=row[12],
        trace_id=row[13],
        agents=row[14],
        context=decode(row[15], what=f"the context of execution {row[1]}"),
        error=error_of(row[16]),
        resume_count=row[17],
        pause_mode=row[18],
        paused_by=row[19],
        created_at=moment(row[20]),
        started_at=maybe_moment(row[21]),
        paused_at=maybe_moment(row[22]),
        finished_at=maybe_moment(row[23]),
        updated_at=moment(row[24]),
        deadline_at=maybe_moment(row[25]),
        remaining_ms=row[26],
        pause_reason=row[27],
        timeout_ms=row[28],
        usage=usage(row[29], row[30]),
        budget=_read(_budget, row[31], "a budget"),
        parent_step=row[32],
        circuit_breaker_state=_read(_breaker, row[33], "a circuit breaker's state"),
        rollback_reason=row[34],
        resume_plan=_read(_resume_plan, row[35], "a resume plan"),
        queue=row[36],
        slot=row[37],
    )


def attempt(row: Row) -> Attempt:
    """One row of `ATTEMPT`."""
    return Attempt(
        step_no=row[0],
        step=row[1],
        generation=row[2],
        attempt=row[3],
        lineage=row[4],
        state=StepState(row[5]),
        is_outcome=row[6] == 1,
        settled_version=row[7],
        started_at=maybe_moment(row[8]),
        finished_at=maybe_moment(row[9]),
        due_at=maybe_moment(row[10]),
        deaths=row[11],
        output=None if row[12] is None else msgspec.Raw(row[12].encode()),
        error=error_of(row[13]),
        alone=row[14] == 1,
        usage=usage(row[15], row[16]),
        made_in=row[17],
    )


def usage(cost_nanos: int | None, tokens: int | None) -> Usage | None:
    """What was reported, None where nothing was."""
    if cost_nanos is None and tokens is None:
        return None
    return Usage.of(nanos=int(cost_nanos or 0), tokens=int(tokens or 0))


def event(row: Row) -> Event:
    """One row of `EVENT`."""
    return Event(
        id=row[0],
        execution_id=row[1],
        version=row[2],
        at=moment(row[3]),
        type=row[4],
        step=row[5],
        attempt=row[6],
        by=row[7],
        command_id=row[8],
        trace_id=row[9],
        data=None if row[10] is None else decode(row[10], what=f"event {row[0]}"),
    )


def checkpoint(row: Row) -> Checkpoint:
    """One row of `CHECKPOINT`."""
    return Checkpoint(
        execution_id=row[0],
        version=row[1],
        label=row[2],
        by=row[3],
        automatic=row[4] == 1,
        created_at=moment(row[5]),
        steps_completed=row[6],
        steps_total=row[7],
        size_bytes=row[8],
    )


def message(row: Row) -> Message:
    """One row of `MESSAGE`."""
    return Message(
        no=row[0],
        execution_no=row[1],
        command_id=row[2],
        kind=row[3],
        payload=row[4].encode(),
        sender=row[5],
        created_at=moment(row[6]),
        applied_version=row[7],
        answer=None if row[8] is None else row[8].encode(),
    )


def signal(row: Row) -> KeptSignal:
    """One row of `SIGNAL`."""
    return KeptSignal(version=row[0], name=row[1], payload=msgspec.Raw(row[2].encode()))


def timer(row: Row) -> Timer:
    """One row of `TIMER`."""
    return Timer(execution_no=row[0], kind=row[1], step_no=row[2], due_at=moment(row[3]))


def runner(row: Row) -> Runner:
    """One row of `RUNNER`."""
    return Runner(
        no=row[0],
        id=row[1],
        pid=row[2],
        host=row[3],
        kind=row[4],
        lock_path=row[5],
        doorbell=row[6],
        started_at=moment(row[7]),
        heartbeat_at=moment(row[8]),
        lease_ms=row[9],
    )


def workflow(row: Row) -> Workflow:
    """One row of `WORKFLOW`."""
    return Workflow(
        no=row[0],
        name=row[1],
        revision=row[2],
        version=row[3],
        description=row[4],
        author=row[5],
        tags=tuple(decode(row[6], what=f"the tags of workflow {row[1]}")),
        is_active=row[7] == 1,
        created_at=moment(row[8]),
        definition=decode(row[9], what=f"the definition of workflow {row[1]}"),
    )


def step(row: Row, needs: tuple[str, ...]) -> Step:
    """One row of `STEP` with the keys of its rows of `NEED`."""
    return Step(no=row[0], key=row[1], level=row[2], agent=row[3], needs=needs, role=Role(row[4]))


def summary(row: Row) -> ExecutionSummary:
    """One row of `SUMMARY`."""
    return ExecutionSummary(
        id=row[0],
        workflow=row[1],
        workflow_version=row[2],
        state=State(row[3]),
        status=Status(row[4]),
        steps_total=row[5],
        steps_completed=row[6],
        steps_failed=row[7],
        steps_skipped=row[8],
        steps_running=row[9],
        priority=row[10],
        triggered_by=row[11],
        trace_id=row[12],
        runner=row[13],
        error=error_of(row[14]),
        created_at=moment(row[15]),
        started_at=maybe_moment(row[16]),
        paused_at=maybe_moment(row[17]),
        finished_at=maybe_moment(row[18]),
        updated_at=moment(row[19]),
        duration_ms=row[20],
        pause_mode=row[21],
        paused_by=row[22],
        pause_reason=row[23],
        version=row[24],
        parent_id=row[25],
        rollback_reason=row[26],
        queue=row[27],
    )


def error_of(text: str | None) -> Error | None:
    """A stored error. Raises StoreCorrupt when it cannot be read back."""
    return _read(_error, text, "an error")


def _read(decoder: msgspec.json.Decoder[T], text: str | None, what: str) -> T | None:
    """What a column holds as JSON of that shape, if anything. Raises StoreCorrupt."""
    if text is None:
        return None
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreCorrupt(f"{what} in the store cannot be read back ({error}): run verify") from error


_budget: Final = msgspec.json.Decoder(Limits)
_breaker: Final = msgspec.json.Decoder(CircuitBreakerState)
_resume_plan: Final = msgspec.json.Decoder(ResumePlan)
_error: Final = msgspec.json.Decoder(Error)
