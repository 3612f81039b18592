"""What executions, their steps and their errors come to, told apart by workflow: counted over any of them.

Retention counts those that it is about to delete, into the roll-ups, and upkeep what has ended, into the
tallies; statistics count the others. `{chosen}` names the executions as `e`, `{where}` says which of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure.store.scripts.rows import Row

EXECUTIONS: Final = """
SELECT w.name, e.state, count(*), count(e.duration_ms), CAST(coalesce(sum(e.duration_ms), 0) AS BIGINT),
       min(e.duration_ms), max(e.duration_ms), max(coalesce(e.started_at, e.created_at))
FROM {chosen}
CROSS JOIN workflows w ON w.no = e.workflow_no
WHERE {where}
GROUP BY w.name, e.state ORDER BY w.name, e.state
"""

DONE: Final = "a.is_outcome = 1 AND a.state IN ('completed', 'compensated')"
STEPS: Final = f"""
SELECT w.name, s.key, sum(CASE WHEN a.attempt > 0 THEN 1 ELSE 0 END), sum(a.is_outcome),
       sum(CASE WHEN {DONE} THEN 1 ELSE 0 END),
       sum(CASE WHEN a.is_outcome = 1 AND a.state = 'failed' THEN 1 ELSE 0 END),
       sum(CASE WHEN a.is_outcome = 1 AND a.state = 'skipped' THEN 1 ELSE 0 END),
       sum(CASE WHEN a.is_outcome = 1 AND a.attempt > 1 THEN 1 ELSE 0 END),
       sum(CASE WHEN {DONE} AND a.attempt > 1 THEN 1 ELSE 0 END),
       sum(CASE WHEN {DONE} AND a.duration_ms IS NOT NULL THEN 1 ELSE 0 END),
       CAST(coalesce(sum(CASE WHEN {DONE} THEN a.duration_ms END), 0) AS BIGINT)
FROM {{chosen}}
CROSS JOIN workflow_step_executions a ON a.execution_no = e.no
CROSS JOIN workflows w ON w.no = e.workflow_no
CROSS JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
WHERE {{where}}
GROUP BY w.name, s.key ORDER BY w.name, s.key
"""

_FAILURES: Final = """
SELECT f.workflow, {step}, coalesce(f.error, ''), count(*), max(f.at)
FROM {failures} f
WHERE f.execution_no IN (SELECT e.no FROM {{chosen}} WHERE {{where}})
GROUP BY f.workflow, 2, 3 ORDER BY f.workflow, 2, 3
"""
FAILURES: Final = (  # of steps, and of executions that no step has made fail
    _FAILURES.format(failures="workflow_step_failures", step="f.step"),
    _FAILURES.format(failures="workflow_execution_failures", step="''"),
)

# How many of the completed took how long. For a plain `=` SQLite would make an index of all of them first.
DURATIONS: Final = """
SELECT w.name, e.duration_ms, count(*)
FROM {chosen}
CROSS JOIN workflows w ON w.no = e.workflow_no
WHERE NOT e.state <> 'completed' AND e.duration_ms IS NOT NULL AND {where}
GROUP BY w.name, e.duration_ms ORDER BY w.name, e.duration_ms
"""


def listed(counts: Iterable[Row]) -> dict[str, list[int]]:
    """The durations so counted one by one, by workflow."""
    found: dict[str, list[int]] = {}
    for workflow, duration_ms, count in counts:
        found.setdefault(workflow, []).extend([duration_ms] * count)
    return found
