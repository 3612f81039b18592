-- What the circuit breaker of an execution has done, once it has tripped.

ALTER TABLE workflow_executions ADD COLUMN circuit_breaker_state TEXT;
