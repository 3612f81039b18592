-- Up to which execution the logs of those that have ended were compacted.

CREATE TABLE workflow_compaction_reach (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    execution_no INTEGER NOT NULL
);

INSERT INTO workflow_compaction_reach (one, execution_no) VALUES (1, 0);
