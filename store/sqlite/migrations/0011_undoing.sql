-- Hooks and compensations are steps beside the graph. Those of the graph have the lowest numbers, and are what
-- is counted; how many they are is known from the revision, which never changes.

ALTER TABLE workflows ADD COLUMN steps_total INTEGER NOT NULL DEFAULT 0;
UPDATE workflows SET steps_total = (SELECT count(*) FROM workflow_steps s WHERE s.workflow_no = workflows.no);

ALTER TABLE workflow_steps ADD COLUMN role TEXT NOT NULL DEFAULT 'graph'
    CHECK (role IN ('graph', 'undo', 'hook'));

-- Why what an execution has done is undone, from the moment somebody wanted that.
ALTER TABLE workflow_executions ADD COLUMN rollback_reason TEXT;

DROP VIEW workflow_execution_summary;

CREATE VIEW workflow_execution_summary AS
SELECT e.no, e.id, w.name AS workflow, w.version AS workflow_version, e.state,
       CASE e.state
           WHEN 'idle' THEN 'initiated' WHEN 'parsing' THEN 'initiated' WHEN 'validating' THEN 'initiated'
           WHEN 'building_graph' THEN 'initiated' WHEN 'paused' THEN 'paused'
           WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed'
           WHEN 'cancelled' THEN 'cancelled' WHEN 'rolled_back' THEN 'rolled_back'
           ELSE 'running' END AS status,
       w.steps_total,
       json_extract(c.value, '$[0]') AS steps_completed, json_extract(c.value, '$[1]') AS steps_failed,
       json_extract(c.value, '$[2]') AS steps_skipped, json_extract(c.value, '$[3]') AS steps_running,
       e.priority, e.triggered_by, e.trace_id, r.id AS runner, e.error,
       e.created_at, e.started_at, e.paused_at, e.finished_at, e.updated_at,
       e.duration_ms, e.workflow_no, e.pause_mode, e.paused_by, e.pause_reason, e.version,
       e.rollback_reason
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
JOIN json_each((
    SELECT json_array(json_array(
        coalesce(sum(state = 'completed'), 0), coalesce(sum(state = 'failed' AND is_outcome), 0),
        coalesce(sum(state = 'skipped'), 0), coalesce(sum(state IN ('running', 'waiting')), 0)))
    FROM (SELECT state, is_outcome, max(generation * 4294967296 + attempt)
          FROM workflow_step_executions WHERE execution_no = e.no AND step_no < w.steps_total
          GROUP BY step_no))) c
LEFT JOIN runners r ON r.no = e.runner_no;

DROP VIEW workflow_step_summary;

CREATE VIEW workflow_step_summary AS
SELECT e.id AS execution_id, e.no AS execution_no, s.no AS step_no, s.key AS step, s.level, s.agent,
       coalesce(a.state, 'pending') AS state, coalesce(a.generation, 0) AS generation,
       coalesce(a.attempt, 0) AS attempts, coalesce(a.is_outcome, 0) AS is_outcome,
       a.started_at, a.finished_at, a.finished_at - a.started_at AS duration_ms, a.due_at, a.deaths, a.error,
       s.role
FROM workflow_executions e
JOIN workflow_steps s ON s.workflow_no = e.workflow_no
LEFT JOIN workflow_step_executions a
  ON a.execution_no = e.no AND a.step_no = s.no
 AND NOT EXISTS (SELECT 1 FROM workflow_step_executions b
                 WHERE b.execution_no = a.execution_no AND b.step_no = a.step_no
                   AND (b.generation, b.attempt) > (a.generation, a.attempt));
