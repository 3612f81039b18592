-- What an execution asks people, and what they have decided: a row from the question, or the first decision,
-- until the step waits no longer. What was decided early has no `asked_at` yet.

CREATE TABLE workflow_approvals (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    step_no      INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    quorum       INTEGER NOT NULL CHECK (quorum > 0),
    approvers    TEXT    NOT NULL,
    decisions    TEXT    NOT NULL,
    message      TEXT,
    asked_at     INTEGER,
    due_at       INTEGER,
    PRIMARY KEY (execution_no, step_no)
) WITHOUT ROWID;

CREATE INDEX workflow_approvals_asked ON workflow_approvals (asked_at) WHERE asked_at IS NOT NULL;
