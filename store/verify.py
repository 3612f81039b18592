"""Looks for damage: in the file, between the tables, and in what an execution's log must always be."""

from __future__ import annotations

import sqlite3
from typing import Final

CHECKS: Final = {
    "execution {0} has events of version {1} and none of {2}: its log has a gap": """
        SELECT e.id, v.version, v.version - 1 FROM
          (SELECT DISTINCT execution_no, version FROM workflow_events WHERE version > 1) v
        JOIN workflow_executions e ON e.no = v.execution_no
        WHERE v.version > e.version {only}""",
    "step {1} of execution {0} has two outcomes in generation {2}": """
        SELECT e.id, a.step_no, a.generation FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        WHERE a.is_outcome = 1 {only}
        GROUP BY a.execution_no, a.step_no, a.generation HAVING count(*) > 1""",
    "step {1} of execution {0} is running although the execution is {2}": """
        SELECT e.id, a.step_no, e.state FROM workflow_step_executions a
        JOIN workflow_executions e ON e.no = a.execution_no
        WHERE a.state = 'running'
          AND e.state IN ('completed', 'failed', 'cancelled', 'rolled_back', 'paused') {only}""",
    "execution {0} is {1} and still owned by runner {2}": """
        SELECT e.id, e.state, e.runner_no FROM workflow_executions e
        WHERE e.runner_no IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM runners r WHERE r.no = e.runner_no) {only}""",
}


def verify(connection: sqlite3.Connection, execution_id: str | None) -> list[str]:
    """A sentence for each thing found; empty when all is well."""
    found = [
        f"the file is damaged: {row[0]}"
        for row in connection.execute("PRAGMA integrity_check(20)")
        if row[0] != "ok"
    ]
    found += [
        f"a row of {row[0]} refers to a row of {row[2]} that is not there"
        for row in connection.execute("PRAGMA foreign_key_check")
    ]
    only = "" if execution_id is None else "AND e.id = ?"
    parameters = () if execution_id is None else (execution_id,)
    for sentence, query in CHECKS.items():
        for row in connection.execute(query.format(only=only), parameters):
            found.append(sentence.format(*row))
    return found
