"""Looks for damage between the tables, and in what an execution's log must always be.

A version need not have an event: an execution that is given up, or a message that is marked applied,
makes one in silence. But a step never moves and a checkpoint is never taken without a line in the log,
in the same transaction. So a version that began or settled a step, or that a checkpoint names, has at
least one event; where it has none, lines were lost, and the log has a gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure.store.script import Script
from perdure.store.states import TERMINAL, State, StepState

# A body runs from the commit that starts it to the commit that says how it ended; in between the
# execution may be asked to pause or to stop. What a dead runner left behind is in one of these, too.
MAY_RUN: Final = frozenset({State.EXECUTING, State.PAUSING, State.CANCELLING, State.COMPENSATING})


def _listed(states: Iterable[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


LISTS: Final = {
    "states": _listed(State),
    "step_states": _listed(StepState),
    "may_run": _listed(MAY_RUN),
    "terminal": _listed(TERMINAL),
}

# Each sentence is filled with a row of its query; `{only}` narrows the query to one execution.
CHECKS: Final = {
    "execution {0} is in the state {1!r}, which does not exist": """
        SELECT e.id, e.state FROM workflow_executions e
        WHERE e.state NOT IN ({states}) {only}""",
    "step {1} of execution {0} is in the state {2!r}, which does not exist": """
        SELECT e.id, a.step_no, a.state FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        WHERE a.state NOT IN ({step_states}) {only}""",
    "execution {0} has no context: nobody can take it up": """
        SELECT e.id FROM workflow_executions e
        LEFT JOIN workflow_contexts c ON c.execution_no = e.no
        WHERE c.execution_no IS NULL {only}""",
    "{1} of execution {0} is not readable JSON": """
        SELECT e.id, m.what FROM (
            SELECT execution_no, 'the context' AS what FROM workflow_contexts
            WHERE NOT json_valid(context) OR NOT json_valid(coalesce(patched_context, '0'))
            UNION ALL
            SELECT execution_no, 'the output or error of step ' || step_no FROM workflow_step_executions
            WHERE NOT json_valid(coalesce(output, '0')) OR NOT json_valid(coalesce(error, '0'))
            UNION ALL
            SELECT execution_no, 'event ' || id FROM workflow_events WHERE NOT json_valid(coalesce(data, '0'))
            UNION ALL
            SELECT no, 'the error' FROM workflow_executions WHERE NOT json_valid(coalesce(error, '0'))
        ) m JOIN workflow_executions e ON e.no = m.execution_no WHERE 1 = 1 {only}""",
    "{1} of execution {0} is of version {2}, but the execution only came to {3}: a change was lost": """
        SELECT e.id, m.what, m.version, e.version FROM (
            SELECT execution_no, 'event ' || id AS what, version FROM workflow_events
            UNION ALL
            SELECT execution_no, 'the checkpoint', version FROM workflow_checkpoints
            UNION ALL
            SELECT execution_no, 'step ' || step_no, CASE WHEN coalesce(settled_version, 0) > opened_version
                   THEN settled_version ELSE opened_version END
            FROM workflow_step_executions
            UNION ALL
            SELECT execution_no, 'message ' || no, applied_version FROM workflow_messages
            WHERE applied_version IS NOT NULL
        ) m JOIN workflow_executions e ON e.no = m.execution_no WHERE m.version > e.version {only}""",
    "event {1} of execution {0} is of version {2} and comes after one of {3}: the log is not in order": """
        SELECT e.id, v.id, v.version, v.before FROM (
            SELECT id, execution_no, version,
                   lag(version) OVER (PARTITION BY execution_no ORDER BY id) AS before
            FROM workflow_events
        ) v JOIN workflow_executions e ON e.no = v.execution_no WHERE v.version < v.before {only}""",
    "a step or checkpoint of execution {0} moved in version {1}, which has no event: its log has a gap": """
        SELECT e.id, m.version FROM (
            SELECT execution_no, opened_version AS version FROM workflow_step_executions
            UNION
            SELECT execution_no, settled_version FROM workflow_step_executions WHERE is_outcome = 1
            UNION
            SELECT execution_no, version FROM workflow_checkpoints
            EXCEPT
            SELECT execution_no, version FROM workflow_events
        ) m JOIN workflow_executions e ON e.no = m.execution_no WHERE 1 = 1 {only}""",
    "step {1} of execution {0} has {3} outcomes in generation {2}": """
        SELECT e.id, a.step_no, a.generation, count(*) FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        WHERE a.is_outcome = 1 {only}
        GROUP BY e.id, a.execution_no, a.step_no, a.generation HAVING count(*) > 1""",
    "execution {0} has an attempt of step {1}, and its workflow no such step": """
        SELECT DISTINCT e.id, a.step_no FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        LEFT JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
        WHERE s.no IS NULL {only}""",
    "step {1} of execution {0} is running although the execution is {2}": """
        SELECT e.id, a.step_no, e.state FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        WHERE a.state = 'running' AND e.state NOT IN ({may_run}) {only}""",
    "execution {0} is {1} and still has a timer ({2})": """
        SELECT e.id, e.state, t.kind FROM workflow_timers t
        JOIN workflow_executions e ON e.no = t.execution_no
        WHERE e.state IN ({terminal}) {only}""",
    "execution {0} is {1} and still holds or wants a slot of {2}": """
        SELECT e.id, e.state, coalesce(e.slot, e.queue) FROM workflow_executions e
        WHERE e.state IN ({terminal}) AND coalesce(e.slot, e.queue) IS NOT NULL {only}""",
}


def faults_of_executions(execution_id: str | None) -> Script[list[str]]:
    """What is wrong with one execution, or any; to be asked as of one moment."""
    only = "" if execution_id is None else "AND e.id = ?"
    parameters = () if execution_id is None else (execution_id,)
    found: list[str] = []
    for sentence, query in CHECKS.items():
        rows = yield query.format(only=only, **LISTS), parameters
        found += [sentence.format(*row) for row in rows]
    return found + (yield from _slots_of_nobody(execution_id))


def _slots_of_nobody(execution_id: str | None) -> Script[list[str]]:
    """Slots of agents whose holder, which begins with the id of its execution, needs none any more.

    A slot is given back before the outcome of its step is written, or goes with its runner, whose
    executions others take over only then.
    """
    found: list[str] = []
    for scope, holder in (
        yield "SELECT scope, holder FROM workflow_slots ORDER BY scope, holder", ()
    ).fetchall():
        id_ = holder.partition(":")[0]
        if execution_id not in {None, id_}:
            continue
        row = (yield "SELECT state FROM workflow_executions WHERE id = ?", (id_,)).fetchone()
        if row is None or row[0] in TERMINAL:
            what = "is not there" if row is None else f"is {row[0]}"
            found.append(f"execution {id_} {what} and still holds a slot of {scope!r}")
    return found
