"""The revisions of a workflow: which there are, which is active, and how executions move between them."""

from __future__ import annotations

from typing import Final

from perdure.store.errors import Conflict, IllegalTransition, NotFound
from perdure.store.records import WorkflowVersion
from perdure.store.script import Script
from perdure.store.scripts import rows
from perdure.store.scripts.delta import refuse_repetition
from perdure.store.scripts.tallies import take_away
from perdure.store.states import State
from perdure.store.writes import Write

ASIDE: Final = 10_000_000  # added while rows change their numbers, so that no two meet on the way

# At rest, so that nobody holds the execution and nothing of it is in flight.
MOVABLE: Final = frozenset({State.IDLE, State.PAUSED, State.FAILED, State.CANCELLED})

# Every table whose rows belong to a step of an execution, with the column that has its number.
NUMBERED: Final = (
    ("workflow_step_executions", "step_no"),
    ("workflow_timers", "step_no"),
    ("workflow_signals", "taken_by"),
    ("workflow_approvals", "step_no"),
    ("workflow_loops", "step_no"),
    ("workflow_loop_pages", "step_no"),
    ("workflow_items", "step_no"),
)

VERSIONS: Final = """
SELECT w.revision, w.version, w.is_active, w.created_at, w.author, w.description, count(e.no),
       coalesce(sum(CASE WHEN e.state IS NULL OR e.state = 'completed' OR e.state = 'failed'
                           OR e.state = 'cancelled' OR e.state = 'rolled_back' THEN 0 ELSE 1 END), 0)
FROM workflows w LEFT JOIN workflow_executions e ON e.workflow_no = w.no
WHERE w.name = ?
GROUP BY w.no, w.revision, w.version, w.is_active, w.created_at, w.author, w.description
ORDER BY w.no DESC
"""

MOVE: Final = """
UPDATE workflow_executions SET workflow_no = ?, version = version + 1, epoch = epoch + 1, updated_at = ?
WHERE no = ? AND version = ?
"""

INSERT_MOVE: Final = (
    "INSERT INTO workflow_execution_moves (execution_no, version, workflow_no) VALUES (?, ?, ?)"
)

NOTE_MOVE: Final = """
INSERT INTO workflow_events (execution_no, version, at, type, by, command_id, data)
VALUES (?, ?, ?, 'workflow_migrated', ?, ?, ?)
"""


class ActivateWorkflow(Write, frozen=True, kw_only=True):
    """Make a revision the active one of its name, in place of the one that is. Refused: NotFound."""

    name: str
    revision: str


class DeactivateWorkflow(Write, frozen=True, kw_only=True):
    """Let no revision of that name be the active one. Refused: NotFound. Answers how many were."""

    name: str


class MigrateExecution(Write, frozen=True, kw_only=True):
    """Let an execution at rest, which nobody owns, be one of another revision from now on.

    `numbers` are pairs of a step's number now and in the revision it moves to, None where that has no
    such step: then its rows go, and the log tells of it. The epoch is raised, so whoever read the
    execution before is refused. Refused: NotFound, IllegalTransition, Conflict, DuplicateCommand.
    Answers the new version.
    """

    execution_id: str
    version: int
    workflow_no: int
    numbers: tuple[tuple[int, int | None], ...]
    by: str | None
    command_id: str
    data: bytes
    at: int


def activate(write: ActivateWorkflow) -> Script[int]:
    """Exchange the active revision; answers its number."""
    found = yield "SELECT no FROM workflows WHERE name = ? AND revision = ?", (write.name, write.revision)
    row = found.fetchone()
    if row is None:
        raise NotFound("workflow revision", f"{write.name}@{write.revision}")
    yield (
        "UPDATE workflows SET is_active = 0 WHERE name = ? AND is_active = 1 AND no <> ?",
        (write.name, row[0]),
    )
    yield "UPDATE workflows SET is_active = 1 WHERE no = ? AND is_active = 0", row
    return int(row[0])


def deactivate(write: DeactivateWorkflow) -> Script[int]:
    """Take the active revision out of use; its executions go on."""
    known = yield "SELECT 1 FROM workflows WHERE name = ? LIMIT 1", (write.name,)
    if known.fetchone() is None:
        raise NotFound("workflow", write.name)
    return (
        yield "UPDATE workflows SET is_active = 0 WHERE name = ? AND is_active = 1", (write.name,)
    ).rowcount


def versions(name: str) -> Script[list[WorkflowVersion]]:
    """The revisions of that name, newest first."""
    return [
        WorkflowVersion(
            name=name,
            revision=row[0],
            version=row[1],
            is_active=row[2] == 1,
            created_at=rows.moment(row[3]),
            author=row[4],
            description=row[5],
            executions=row[6],
            unfinished=int(row[7]),
        )
        for row in (yield VERSIONS, (name,))
    ]


def migrate(write: MigrateExecution) -> Script[int]:
    """Move the execution, number its rows anew and tell it in its log."""
    wanted = "SELECT no, version, state, runner_no, workflow_no FROM workflow_executions WHERE id = ?"
    row = (yield f"{wanted} /* LOCKED */", (write.execution_id,)).fetchone()
    if row is None:
        raise NotFound("execution", write.execution_id)
    no, version, state, runner_no, workflow_no = row
    yield from refuse_repetition(no, write.execution_id, write.command_id)
    if state not in MOVABLE or runner_no is not None:
        raise _unmovable(write, state, is_held=runner_no is not None)
    if version != write.version or (yield MOVE, (write.workflow_no, write.at, no, version)).rowcount == 0:
        raise Conflict(write.execution_id, expected=write.version, current=version)
    yield from take_away([no])
    yield INSERT_MOVE, (no, version, workflow_no)
    yield from _renumber(no, write.numbers)
    yield NOTE_MOVE, (no, version + 1, write.at, write.by, write.command_id, write.data.decode())
    return int(version) + 1


def _renumber(execution_no: int, numbers: tuple[tuple[int, int | None], ...]) -> Script[None]:
    """Give the rows of each step its new number, or let them go with it."""
    gone = [old for old, new in numbers if new is None]
    changed = [(old, new) for old, new in numbers if new is not None and old != new]
    for table, column in NUMBERED if changed or gone else ():
        for old in gone:
            yield f"DELETE FROM {table} WHERE execution_no = ? AND {column} = ?", (execution_no, old)
        set_number = f"UPDATE {table} SET {column} = ? WHERE execution_no = ? AND {column} = ?"
        for old, _ in changed:
            yield set_number, (ASIDE + old, execution_no, old)
        for old, new in changed:
            yield set_number, (new, execution_no, ASIDE + old)


def _unmovable(write: MigrateExecution, state: str, *, is_held: bool) -> IllegalTransition:
    """Why an execution cannot move as it stands."""
    hint = "it has ended" if state in (State.COMPLETED, State.ROLLED_BACK) else "pause it first"
    if is_held and state in MOVABLE:
        hint = "the process that performs it holds it: end that one first"
    return IllegalTransition(
        write.execution_id, state=state, command="migrate", version=write.version, hint=hint
    )
