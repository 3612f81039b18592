-- Which store this is, durations that the database itself keeps right, and who did what when.

-- One row. A copy of a store is another store: whoever copies gives the copy a new id.
CREATE TABLE perdure_identity (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    id          TEXT    NOT NULL,
    made_at     INTEGER NOT NULL,
    copied_from TEXT
);

INSERT INTO perdure_identity (one, id, made_at)
SELECT 1, substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-a' || substr(h, 18, 3)
          || '-' || substr(h, 21, 12), CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
FROM (SELECT lower(hex(randomblob(16))) AS h);

-- Computed when they are read: they cost no write and cannot be wrong.
ALTER TABLE workflow_executions ADD COLUMN duration_ms INTEGER
    GENERATED ALWAYS AS (finished_at - coalesce(started_at, created_at)) VIRTUAL;
ALTER TABLE workflow_step_executions ADD COLUMN duration_ms INTEGER
    GENERATED ALWAYS AS (finished_at - started_at) VIRTUAL;

DROP VIEW workflow_execution_summary;

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
       e.duration_ms, e.workflow_no, e.pause_mode, e.paused_by, e.pause_reason, e.version
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
JOIN json_each((
    SELECT json_array(json_array(
        coalesce(sum(state = 'completed'), 0), coalesce(sum(state = 'failed' AND is_outcome), 0),
        coalesce(sum(state = 'skipped'), 0), coalesce(sum(state IN ('running', 'waiting')), 0)))
    FROM (SELECT state, is_outcome, max(generation * 4294967296 + attempt)
          FROM workflow_step_executions WHERE execution_no = e.no GROUP BY step_no))) c
LEFT JOIN runners r ON r.no = e.runner_no;

-- The log as people read it: what happened to which step of which execution, when, and who wanted it.
CREATE VIEW workflow_audit_feed AS
SELECT v.id, v.at, w.name AS workflow, w.version AS workflow_version, e.id AS execution_id, v.version,
       v.type AS event, s.key AS step, s.agent, v.attempt, v.by AS actor, v.command_id, e.trace_id,
       e.triggered_by, v.data
FROM workflow_events v
JOIN workflow_executions e ON e.no = v.execution_no
JOIN workflows w ON w.no = e.workflow_no
LEFT JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = v.step_no;
