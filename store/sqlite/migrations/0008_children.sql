-- Executions that a step of another one has started: the step that waits for it, where one does.

ALTER TABLE workflow_executions ADD COLUMN parent_step INTEGER;

CREATE INDEX workflow_executions_parent ON workflow_executions (parent_id, no) WHERE parent_id IS NOT NULL;
