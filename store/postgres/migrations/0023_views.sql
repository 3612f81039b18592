-- A line of the log names its step, and the revision, as they were when it was written: an execution may have
-- moved to another revision since, whose numbers are others.

CREATE OR REPLACE VIEW workflow_audit_feed AS
SELECT v.id, v.at, w.name AS workflow, w.version AS workflow_version, e.id AS execution_id, v.version,
       v.type AS event, s.key AS step, s.agent, v.attempt, v.by AS actor, v.command_id, e.trace_id,
       e.triggered_by, v.data
FROM workflow_events v
JOIN workflow_executions e ON e.no = v.execution_no
JOIN workflows w ON w.no = coalesce(
    (SELECT m.workflow_no FROM workflow_execution_moves m
     WHERE m.execution_no = v.execution_no AND m.version >= v.version ORDER BY m.version LIMIT 1),
    e.workflow_no)
LEFT JOIN workflow_steps s ON s.workflow_no = w.no AND s.no = v.step_no;

-- JSON may hold a NUL, which no text of the server's can: a question that came to one was not answered at all.

CREATE OR REPLACE VIEW workflow_step_failures AS
SELECT e.no AS execution_no, e.id AS execution_id, w.name AS workflow, s.key AS step, a.attempt,
       replace(a.error, '\u0000', '\ufffd')::json ->> 'type' AS error,
       replace(a.error, '\u0000', '\ufffd')::json ->> 'message' AS message,
       coalesce(a.finished_at, e.updated_at) AS at
FROM workflow_step_executions a
JOIN workflow_executions e ON e.no = a.execution_no
JOIN workflows w ON w.no = e.workflow_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
WHERE a.state = 'failed' AND a.error IS NOT NULL;

CREATE OR REPLACE VIEW workflow_execution_failures AS
SELECT e.no AS execution_no, e.id AS execution_id, w.name AS workflow,
       replace(e.error, '\u0000', '\ufffd')::json ->> 'type' AS error,
       replace(e.error, '\u0000', '\ufffd')::json ->> 'message' AS message,
       coalesce(e.finished_at, e.updated_at) AS at
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
WHERE e.state = 'failed' AND e.error IS NOT NULL
  AND (replace(e.error, '\u0000', '\ufffd')::json ->> 'step') IS NULL;
