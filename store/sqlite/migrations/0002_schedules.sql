-- When workflows start by themselves, and what became of each moment at which one was to.

CREATE TABLE workflow_schedules (
    no            INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 96
                                                 AND id NOT GLOB '*[^A-Za-z0-9._-]*' AND id GLOB '[A-Za-z0-9]*'),
    workflow      TEXT    NOT NULL,
    rule          TEXT    NOT NULL,
    is_declared   INTEGER NOT NULL CHECK (is_declared IN (0, 1)),
    is_paused     INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    version       INTEGER NOT NULL CHECK (version > 0),
    considered_at INTEGER NOT NULL,
    next_at       INTEGER,
    pending       TEXT    NOT NULL,
    last_execution TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);

CREATE INDEX workflow_schedules_due ON workflow_schedules (next_at) WHERE is_paused = 0 AND next_at IS NOT NULL;

-- The key is what makes one moment one decision, whoever takes it and however often.
CREATE TABLE workflow_schedule_firings (
    schedule_no  INTEGER NOT NULL REFERENCES workflow_schedules (no),
    due_at       INTEGER NOT NULL,
    decision     TEXT    NOT NULL CHECK (decision IN ('started', 'queued', 'skipped', 'missed', 'refused')),
    count        INTEGER NOT NULL CHECK (count > 0),
    execution_id TEXT,
    reason       TEXT,
    decided_at   INTEGER NOT NULL,
    PRIMARY KEY (schedule_no, due_at)
) WITHOUT ROWID;
