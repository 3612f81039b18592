"""The text of a set of writes: for each kind of row one part of the statement, each column an array."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# The columns of each part and their types, in the order in which rows are built below.
COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "start": (
        ("ord", "int"),
        ("id", "text"),
        ("workflow_no", "bigint"),
        ("state", "text"),
        ("epoch", "bigint"),
        ("runner_no", "bigint"),
        ("priority", "bigint"),
        ("updated_at", "bigint"),
        ("created_at", "bigint"),
        ("started_at", "bigint"),
        ("deadline_at", "bigint"),
        ("remaining_ms", "bigint"),
        ("triggered_by", "text"),
        ("parent_id", "text"),
        ("trace_id", "text"),
        ("agents", "text"),
        ("finished_at", "bigint"),
        ("error", "text"),
        ("timeout_ms", "bigint"),
        ("parent_step", "int"),
        ("context", "text"),
    ),
    "change": (
        ("ord", "int"),
        ("no", "bigint"),
        ("version", "bigint"),
        ("epoch", "bigint"),
        ("before", "text"),
        ("state", "text"),
        ("at", "bigint"),
    ),
    "context": (("no", "bigint"), ("context", "text")),
    "ended": (("no", "bigint"),),
    "attempt": (
        ("ord", "int"),
        ("step_no", "int"),
        ("generation", "bigint"),
        ("attempt", "bigint"),
        ("lineage", "bigint"),
        ("state", "text"),
        ("is_outcome", "int"),
        ("opened_version", "bigint"),
        ("settled_version", "bigint"),
        ("started_at", "bigint"),
        ("finished_at", "bigint"),
        ("due_at", "bigint"),
        ("error", "text"),
        ("output", "text"),
        ("made_in", "bigint"),
    ),
    "move": (
        ("state", "text"),
        ("is_outcome", "int"),
        ("settled_version", "bigint"),
        ("started_at", "bigint"),
        ("finished_at", "bigint"),
        ("due_at", "bigint"),
        ("error", "text"),
        ("output", "text"),
        ("cost_nanos", "bigint"),
        ("tokens", "bigint"),
        ("no", "bigint"),
        ("step_no", "int"),
        ("generation", "bigint"),
        ("attempt", "bigint"),
        ("before", "text"),
    ),
    "set_timer": (("ord", "int"), ("kind", "text"), ("step_no", "int"), ("due_at", "bigint")),
    "clear_timer": (("no", "bigint"), ("kind", "text"), ("step_no", "int")),
    "message": (("no", "bigint"), ("message_no", "bigint"), ("version", "bigint"), ("answer", "text")),
    "checkpoint": (
        ("ord", "int"),
        ("version", "bigint"),
        ("label", "text"),
        ("by", "text"),
        ("automatic", "int"),
        ("at", "bigint"),
        ("steps_completed", "bigint"),
        ("steps_total", "bigint"),
        ("size_bytes", "bigint"),
    ),
    "event": (
        ("position", "bigint"),
        ("ord", "int"),
        ("version", "bigint"),
        ("at", "bigint"),
        ("type", "text"),
        ("step_no", "int"),
        ("attempt", "bigint"),
        ("by", "text"),
        ("command_id", "text"),
        ("data", "text"),
    ),
}

FIELD_TYPES: Final = {
    "error": "text",
    "pause_mode": "text",
    "paused_by": "text",
    "pause_reason": "text",
    "rollback_reason": "text",
    "agents": "text",
    "budget": "text",
    "circuit_breaker_state": "text",
    "resume_plan": "text",
    "queue": "text",
    "slot": "text",
}  # every other field of a change is a number


@lru_cache(maxsize=512)
def statement(present: tuple[str, ...], fields: tuple[str, ...], schema: str) -> str:
    """The text for sets that have these parts and set these fields; `$1` are the counts to be met."""
    columns = dict(COLUMNS)
    extra = ((f"sets_{name}", "boolean") for name in fields), ((name, _type(name)) for name in fields)
    columns["change"] = COLUMNS["change"] + tuple(
        pair for pairs in zip(*extra, strict=True) for pair in pairs
    )
    ctes: list[str] = []
    number = 2
    for name in present:
        names = ", ".join(f'"{column}"' for column, _ in columns[name])
        arrays = ", ".join(f"${number + at}::{kind}[]" for at, (_, kind) in enumerate(columns[name]))
        number += len(columns[name])
        source = f"SELECT * FROM unnest({arrays}) AS t ({names})"
        if name == "start":
            source = f"SELECT t.*, nextval('{schema}.workflow_executions_no_seq') AS no FROM ({source}) t"
        ctes.append(f"{name}_ AS MATERIALIZED ({source})")
    owners = [f"SELECT ord, no FROM {name}_" for name in ("start", "change") if name in present]
    ctes.append(f"owner_ AS MATERIALIZED ({' UNION ALL '.join(owners)})")
    sets = "".join(f', "{n}" = CASE WHEN w."sets_{n}" THEN w."{n}" ELSE e."{n}" END' for n in fields)
    # The row of the log's ids is locked last: whoever waits for it holds what it needs besides.
    after = "WHERE (SELECT count(*) FROM change_done) >= 0" if "change" in present else ""
    for name in present:
        ctes += [part.format(s=schema, sets=sets, after=after) for part in WRITES[name]]
    done = [
        f"(SELECT count(*) FROM {name}_done) = ($1::bigint[])[{at}]"
        for at, name in enumerate(("change", "move", "message"), 1)
        if name in present
    ]
    base = "(SELECT base FROM event_base)" if "event" in present else "0"
    keys = "(SELECT array_agg(no ORDER BY ord) FROM start_)" if "start" in present else "NULL"
    return (
        f"WITH {', '.join(ctes)} SELECT {base}, {keys}, "
        f"{schema}.workflow_all_or_nothing({' AND '.join(done) or '($1::bigint[]) IS NOT NULL'})"
    )


def _type(field: str) -> str:
    return FIELD_TYPES.get(field, "bigint")


WRITES: Final[dict[str, tuple[str, ...]]] = {
    "start": (
        """
        start_done AS (INSERT INTO {s}.workflow_executions (no, id, workflow_no, state, version, epoch,
        runner_no, priority, updated_at, created_at, started_at, deadline_at, remaining_ms, triggered_by,
        parent_id, trace_id, agents, finished_at, error, timeout_ms, parent_step) SELECT no, id,
        workflow_no, state, 1, epoch, runner_no, priority, updated_at, created_at, started_at,
        deadline_at, remaining_ms, triggered_by, parent_id, trace_id, agents, finished_at, error,
        timeout_ms, parent_step
        FROM start_)
        """,
        """
        start_context AS (INSERT INTO {s}.workflow_contexts (execution_no, context) SELECT no, context
        FROM start_)
        """,
    ),
    "change": (
        """
        change_locked AS MATERIALIZED (SELECT e.no FROM change_ w JOIN {s}.workflow_executions e ON e.no =
        w.no ORDER BY e.no FOR NO KEY UPDATE OF e)
        """,
        """
        change_done AS (UPDATE {s}.workflow_executions e SET state = w.state, version = e.version + 1,
        updated_at = w.at{sets} FROM change_ w JOIN change_locked l ON l.no = w.no WHERE e.no = w.no AND
        e.version = w.version AND e.epoch = w.epoch AND e.state = w.before RETURNING e.no)
        """,
    ),
    "context": (
        """
        context_done AS (UPDATE {s}.workflow_contexts c SET patched_context = w.context FROM context_ w
        WHERE c.execution_no = w.no)
        """,
    ),
    "ended": (
        """
        ended_done AS (DELETE FROM {s}.workflow_timers t USING ended_ w WHERE t.execution_no = w.no)
        """,
    ),
    "attempt": (
        """
        attempt_done AS (INSERT INTO {s}.workflow_step_executions (execution_no, step_no, generation,
        attempt, lineage, state, is_outcome, opened_version, settled_version, started_at, finished_at,
        due_at, error, output, made_in) SELECT o.no, w.step_no, w.generation, w.attempt, w.lineage, w.state,
        w.is_outcome, w.opened_version, w.settled_version, w.started_at, w.finished_at, w.due_at,
        w.error, w.output, w.made_in FROM attempt_ w JOIN owner_ o USING (ord))
        """,
    ),
    "move": (
        """
        move_done AS (UPDATE {s}.workflow_step_executions a SET state = w.state, is_outcome = a.is_outcome
        | w.is_outcome, settled_version = coalesce(a.settled_version, w.settled_version), started_at =
        coalesce(w.started_at, a.started_at), finished_at = coalesce(w.finished_at, a.finished_at), due_at
        = w.due_at, error = coalesce(w.error, a.error), output = coalesce(w.output, a.output),
        cost_nanos = coalesce(w.cost_nanos, a.cost_nanos), tokens = coalesce(w.tokens, a.tokens) FROM move_ w
        WHERE a.execution_no = w.no AND a.step_no = w.step_no AND a.generation = w.generation AND
        a.attempt = w.attempt AND a.state = w.before RETURNING 1)
        """,
    ),
    "set_timer": (
        """
        set_timer_done AS (INSERT INTO {s}.workflow_timers (execution_no, kind, step_no, due_at) SELECT
        o.no, w.kind, w.step_no, w.due_at FROM set_timer_ w JOIN owner_ o USING (ord) ON CONFLICT
        (execution_no, kind, step_no) DO UPDATE SET due_at = excluded.due_at)
        """,
    ),
    "clear_timer": (
        """
        clear_timer_done AS (DELETE FROM {s}.workflow_timers t USING clear_timer_ w WHERE t.execution_no =
        w.no AND t.kind = w.kind AND t.step_no = w.step_no)
        """,
    ),
    "message": (
        """
        message_done AS (UPDATE {s}.workflow_messages m SET applied_version = coalesce(m.applied_version,
        w.version), answer = coalesce(m.answer, w.answer) FROM message_ w WHERE m.no = w.message_no AND
        m.execution_no = w.no RETURNING 1)
        """,
    ),
    "checkpoint": (
        """
        checkpoint_done AS (INSERT INTO {s}.workflow_checkpoints (execution_no, version, label, by,
        automatic, created_at, steps_completed, steps_total, size_bytes) SELECT o.no, w.version, w.label,
        w.by, w.automatic, w.at, w.steps_completed, w.steps_total, w.size_bytes FROM checkpoint_ w JOIN
        owner_ o USING (ord))
        """,
    ),
    "event": (
        """
        event_base AS (UPDATE {s}.workflow_log SET last = last + ($1::bigint[])[4] {after} RETURNING last
        - ($1::bigint[])[4] AS base)
        """,
        """
        event_done AS (INSERT INTO {s}.workflow_events (id, execution_no, version, at, type, step_no,
        attempt, by, command_id, data) SELECT b.base + w.position, o.no, w.version, w.at, w.type,
        w.step_no, w.attempt, w.by, w.command_id, w.data FROM event_ w JOIN owner_ o USING (ord) CROSS
        JOIN event_base b)
        """,
    ),
}
