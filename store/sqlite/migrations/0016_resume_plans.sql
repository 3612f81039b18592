-- When, or on which rule, an execution that rests is to go on by itself: JSON, while it rests.

ALTER TABLE workflow_executions ADD COLUMN resume_plan TEXT;
