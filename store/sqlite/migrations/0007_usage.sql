-- What attempts cost, as they reported it; of an execution, the sum of all its attempts and its own limits.
-- Money is an integer of billionths of its unit, so that sums are exact.

ALTER TABLE workflow_step_executions ADD COLUMN cost_nanos INTEGER;
ALTER TABLE workflow_step_executions ADD COLUMN tokens INTEGER;
ALTER TABLE workflow_executions ADD COLUMN cost_nanos INTEGER;
ALTER TABLE workflow_executions ADD COLUMN tokens INTEGER;
ALTER TABLE workflow_executions ADD COLUMN budget TEXT;
