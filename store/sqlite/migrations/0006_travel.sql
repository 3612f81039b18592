-- An execution that was forked off another one: the position in the source's log that it shares the past up to.
-- The source is named by its id: it may be deleted, what was copied from it stays.

CREATE TABLE workflow_forks (
    execution_no   INTEGER PRIMARY KEY REFERENCES workflow_executions (no),
    source_id      TEXT    NOT NULL,
    source_version INTEGER NOT NULL
);

CREATE INDEX workflow_forks_source ON workflow_forks (source_id, source_version);
