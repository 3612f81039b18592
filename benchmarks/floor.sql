-- The rows of a durable engine: what an execution is, what its steps came to, what happened.
-- Frozen: a schema of the product's that gets slower must show as a smaller share of the floor.

CREATE TABLE executions (
    no         INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 128),
    state      TEXT    NOT NULL CHECK (CASE state
                   WHEN 'executing' THEN 1 WHEN 'waiting' THEN 1 WHEN 'completed' THEN 1 ELSE 0 END),
    version    INTEGER NOT NULL CHECK (version > 0),
    epoch      INTEGER NOT NULL,
    runner_no  INTEGER,
    priority   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    due_at     INTEGER,
    trace_id   TEXT    NOT NULL
);

CREATE INDEX executions_runner ON executions (runner_no) WHERE runner_no IS NOT NULL;
CREATE INDEX executions_unfinished ON executions (priority DESC, no) WHERE runner_no IS NULL AND state = 'executing';
CREATE INDEX executions_due ON executions (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE steps (
    execution_no INTEGER NOT NULL REFERENCES executions (no),
    step_no      INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (CASE state WHEN 'completed' THEN 1 WHEN 'failed' THEN 1 ELSE 0 END),
    is_outcome   INTEGER NOT NULL CHECK (is_outcome IN (0, 1)),
    version      INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    error        TEXT,
    output       TEXT,
    PRIMARY KEY (execution_no, step_no, generation, attempt)
) WITHOUT ROWID;

CREATE UNIQUE INDEX steps_outcome ON steps (execution_no, step_no, generation) WHERE is_outcome = 1;

CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_no INTEGER NOT NULL REFERENCES executions (no),
    version      INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    type         TEXT    NOT NULL,
    step_no      INTEGER,
    attempt      INTEGER,
    command_id   TEXT,
    data         TEXT
);

CREATE INDEX events_execution ON events (execution_no, id);
CREATE UNIQUE INDEX events_command ON events (execution_no, command_id) WHERE command_id IS NOT NULL;

CREATE TRIGGER events_never_replaced BEFORE INSERT ON events
WHEN (NEW.id > 0 AND EXISTS (SELECT 1 FROM events WHERE id = NEW.id))
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
