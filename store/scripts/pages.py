"""What people read: single executions, lists with filters and pages, the log, the definitions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from perdure.store.errors import NotFound
from perdure.store.records import (
    PAGE_MAX,
    Attempt,
    Checkpoint,
    Event,
    Execution,
    ExecutionSummary,
    Kin,
    Message,
    Step,
    Workflow,
)
from perdure.store.script import Script
from perdure.store.scripts import rows
from perdure.store.scripts.tallies import NO_MAX
from perdure.store.states import STATES_OF, TERMINAL, State, Status

ID_PART: Final = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)
FEW: Final = 500  # ids that begin alike are sorted; beyond that the newest are looked through
UNFINISHED: Final = (  # word for word the condition of the index over these
    "e.state <> 'completed' AND e.state <> 'failed' AND e.state <> 'cancelled' AND e.state <> 'rolled_back'"
)
AFTER_EVERY_ID: Final = "\x7f"  # sorts behind all characters an id may have


def bounded(limit: int) -> int:
    """How many records a page gets; SQLite itself would take a negative limit for none."""
    return max(0, min(limit, PAGE_MAX))


def execution(execution_id: str) -> Script[Execution | None]:
    """One execution, or None."""
    row = (yield rows.EXECUTION + "WHERE e.id = ?", (execution_id,)).fetchone()
    return None if row is None else rows.execution(row)


def summary(execution_id: str) -> Script[ExecutionSummary | None]:
    """One execution and how far its steps have come, or None."""
    row = (yield rows.SUMMARY + "WHERE e.id = ?", (execution_id,)).fetchone()
    return None if row is None else rows.summary(row)


def kin(execution_id: str, limit: int) -> Script[Kin]:
    """How many are above an execution, each the parent of the one before, and how many are below it."""
    own = (yield "SELECT priority FROM workflow_executions WHERE id = ?", (execution_id,)).fetchone()
    depth = -1
    row: rows.Row | None = (execution_id,)
    while row is not None and row[0] is not None and depth < limit:
        row = (yield "SELECT parent_id FROM workflow_executions WHERE id = ?", (row[0],)).fetchone()
        depth += row is not None
    few = "SELECT no FROM workflow_executions WHERE parent_id = ? LIMIT ?"
    children = (yield f"SELECT count(*) FROM ({few}) AS few", (execution_id, limit)).fetchone()
    return Kin(depth=max(depth, 0), children=children[0] if children else 0, priority=own[0] if own else 0)


def started_by(triggered_by: str, limit: int) -> Script[list[str]]:
    """Ids of executions that were started by exactly that, the oldest first."""
    query = "SELECT id FROM workflow_executions WHERE triggered_by = ? ORDER BY no LIMIT ?"
    return [row[0] for row in (yield query, (triggered_by, bounded(limit)))]


def find(prefix: str, limit: int) -> Script[list[str]]:
    """Ids that begin with that text, newest first: a range of the id index, so no LIKE to escape.

    Where many do, the newest executions are walked until there are enough: they are soon met.
    """
    if not ID_PART.fullmatch(prefix):
        return []
    newest_first = "ORDER BY no DESC LIMIT ?"
    if not prefix:
        found = yield f"SELECT id FROM workflow_executions {newest_first}", (bounded(limit),)
        return [row[0] for row in found]
    beginning = (prefix, prefix + AFTER_EVERY_ID)
    few = yield (
        (
            "SELECT no, id FROM workflow_executions INDEXED BY workflow_executions_id "
            "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        ),
        (*beginning, FEW + 1),
    )
    rows_ = few.fetchall()
    if len(rows_) <= FEW:
        return [row[1] for row in sorted(rows_, reverse=True)[: bounded(limit)]]
    found = yield (
        f"SELECT id FROM workflow_executions WHERE id || '' >= ? AND id || '' < ? {newest_first}",
        (*beginning, bounded(limit)),
    )
    return [row[0] for row in found]


def executions(
    *,
    status: Status | None,
    workflow: str | None,
    since: int | None,
    parent: str | None,
    only_top: bool,
    limit: int,
    after: str | None,
) -> Script[list[ExecutionSummary]]:
    """A page of executions, newest first, after that id. Raises NotFound when it is gone.

    The page is chosen first, among the executions alone; only what is on it is summed up.
    """
    where: list[str] = []
    parameters: list[Any] = []
    if status is not None:
        where.append(_in_states(STATES_OF[status]))
    if workflow is not None:
        where.append(f"{_workflow_no(status)} IN (SELECT no FROM workflows WHERE name = ?)")
        parameters.append(workflow)
    if since is not None:
        where.append("e.created_at >= ? AND e.no >= ?")
        parameters += [since, (yield from _first_since(since))]
    if parent is not None:
        where.append("e.parent_id = ?")
        parameters.append(parent)
    if only_top:
        where.append("e.parent_id IS NULL")
    if after is not None:
        where.append("e.no < ?")
        parameters.append((yield from _no_of(after)))
    filters = "WHERE " + " AND ".join(where) if where else ""
    parameters.append(bounded(limit))
    page = f"SELECT e.no FROM workflow_executions e {filters} ORDER BY e.no DESC LIMIT ?"
    found = yield f"{rows.SUMMARY} WHERE e.no IN ({page}) ORDER BY e.no DESC", parameters
    return list(map(rows.summary, found))


def _first_since(since: int) -> Script[int]:
    """The lowest number of what was created since then, where that is little; else it is soon met."""
    query = "SELECT no FROM workflow_executions WHERE created_at >= ? ORDER BY created_at LIMIT ?"
    numbers = [no for (no,) in (yield query, (since, FEW + 1)).fetchall()]
    return min(numbers, default=NO_MAX) if len(numbers) <= FEW else 0


def _workflow_no(status: Status | None) -> str:
    """What has not ended is soon looked through; the index of a workflow's executions has all that have, too.

    To add nothing to the number keeps a planner from choosing that one.
    """
    return "e.workflow_no" if status is None or STATES_OF[status] <= TERMINAL else "e.workflow_no + 0"


def _in_states(states: Iterable[State]) -> str:
    """A condition that an index over some states alone can serve: it has to name them, and to say that."""
    named = " OR ".join(f"e.state = '{state}'" for state in sorted(states))
    return (
        f"({named})"
        if TERMINAL.issuperset(states) or State.PAUSED in states
        else f"({named}) AND {UNFINISHED}"
    )


def _no_of(execution_id: str) -> Script[int]:
    row = (yield "SELECT no FROM workflow_executions WHERE id = ?", (execution_id,)).fetchone()
    if row is None:
        raise NotFound("execution", execution_id, hint="begin the list anew")
    return int(row[0])


def messages(execution_id: str, after: int, limit: int) -> Script[list[Message]]:
    """Messages of an inbox after that number, whatever has become of them, oldest first."""
    found = yield (
        rows.MESSAGE
        + "JOIN workflow_executions e ON e.no = m.execution_no "
        + "WHERE e.id = ? AND m.no > ? ORDER BY m.no LIMIT ?",
        (execution_id, after, bounded(limit)),
    )
    return list(map(rows.message, found))


def attempts(execution_id: str) -> Script[list[Attempt]]:
    """Every attempt of every step, in step order."""
    found = yield rows.ATTEMPT + "WHERE e.id = ? ORDER BY a.step_no, a.generation, a.attempt", (execution_id,)
    return list(map(rows.attempt, found))


def events(execution_id: str | None, type: str | None, after: int, limit: int) -> Script[list[Event]]:
    """The log after that event id, oldest first: of one execution or of all, of one type or of all."""
    conditions = {
        "v.execution_no = (SELECT no FROM workflow_executions WHERE id = ?)": execution_id,
        "v.type = ?": type,
        "v.id > ?": after,
    }
    asked = {sql: value for sql, value in conditions.items() if value is not None}
    found = yield (
        f"{rows.EVENT}WHERE {' AND '.join(asked)} ORDER BY v.id LIMIT ?",
        (*asked.values(), bounded(limit)),
    )
    return list(map(rows.event, found))


def checkpoints(execution_id: str, limit: int) -> Script[list[Checkpoint]]:
    """Checkpoints, newest first."""
    found = yield (
        rows.CHECKPOINT + "WHERE e.id = ? ORDER BY k.version DESC LIMIT ?",
        (execution_id, bounded(limit)),
    )
    return list(map(rows.checkpoint, found))


def checkpoint(execution_id: str, wanted: str | int) -> Script[Checkpoint | None]:
    """The newest checkpoint of that label or version (the number, or its digits), or None."""
    found = yield (
        rows.CHECKPOINT + "WHERE e.id = ? AND (k.label = ? OR CAST(k.version AS TEXT) = ?) "
        "ORDER BY k.version DESC LIMIT 1",
        (execution_id, wanted if isinstance(wanted, str) else None, str(wanted)),
    )
    row = found.fetchone()
    return None if row is None else rows.checkpoint(row)


def workflow(name: str, revision: str | None, version: str | None) -> Script[Workflow | None]:
    """A revision by its hash or label (then the newest so labelled); without either the active one."""
    if revision is not None:
        where, parameters = "name = ? AND revision = ?", (name, revision)
    elif version is not None:
        where, parameters = "name = ? AND version = ?", (name, version)
    else:
        where, parameters = "name = ? AND is_active = 1 AND ? = ''", (name, "")
    found = yield f"{rows.WORKFLOW} WHERE {where} ORDER BY no DESC LIMIT 1", parameters
    row = found.fetchone()
    return None if row is None else rows.workflow(row)


def workflow_by_no(no: int) -> Script[Workflow | None]:
    """A revision by its key."""
    row = (yield rows.WORKFLOW + "WHERE no = ?", (no,)).fetchone()
    return None if row is None else rows.workflow(row)


def workflows(active_only: bool) -> Script[list[Workflow]]:  # noqa: FBT001
    """The definitions, by name, newest revision first."""
    active = "WHERE is_active = 1" if active_only else ""
    return list(map(rows.workflow, (yield f"{rows.WORKFLOW} {active} ORDER BY name, no DESC", ())))


def steps(workflow_no: int) -> Script[list[Step]]:
    """The nodes of one revision, in step order."""
    nodes = (yield rows.STEP, (workflow_no,)).fetchall()
    needs: dict[int, list[str]] = {row[0]: [] for row in nodes}
    for step_no, key in (yield rows.NEED, (workflow_no,)):
        needs[step_no].append(key)
    return [rows.step(row, tuple(needs[row[0]])) for row in nodes]
