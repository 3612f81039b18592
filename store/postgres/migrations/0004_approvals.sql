-- What an execution asks people, and what they have decided: a row from the question, or the first decision,
-- until the step waits no longer. What was decided early has no `asked_at` yet.

CREATE TABLE workflow_approvals (
    execution_no bigint  NOT NULL,
    step_no      integer NOT NULL,
    generation   integer NOT NULL,
    quorum       integer NOT NULL CHECK (quorum > 0),
    approvers    text    NOT NULL,
    decisions    text    NOT NULL,
    message      text,
    asked_at     bigint,
    due_at       bigint,
    PRIMARY KEY (execution_no, step_no)
);

CREATE INDEX workflow_approvals_asked ON workflow_approvals (asked_at) WHERE asked_at IS NOT NULL;
