-- Which store this is, durations that the database itself keeps right, and who did what when.

-- One row. A copy of a store is another store: whoever copies gives the copy a new id.
CREATE TABLE perdure_identity (
    one         integer PRIMARY KEY CHECK (one = 1),
    id          text    NOT NULL,
    made_at     bigint  NOT NULL,
    copied_from text
);

INSERT INTO perdure_identity (one, id, made_at)
VALUES (1, gen_random_uuid()::text, (extract(epoch FROM now()) * 1000)::bigint);

ALTER TABLE workflow_executions ADD COLUMN duration_ms bigint
    GENERATED ALWAYS AS (finished_at - coalesce(started_at, created_at)) STORED;
ALTER TABLE workflow_step_executions ADD COLUMN duration_ms bigint
    GENERATED ALWAYS AS (finished_at - started_at) STORED;

CREATE OR REPLACE VIEW workflow_execution_summary AS
SELECT e.no, e.id, w.name AS workflow, w.version AS workflow_version, e.state,
       CASE e.state
           WHEN 'idle' THEN 'initiated' WHEN 'parsing' THEN 'initiated' WHEN 'validating' THEN 'initiated'
           WHEN 'building_graph' THEN 'initiated' WHEN 'paused' THEN 'paused'
           WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
           WHEN 'cancelled' THEN 'cancelled' WHEN 'rolled_back' THEN 'rolled_back'
           ELSE 'running' END AS status,
       (SELECT count(*) FROM workflow_steps s WHERE s.workflow_no = e.workflow_no) AS steps_total,
       c.steps_completed, c.steps_failed, c.steps_skipped, c.steps_running,
       e.priority, e.triggered_by, e.trace_id, r.id AS runner, e.error,
       e.created_at, e.started_at, e.paused_at, e.finished_at, e.updated_at,
       e.duration_ms, e.workflow_no, e.pause_mode, e.paused_by, e.pause_reason, e.version
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'completed') AS steps_completed,
           count(*) FILTER (WHERE state = 'failed' AND is_outcome = 1) AS steps_failed,
           count(*) FILTER (WHERE state = 'skipped') AS steps_skipped,
           count(*) FILTER (WHERE state IN ('running', 'waiting')) AS steps_running
    FROM (SELECT DISTINCT ON (step_no) state, is_outcome FROM workflow_step_executions
          WHERE execution_no = e.no ORDER BY step_no, generation DESC, attempt DESC) newest
) c
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
