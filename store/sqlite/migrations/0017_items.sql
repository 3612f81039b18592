-- Steps that are performed for each of many items: the loop, what it goes over, and a row for each item that
-- has begun. A loop is named by its step and lineage, so that a retry goes on with it. `is_open`: the loop
-- has still something to do with the item; of these there are never more than may be in flight.

CREATE TABLE workflow_loops (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    step_no      INTEGER NOT NULL,
    lineage      INTEGER NOT NULL,
    total        INTEGER NOT NULL CHECK (total >= 0),
    begun        INTEGER NOT NULL CHECK (begun BETWEEN 0 AND total),
    completed    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL,
    PRIMARY KEY (execution_no, step_no, lineage)
) WITHOUT ROWID;

CREATE TABLE workflow_loop_pages (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    step_no      INTEGER NOT NULL,
    lineage      INTEGER NOT NULL,
    page         INTEGER NOT NULL,
    items        TEXT    NOT NULL,
    PRIMARY KEY (execution_no, step_no, lineage, page)
);

CREATE TABLE workflow_items (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    step_no      INTEGER NOT NULL,
    lineage      INTEGER NOT NULL,
    item         INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (CASE state
                     WHEN 'completed' THEN 1 WHEN 'running' THEN 1 WHEN 'pending' THEN 1
                     WHEN 'waiting' THEN 1 WHEN 'failed' THEN 1 WHEN 'cancelled' THEN 1 ELSE 0 END),
    is_open      INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    started_at   INTEGER,
    finished_at  INTEGER,
    due_at       INTEGER,
    deaths       INTEGER NOT NULL DEFAULT 0,
    alone        INTEGER NOT NULL DEFAULT 0,
    error        TEXT,
    output       TEXT,
    PRIMARY KEY (execution_no, step_no, lineage, item)
) WITHOUT ROWID;

CREATE INDEX workflow_items_open ON workflow_items (execution_no, step_no, lineage, item) WHERE is_open = 1;
