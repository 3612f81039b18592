-- Of an outcome that a restore has brought back: the generation that made it. So it is known that it was made
-- here, and by which child.
ALTER TABLE workflow_step_executions ADD COLUMN made_in INTEGER;
