-- Hooks and compensations are steps beside the graph. Those of the graph have the lowest numbers, and are what
-- is counted; how many they are is known from the revision, which never changes.

ALTER TABLE workflows ADD COLUMN steps_total bigint NOT NULL DEFAULT 0;
UPDATE workflows SET steps_total = (SELECT count(*) FROM workflow_steps s WHERE s.workflow_no = workflows.no);

ALTER TABLE workflow_steps ADD COLUMN role text NOT NULL DEFAULT 'graph'
    CHECK (role IN ('graph', 'undo', 'hook'));

-- Why what an execution has done is undone, from the moment somebody wanted that.
ALTER TABLE workflow_executions ADD COLUMN rollback_reason text;

CREATE OR REPLACE VIEW workflow_execution_summary AS
SELECT e.no, e.id, w.name AS workflow, w.version AS workflow_version, e.state,
       CASE e.state
           WHEN 'idle' THEN 'initiated' WHEN 'parsing' THEN 'initiated' WHEN 'validating' THEN 'initiated'
           WHEN 'building_graph' THEN 'initiated' WHEN 'paused' THEN 'paused'
           WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
           WHEN 'cancelled' THEN 'cancelled' WHEN 'rolled_back' THEN 'rolled_back'
           ELSE 'running' END AS status,
       w.steps_total,
       c.steps_completed, c.steps_failed, c.steps_skipped, c.steps_running,
       e.priority, e.triggered_by, e.trace_id, r.id AS runner, e.error,
       e.created_at, e.started_at, e.paused_at, e.finished_at, e.updated_at,
       e.duration_ms, e.workflow_no, e.pause_mode, e.paused_by, e.pause_reason, e.version,
       e.rollback_reason
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'completed') AS steps_completed,
           count(*) FILTER (WHERE state = 'failed' AND is_outcome = 1) AS steps_failed,
           count(*) FILTER (WHERE state = 'skipped') AS steps_skipped,
           count(*) FILTER (WHERE state IN ('running', 'waiting')) AS steps_running
    FROM (SELECT DISTINCT ON (step_no) state, is_outcome FROM workflow_step_executions
          WHERE execution_no = e.no AND step_no < w.steps_total
          ORDER BY step_no, generation DESC, attempt DESC) newest
) c
LEFT JOIN runners r ON r.no = e.runner_no;

CREATE OR REPLACE VIEW workflow_step_summary AS
SELECT e.id AS execution_id, e.no AS execution_no, s.no AS step_no, s.key AS step, s.level, s.agent,
       coalesce(a.state, 'pending') AS state, coalesce(a.generation, 0) AS generation,
       coalesce(a.attempt, 0) AS attempts, coalesce(a.is_outcome, 0) AS is_outcome,
       a.started_at, a.finished_at, a.finished_at - a.started_at AS duration_ms, a.due_at, a.deaths, a.error,
       s.role
FROM workflow_executions e
JOIN workflow_steps s ON s.workflow_no = e.workflow_no
LEFT JOIN LATERAL (
    SELECT * FROM workflow_step_executions b WHERE b.execution_no = e.no AND b.step_no = s.no
    ORDER BY b.generation DESC, b.attempt DESC LIMIT 1
) a ON true;
