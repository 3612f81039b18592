-- What was created lately is found without a look at all that came before. An entry is made with the execution, at
-- the end of the index, and never moved.
CREATE INDEX workflow_executions_created ON workflow_executions (created_at);
