"""What the machine reads: executions to take up, timers that fall due, messages that wait."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from perdure.store.claims import Claimable
from perdure.store.codec import decode
from perdure.store.errors import NotFound, StoreCorrupt
from perdure.store.records import (
    Attempt,
    Due,
    Execution,
    KeptSignal,
    Loaded,
    Message,
    Runner,
    Suspect,
)
from perdure.store.script import Script, Several
from perdure.store.scripts import approvals, items, rows
from perdure.store.scripts.pages import bounded
from perdure.store.scripts.rows import CLAIMABLE
from perdure.store.states import PARKED, TERMINAL, State
from perdure.store.writes import EXECUTION_TIMER, RESUME_TIMER, WARN_TIMER

NEVER: Final = -(2**62)  # a time (ms) before any other


def _questions_of(execution: str) -> tuple[str, ...]:
    """What is asked to take up the execution whose number that expression gives."""
    return (
        rows.EXECUTION + f"WHERE e.no = {execution}",
        rows.ATTEMPT + f"WHERE a.execution_no = {execution} ORDER BY a.step_no, a.generation, a.attempt",
        rows.TIMER + f"WHERE t.execution_no = {execution} ORDER BY t.due_at, t.step_no",
        rows.MESSAGE + f"WHERE m.execution_no = {execution} AND m.answer IS NULL ORDER BY m.no",
        rows.SIGNAL + f"WHERE s.execution_no = {execution} AND s.taken_version IS NULL ORDER BY s.version",
        approvals.KEPT.format(execution=execution),
        items.LOOPS.format(execution=execution),
    )


_OF_ID: Final = _questions_of("(SELECT no FROM workflow_executions WHERE id = ?)")
_OF_NO: Final = _questions_of("?")
_INBOX: Final = (
    _OF_ID[0],
    rows.MESSAGE + "WHERE m.execution_no = (SELECT no FROM workflow_executions WHERE id = ?) "
    "AND m.applied_version IS NULL ORDER BY m.no",
)


def load(execution_id: str) -> Script[Loaded | None]:
    """All that is needed to take the execution up, or None; to be asked as of one moment."""
    return _loaded(_OF_ID, (execution_id,))


def load_by_no(execution_no: int) -> Script[Loaded | None]:
    """The same for an execution whose number is known."""
    return _loaded(_OF_NO, (execution_no,))


def load_parked(execution_id: str) -> Script[Loaded | Execution | None]:
    """The same where nobody owns it and it rests or only waits; else the execution alone."""
    execution, hung = yield from _asked(_OF_ID, (execution_id,))
    if execution is None or execution.runner is not None or execution.state not in PARKED:
        return execution
    return (yield from _with_all(execution, hung))


def load_ended(execution_id: str) -> Script[Loaded | State | None]:
    """The same where it has ended; else its state alone."""
    row = (yield "SELECT state FROM workflow_executions WHERE id = ?", (execution_id,)).fetchone()
    state = None if row is None else State(row[0])
    return (yield from load(execution_id)) if state in TERMINAL else state


def inbox(execution_id: str) -> Script[tuple[Execution, list[Message]] | None]:
    """The execution with the messages that are not applied yet."""
    execution, (messages,) = yield from _asked(_INBOX, (execution_id,))
    return None if execution is None else (execution, list(map(rows.message, messages)))


def _loaded(questions: Sequence[str], key: tuple[Any]) -> Script[Loaded | None]:
    execution, hung = yield from _asked(questions, key)
    return None if execution is None else (yield from _with_all(execution, hung))


def _asked(questions: Sequence[str], key: tuple[Any]) -> Script[tuple[Execution | None, list[Any]]]:
    """The execution, and the cursors with what hangs on it."""
    found, *hung = yield Several([(question, key) for question in questions])
    row = found.fetchone()
    return None if row is None else rows.execution(row), hung


def _with_all(execution: Execution, hung: Sequence[Any]) -> Script[Loaded]:
    """The execution with what hangs on it."""
    attempted, timers, inbox, signals, asked, looped = hung
    attempts = tuple(map(rows.attempt, attempted))
    return Loaded(
        execution=execution,
        attempts=attempts,
        timers=tuple(map(rows.timer, timers)),
        inbox=tuple(map(rows.message, inbox)),
        signals=tuple(map(rows.signal, signals)),
        approvals=tuple(map(approvals.approval, asked)),
        loops=(yield from items.kept(execution.no, looped, attempts)),
    )


_CONTEXT: Final = "coalesce(c.patched_context, c.context)"
_CLAIMABLE: Final = f"""
SELECT e.no, e.id, e.workflow_no, {_CONTEXT}
FROM workflow_executions e JOIN workflow_contexts c ON c.execution_no = e.no
WHERE {CLAIMABLE} """
_CONTEXT_OF: Final = f"SELECT {_CONTEXT} FROM workflow_contexts c WHERE c.execution_no = ?"


def claimable(limit: int, after_no: int) -> Script[list[Claimable]]:
    """Executions nobody owns that have something to do now, highest priority first, then oldest.

    Two ranges of one index: what is left of the priority of `after_no`, then every lower one.
    """
    limit = bounded(limit)
    start = yield from _priority_of(after_no)
    order = "ORDER BY e.priority DESC, e.no LIMIT ?"
    if start is None:
        return (yield from _claimable(_CLAIMABLE + order, (limit,)))
    same = _CLAIMABLE + "AND e.priority = ? AND e.no > ? " + order
    found = yield from _claimable(same, (start, after_no, limit))
    if len(found) < limit:
        lower = _CLAIMABLE + "AND e.priority < ? " + order
        found += yield from _claimable(lower, (start, limit - len(found)))
    return found


def _claimable(question: str, parameters: rows.Row) -> Script[list[Claimable]]:
    """Where a context cannot be read back, each is asked for alone, to find out which."""
    try:
        found = (yield question, parameters).fetchall()
        return [Claimable(no, id_, workflow_no, decode(context)) for no, id_, workflow_no, context in found]
    except StoreCorrupt:
        heads = (yield question.replace(_CONTEXT, "NULL"), parameters).fetchall()
    alone = []
    for no, id_, workflow_no, _ in heads:
        context = None
        with suppress(StoreCorrupt):
            context = decode((yield _CONTEXT_OF, (no,)).fetchone()[0])
        alone.append(Claimable(no, id_, workflow_no, context))
    return alone


def _priority_of(execution_no: int) -> Script[int | None]:
    """The priority a page ended at; None at the beginning, or when that execution is gone."""
    found = yield "SELECT priority FROM workflow_executions WHERE no = ?", (execution_no,)
    row = found.fetchone()
    return None if row is None else row[0]


# Deaths count over all attempts of the newest generation, until that has its outcome.
_SUSPECTS: Final = f"""
SELECT e.id, e.workflow_no, sum(a.deaths), max(a.started_at), e.no, a.step_no, 0
FROM workflow_executions e INDEXED BY workflow_executions_claimable
CROSS JOIN workflow_step_executions a ON a.execution_no = e.no
WHERE {CLAIMABLE} AND a.deaths > 0
  AND a.generation = (SELECT max(n.generation) FROM workflow_step_executions n
                      WHERE n.execution_no = a.execution_no AND n.step_no = a.step_no)
  AND NOT EXISTS (SELECT 1 FROM workflow_step_executions o
                  WHERE o.execution_no = a.execution_no AND o.step_no = a.step_no
                    AND o.generation = a.generation AND o.is_outcome = 1)
GROUP BY e.no, e.id, e.workflow_no, a.step_no
HAVING sum(a.deaths) >= ?
UNION ALL
SELECT e.id, e.workflow_no, i.deaths, i.started_at, e.no, i.step_no, i.item
FROM workflow_executions e
JOIN workflow_items i ON i.execution_no = e.no
WHERE {CLAIMABLE} AND i.is_open = 1 AND i.deaths >= ?
ORDER BY 3 DESC, 4 DESC, 5, 6, 7
LIMIT ?
"""


def suspects(deaths: int, limit: int) -> Script[list[Suspect]]:
    """Claimable executions with steps (or items of them) during which the process died: see the protocol."""
    found: dict[str, Suspect] = {}
    for id_, workflow_no, died, *_ in (yield _SUSPECTS, (deaths, deaths, limit)):
        known = found.get(id_)
        if known is None:
            found[id_] = Suspect(execution_id=id_, workflow_no=workflow_no, deaths=int(died), steps=1)
        elif known.deaths == died:
            found[id_] = msgspec.structs.replace(known, steps=known.steps + 1)
    return list(found.values())


_DUE = (
    "FROM workflow_timers t INDEXED BY workflow_timers_due "
    "CROSS JOIN workflow_executions e ON e.no = t.execution_no "
    "WHERE e.runner_no IS NULL AND (e.state = 'awaiting_completion' "
    f"OR e.state = 'paused' AND t.kind IN ('{WARN_TIMER}', '{RESUME_TIMER}') "
    f"OR t.step_no = ? AND {CLAIMABLE}) "
)


def due(before: int, limit: int, after: Due | None) -> Script[list[Due]]:
    """Timers due by then of executions nobody owns: all of those that wait, the deadlines of others.

    A paused execution's timers stay out but for those that tell of a long wait or end it: what else
    falls due meanwhile fires when it is resumed.
    """
    start = (NEVER, 0) if after is None else (after.due_at, after.execution_no)
    found = yield (
        "SELECT e.id, e.no, e.workflow_no, t.step_no, t.due_at, t.kind "
        + _DUE
        + "AND t.due_at <= ? AND (t.due_at, t.execution_no) > (?, ?) "
        + "ORDER BY t.due_at, t.execution_no LIMIT ?",
        (EXECUTION_TIMER, before, *start, bounded(limit)),
    )
    return [
        Due(
            execution_id=row[0],
            execution_no=row[1],
            workflow_no=row[2],
            needs_code=row[5] == RESUME_TIMER or (row[3] != EXECUTION_TIMER and row[5] != WARN_TIMER),
            due_at=row[4],
        )
        for row in found
    ]


def next_due(after: int) -> Script[int | None]:
    """When the next of them falls due, after that time."""
    query = "SELECT t.due_at " + _DUE + "AND t.due_at > ? ORDER BY t.due_at LIMIT 1"
    row = (yield query, (EXECUTION_TIMER, after)).fetchone()
    return None if row is None else row[0]


def mail(runner_no: int | None, limit: int, after_no: int) -> Script[list[tuple[int, str]]]:
    """Unfinished executions of this runner (None: of nobody) that have messages not applied yet."""
    limit = bounded(limit)
    found = yield (
        (MAIL.format(owner="e.runner_no IS NULL"), (after_no, limit))
        if runner_no is None
        else (MAIL.format(owner="e.runner_no = ?"), (after_no, runner_no, limit))
    )
    return [(row[0], row[1]) for row in found]


MAIL = """
SELECT DISTINCT m.execution_no, e.id FROM workflow_messages m INDEXED BY workflow_messages_unapplied
CROSS JOIN workflow_executions e ON e.no = m.execution_no
WHERE m.applied_version IS NULL AND m.execution_no > ? AND {owner}
  AND e.state NOT IN ('completed', 'failed', 'cancelled', 'rolled_back')
ORDER BY m.execution_no LIMIT ?
"""


def applied(execution_id: str, command_id: str) -> Script[int | None]:
    """The version in which the execution applied that command; None if it never has."""
    row = (
        yield (
            (
                "SELECT v.version FROM workflow_executions e JOIN workflow_events v ON v.execution_no = e.no "
                "WHERE e.id = ? AND v.command_id = ?"
            ),
            (execution_id, command_id),
        )
    ).fetchone()
    return None if row is None else row[0]


def message(no: int) -> Script[Message | None]:
    """One message, with its answer once there is one."""
    row = (yield rows.MESSAGE + "WHERE m.no = ?", (no,)).fetchone()
    return None if row is None else rows.message(row)


def runners() -> Script[list[Runner]]:
    """The processes on the list."""
    return list(map(rows.runner, (yield rows.RUNNER, ())))


def held() -> Script[dict[int, int]]:
    """How many executions each runner owns, by its `no`; who owns none is not in it."""
    found = yield HELD, ()
    return {runner_no: count for runner_no, count in found}  # noqa: C416  a row need not be a tuple


def owned(runner_no: int) -> Script[list[str]]:
    """Ids of the executions that this runner owns."""
    found = yield "SELECT id FROM workflow_executions WHERE runner_no = ? ORDER BY no", (runner_no,)
    return [row[0] for row in found]


HELD = """
SELECT runner_no, count(*) FROM workflow_executions INDEXED BY workflow_executions_runner
WHERE runner_no IS NOT NULL GROUP BY runner_no
"""


def fold(execution_id: str, version: int) -> Script[tuple[Attempt, ...]]:
    """The outcome of each step as of that version.

    Per step the newest generation opened by then counts; it has an outcome if it settled by then.
    """
    found = yield (
        rows.ATTEMPT
        + "WHERE e.id = ? AND a.is_outcome = 1 AND a.settled_version <= ? "
        + "AND NOT EXISTS (SELECT 1 FROM workflow_step_executions n "
        + "WHERE n.execution_no = a.execution_no AND n.step_no = a.step_no "
        + "AND n.generation > a.generation AND n.opened_version <= ?) "
        + "ORDER BY a.step_no",
        (execution_id, version, version),
    )
    return tuple(map(rows.attempt, found))


def signals_taken(execution_id: str, after: int) -> Script[tuple[KeptSignal, ...]]:
    """The signals that steps took after that version, in the order of their arrival."""
    found = yield (
        rows.SIGNAL
        + "JOIN workflow_executions e ON e.no = s.execution_no "
        + "WHERE e.id = ? AND s.taken_version > ? ORDER BY s.version",
        (execution_id, after),
    )
    return tuple(map(rows.signal, found))


def context_at(execution_id: str, version: int) -> Script[dict[str, Any]]:
    """The context as of that version: the first one with every later patch laid over it."""
    row = (
        yield (
            (
                "SELECT e.no, c.context FROM workflow_executions e "
                "JOIN workflow_contexts c ON c.execution_no = e.no WHERE e.id = ?"
            ),
            (execution_id,),
        )
    ).fetchone()
    if row is None:
        raise NotFound("execution", execution_id)
    context: dict[str, Any] = decode(row[1], what=f"the context of execution {execution_id}")
    patches = yield (
        (
            "SELECT data FROM workflow_events WHERE execution_no = ? AND type = 'context_updated' "
            "AND version <= ? AND data IS NOT NULL ORDER BY id"
        ),
        (row[0], version),
    )
    for (data,) in patches:
        update = decode(data, what=f"a context update of {execution_id}")
        context = update["replace"] if "replace" in update else context | update.get("patch", {})
    return context
