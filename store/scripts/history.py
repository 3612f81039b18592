"""How the steps of a workflow have fared lately: what they took and what they cost."""

from __future__ import annotations

from typing import Final

from perdure.store.script import Script
from perdure.store.usage import NANOS, StepHistory

EXECUTIONS_MAX: Final = 1_000  # the newest that are looked at: what a workflow did last year says little

# Attempts that failed cost, too, so an outcome costs what all attempts together did; but what an
# outcome took is the time of the attempt that gave it.
STEP_HISTORY: Final = """
SELECT s.key, sum(a.is_outcome),
       avg(CASE WHEN a.is_outcome = 1 AND a.state = 'completed' THEN a.finished_at - a.started_at END),
       sum(a.cost_nanos), sum(a.tokens)
FROM workflow_step_executions a
JOIN workflow_executions e ON e.no = a.execution_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
WHERE a.state <> 'skipped' AND e.no IN (
    SELECT x.no FROM workflow_executions x
    WHERE x.workflow_no IN (SELECT w.no FROM workflows w WHERE w.name = ?) ORDER BY x.no DESC LIMIT ?)
GROUP BY s.key ORDER BY s.key
"""


def step_history(workflow: str) -> Script[dict[str, StepHistory]]:
    """By step key, over the newest executions of all revisions; steps without an outcome are left out."""
    found = yield STEP_HISTORY, (workflow, EXECUTIONS_MAX)
    return {
        key: StepHistory(
            outcomes=int(outcomes),
            duration_ms_mean=None if duration is None else float(duration),
            cost_mean=None if nanos is None else int(nanos) / NANOS / int(outcomes),
            tokens_mean=None if tokens is None else int(tokens) / int(outcomes),
        )
        for key, outcomes, duration, nanos, tokens in found
        if outcomes
    }
