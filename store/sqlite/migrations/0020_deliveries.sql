-- The outbox of webhooks: one line for each call, written with the change that it tells of.

CREATE TABLE workflow_deliveries (
    id           TEXT NOT NULL PRIMARY KEY,
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    event        TEXT NOT NULL,
    url          TEXT NOT NULL,
    secret       TEXT,
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts     INTEGER NOT NULL,
    due_at       INTEGER,
    status       INTEGER,
    reason       TEXT,
    created_at   INTEGER NOT NULL,
    settled_at   INTEGER
) WITHOUT ROWID;

CREATE INDEX workflow_deliveries_due ON workflow_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX workflow_deliveries_execution ON workflow_deliveries (execution_no);
