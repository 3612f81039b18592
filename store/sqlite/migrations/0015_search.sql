-- Full-text search, filled afterwards from the log: nobody who writes waits for it. Of an execution the
-- number is its own, of a workflow's revision the negative one. Indexes for what lists ask for.

CREATE VIRTUAL TABLE workflow_search USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');

-- Up to which event, and which revision, everything that has ended can be found.
CREATE TABLE workflow_search_reach (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    event_id    INTEGER NOT NULL,
    workflow_no INTEGER NOT NULL
);

INSERT INTO workflow_search_reach (one, event_id, workflow_no) VALUES (1, 0, 0);

CREATE INDEX workflow_executions_unfinished ON workflow_executions (no)
    WHERE state <> 'completed' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'rolled_back';
CREATE INDEX workflow_executions_cancelled ON workflow_executions (no) WHERE state = 'cancelled';
CREATE INDEX workflow_executions_rolled_back ON workflow_executions (no) WHERE state = 'rolled_back';
