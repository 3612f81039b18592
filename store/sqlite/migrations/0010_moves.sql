-- An execution that has moved to another revision: up to this version of its log it was one of that workflow,
-- whose numbers its events have.

CREATE TABLE workflow_execution_moves (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    version      INTEGER NOT NULL,
    workflow_no  INTEGER NOT NULL REFERENCES workflows (no),
    PRIMARY KEY (execution_no, version)
) WITHOUT ROWID;

CREATE INDEX workflow_execution_moves_workflow ON workflow_execution_moves (workflow_no);
