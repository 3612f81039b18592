-- A line of the log names its step, and the revision, as they were when it was written: an execution may have
-- moved to another revision since, whose numbers are others.

DROP VIEW workflow_audit_feed;

CREATE VIEW workflow_audit_feed AS
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
