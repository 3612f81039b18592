-- The first schema: definitions, executions and everything an execution leaves behind.
-- Integer keys inside, readable ids once; times are milliseconds since 1970 UTC; payloads are JSON text.
-- No STRICT tables and no RETURNING: SQLite 3.34 of older distributions is good enough.

CREATE TABLE runners (
    no           INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    pid          INTEGER NOT NULL,
    host         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    lock_path    TEXT,
    doorbell     TEXT,
    lease_ms     INTEGER NOT NULL CHECK (lease_ms > 0),
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL
);

CREATE TABLE workflows (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 128 AND trim(name) = name),
    revision    TEXT    NOT NULL CHECK (length(revision) > 0),
    version     TEXT,
    description TEXT,
    author      TEXT,
    tags        TEXT    NOT NULL,
    definition  TEXT    NOT NULL,
    is_active   INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    created_at  INTEGER NOT NULL,
    UNIQUE (name, revision)
);

CREATE UNIQUE INDEX workflows_active ON workflows (name) WHERE is_active = 1;

CREATE TABLE workflow_steps (
    workflow_no INTEGER NOT NULL REFERENCES workflows (no),
    no          INTEGER NOT NULL CHECK (no >= 0),
    key         TEXT    NOT NULL,
    level       INTEGER NOT NULL CHECK (level >= 0),
    agent       TEXT    NOT NULL,
    PRIMARY KEY (workflow_no, no),
    UNIQUE (workflow_no, key)
) WITHOUT ROWID;

CREATE TABLE workflow_dependencies (
    workflow_no INTEGER NOT NULL,
    step_no     INTEGER NOT NULL,
    needs_no    INTEGER NOT NULL CHECK (needs_no <> step_no),
    level       INTEGER NOT NULL,
    PRIMARY KEY (workflow_no, step_no, needs_no),
    FOREIGN KEY (workflow_no, step_no) REFERENCES workflow_steps (workflow_no, no),
    FOREIGN KEY (workflow_no, needs_no) REFERENCES workflow_steps (workflow_no, no)
) WITHOUT ROWID;

-- A CHECK written as CASE costs a tenth of one written as IN, which builds a table per statement.
CREATE TABLE workflow_executions (
    no           INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL CHECK (length(id) BETWEEN 1 AND 128 AND id NOT GLOB '*[^A-Za-z0-9._-]*'
                                         AND id GLOB '[A-Za-z0-9]*'),
    workflow_no  INTEGER NOT NULL REFERENCES workflows (no),
    state        TEXT    NOT NULL CHECK (CASE state
                     WHEN 'executing' THEN 1 WHEN 'awaiting_completion' THEN 1 WHEN 'completed' THEN 1
                     WHEN 'scheduling' THEN 1 WHEN 'paused' THEN 1 WHEN 'pausing' THEN 1
                     WHEN 'failed' THEN 1 WHEN 'cancelled' THEN 1 WHEN 'cancelling' THEN 1
                     WHEN 'rolled_back' THEN 1 WHEN 'compensating' THEN 1 WHEN 'idle' THEN 1
                     WHEN 'parsing' THEN 1 WHEN 'validating' THEN 1 WHEN 'building_graph' THEN 1
                     WHEN 'creating_checkpoint' THEN 1 WHEN 'restoring_checkpoint' THEN 1
                     WHEN 'aggregating_results' THEN 1 ELSE 0 END),
    version      INTEGER NOT NULL CHECK (version > 0),
    epoch        INTEGER NOT NULL CHECK (epoch >= 0),
    runner_no    INTEGER REFERENCES runners (no),
    priority     INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    paused_at    INTEGER,
    finished_at  INTEGER,
    deadline_at  INTEGER,
    remaining_ms INTEGER,
    timeout_ms   INTEGER,
    resume_count INTEGER NOT NULL DEFAULT 0,
    triggered_by TEXT,
    parent_id    TEXT,
    trace_id     TEXT    NOT NULL,
    agents       TEXT,
    pause_mode   TEXT,
    paused_by    TEXT,
    pause_reason TEXT,
    error        TEXT
);

CREATE UNIQUE INDEX workflow_executions_id ON workflow_executions (id);
CREATE INDEX workflow_executions_workflow ON workflow_executions (workflow_no, no);
CREATE INDEX workflow_executions_runner ON workflow_executions (runner_no) WHERE runner_no IS NOT NULL;
CREATE INDEX workflow_executions_claimable ON workflow_executions (priority DESC, no)
    WHERE runner_no IS NULL AND state <> 'completed' AND state <> 'awaiting_completion'
      AND state <> 'paused' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'rolled_back';
CREATE INDEX workflow_executions_paused ON workflow_executions (no) WHERE state = 'paused';
CREATE INDEX workflow_executions_failed ON workflow_executions (no) WHERE state = 'failed';

-- Apart from the row above, which every transition rewrites: a context may be a mebibyte.
CREATE TABLE workflow_contexts (
    execution_no    INTEGER PRIMARY KEY REFERENCES workflow_executions (no),
    context         TEXT NOT NULL,
    patched_context TEXT
);

CREATE TABLE workflow_step_executions (
    execution_no    INTEGER NOT NULL REFERENCES workflow_executions (no),
    step_no         INTEGER NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation >= 0),
    attempt         INTEGER NOT NULL CHECK (attempt >= 0),
    lineage         INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (CASE state
                        WHEN 'completed' THEN 1 WHEN 'running' THEN 1 WHEN 'pending' THEN 1
                        WHEN 'waiting' THEN 1 WHEN 'failed' THEN 1 WHEN 'cancelled' THEN 1
                        WHEN 'skipped' THEN 1 WHEN 'compensated' THEN 1 ELSE 0 END),
    is_outcome      INTEGER NOT NULL CHECK (is_outcome IN (0, 1)),
    opened_version  INTEGER NOT NULL,
    settled_version INTEGER,
    started_at      INTEGER,
    finished_at     INTEGER,
    due_at          INTEGER,
    deaths          INTEGER NOT NULL DEFAULT 0,
    alone           INTEGER NOT NULL DEFAULT 0,
    error           TEXT,
    output          TEXT,
    PRIMARY KEY (execution_no, step_no, generation, attempt),
    CHECK (is_outcome = 0 OR (settled_version IS NOT NULL
           AND state <> 'pending' AND state <> 'running' AND state <> 'waiting'))
) WITHOUT ROWID;

CREATE UNIQUE INDEX workflow_step_executions_outcome
    ON workflow_step_executions (execution_no, step_no, generation) WHERE is_outcome = 1;

CREATE TABLE workflow_events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    version      INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    type         TEXT    NOT NULL,
    step_no      INTEGER,
    attempt      INTEGER,
    by           TEXT,
    command_id   TEXT,
    data         TEXT
);

CREATE INDEX workflow_events_execution ON workflow_events (execution_no, id);
CREATE UNIQUE INDEX workflow_events_command
    ON workflow_events (execution_no, command_id) WHERE command_id IS NOT NULL;

-- An execution listed here is being deleted, in this very transaction; only then may its events go.
CREATE TABLE workflow_deletions (
    execution_no INTEGER PRIMARY KEY REFERENCES workflow_executions (no)
);

CREATE TRIGGER workflow_deletions_only_terminal BEFORE INSERT ON workflow_deletions
WHEN (SELECT state FROM workflow_executions WHERE no = NEW.execution_no)
     NOT IN ('completed', 'failed', 'cancelled', 'rolled_back')
BEGIN
    SELECT RAISE(ABORT, 'only a terminal execution may be deleted');
END;

CREATE TRIGGER workflow_events_never_change BEFORE UPDATE ON workflow_events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: they never change');
END;

-- Asked by INSERT OR REPLACE too, since every connection of ours sets recursive_triggers: a trigger before
-- each insert would cost more than the insert.
CREATE TRIGGER workflow_events_never_vanish BEFORE DELETE ON workflow_events
WHEN NOT EXISTS (SELECT 1 FROM workflow_deletions WHERE execution_no = OLD.execution_no)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: they go only with their terminal execution');
END;

CREATE TABLE workflow_checkpoints (
    execution_no    INTEGER NOT NULL REFERENCES workflow_executions (no),
    version         INTEGER NOT NULL,
    label           TEXT,
    by              TEXT,
    automatic       INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    created_at      INTEGER NOT NULL,
    steps_completed INTEGER NOT NULL,
    steps_total     INTEGER NOT NULL,
    size_bytes      INTEGER NOT NULL,
    PRIMARY KEY (execution_no, version)
) WITHOUT ROWID;

CREATE TABLE workflow_messages (
    no              INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_no    INTEGER NOT NULL REFERENCES workflow_executions (no),
    command_id      TEXT    NOT NULL CHECK (length(command_id) > 0),
    kind            TEXT    NOT NULL,
    payload         TEXT    NOT NULL,
    sender          TEXT,
    created_at      INTEGER NOT NULL,
    applied_version INTEGER,
    answer          TEXT,
    UNIQUE (execution_no, command_id)
);

CREATE INDEX workflow_messages_unapplied ON workflow_messages (execution_no, no) WHERE applied_version IS NULL;

CREATE TABLE workflow_timers (
    execution_no INTEGER NOT NULL REFERENCES workflow_executions (no),
    kind         TEXT    NOT NULL,
    step_no      INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    PRIMARY KEY (execution_no, kind, step_no)
) WITHOUT ROWID;

CREATE INDEX workflow_timers_due ON workflow_timers (due_at);

-- One line per step of an execution: how its latest attempt stands.
CREATE VIEW workflow_step_summary AS
SELECT e.id AS execution_id, e.no AS execution_no, s.no AS step_no, s.key AS step, s.level, s.agent,
       coalesce(a.state, 'pending') AS state, coalesce(a.generation, 0) AS generation,
       coalesce(a.attempt, 0) AS attempts, coalesce(a.is_outcome, 0) AS is_outcome,
       a.started_at, a.finished_at, a.finished_at - a.started_at AS duration_ms, a.due_at, a.deaths, a.error
FROM workflow_executions e
JOIN workflow_steps s ON s.workflow_no = e.workflow_no
LEFT JOIN workflow_step_executions a
  ON a.execution_no = e.no AND a.step_no = s.no
 AND NOT EXISTS (SELECT 1 FROM workflow_step_executions b
                 WHERE b.execution_no = a.execution_no AND b.step_no = a.step_no
                   AND (b.generation, b.attempt) > (a.generation, a.attempt));

-- The four counts come from one pass over the attempts of each execution that is really listed, of which
-- the newest per step counts (with max(), the other columns are those of its row). json_each is what
-- lets a subquery of several columns look at the row beside it.
CREATE VIEW workflow_execution_summary AS
SELECT e.no, e.id, w.name AS workflow, w.version AS workflow_version, e.state,
       CASE e.state
           WHEN 'idle' THEN 'initiated' WHEN 'parsing' THEN 'initiated' WHEN 'validating' THEN 'initiated'
           WHEN 'building_graph' THEN 'initiated' WHEN 'paused' THEN 'paused'
           WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
           WHEN 'cancelled' THEN 'cancelled' WHEN 'rolled_back' THEN 'rolled_back'
           ELSE 'running' END AS status,
       (SELECT count(*) FROM workflow_steps s WHERE s.workflow_no = e.workflow_no) AS steps_total,
       json_extract(c.value, '$[0]') AS steps_completed, json_extract(c.value, '$[1]') AS steps_failed,
       json_extract(c.value, '$[2]') AS steps_skipped, json_extract(c.value, '$[3]') AS steps_running,
       e.priority, e.triggered_by, e.trace_id, r.id AS runner, e.error,
       e.created_at, e.started_at, e.paused_at, e.finished_at, e.updated_at,
       e.finished_at - coalesce(e.started_at, e.created_at) AS duration_ms, e.workflow_no,
       e.pause_mode, e.paused_by, e.pause_reason
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
JOIN json_each((
    SELECT json_array(json_array(
        coalesce(sum(state = 'completed'), 0), coalesce(sum(state = 'failed' AND is_outcome), 0),
        coalesce(sum(state = 'skipped'), 0), coalesce(sum(state IN ('running', 'waiting')), 0)))
    FROM (SELECT state, is_outcome, max(generation * 4294967296 + attempt)
          FROM workflow_step_executions WHERE execution_no = e.no GROUP BY step_no))) c
LEFT JOIN runners r ON r.no = e.runner_no;

CREATE VIEW workflow_recent_runs AS
SELECT id, workflow, workflow_version, status, state, steps_completed, steps_total, triggered_by,
       datetime(created_at / 1000, 'unixepoch') AS created, duration_ms
FROM workflow_execution_summary
ORDER BY no DESC
LIMIT 100;

CREATE VIEW workflow_statistics AS
SELECT w.name AS workflow, count(*) AS executions,
       sum(e.state = 'completed') AS completed,
       sum(e.state = 'failed') AS failed,
       sum(e.state = 'cancelled') AS cancelled,
       sum(e.state NOT IN ('completed', 'failed', 'cancelled', 'rolled_back')) AS active,
       CAST(sum(e.state = 'completed') AS REAL)
           / nullif(sum(e.state IN ('completed', 'failed')), 0) AS success_ratio,
       avg(e.finished_at - coalesce(e.started_at, e.created_at)) AS duration_ms_mean,
       min(e.finished_at - coalesce(e.started_at, e.created_at)) AS duration_ms_min,
       max(e.finished_at - coalesce(e.started_at, e.created_at)) AS duration_ms_max,
       max(coalesce(e.started_at, e.created_at)) AS last_started_at
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
GROUP BY w.name;
