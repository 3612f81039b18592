-- Of an outcome that a restore has brought back: the generation that made it. So it is known whose child, by its
-- id, is to undo it.
ALTER TABLE workflow_step_executions ADD COLUMN made_in INTEGER;
