-- An execution that has moved to another revision: up to this version of its log it was one of that workflow,
-- whose numbers its events have.

CREATE TABLE workflow_execution_moves (
    execution_no bigint NOT NULL,
    version      bigint NOT NULL,
    workflow_no  bigint NOT NULL,
    PRIMARY KEY (execution_no, version)
);

CREATE INDEX workflow_execution_moves_workflow ON workflow_execution_moves (workflow_no);
