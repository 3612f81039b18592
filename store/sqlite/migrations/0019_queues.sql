-- Workflows that let only so many executions run at once: while one waits its row names its queue, once it
-- was admitted its slot. What waits in a queue is nobody's to claim.

ALTER TABLE workflow_executions ADD COLUMN queue TEXT;
ALTER TABLE workflow_executions ADD COLUMN queue_most INTEGER;
ALTER TABLE workflow_executions ADD COLUMN queue_rank INTEGER;
ALTER TABLE workflow_executions ADD COLUMN slot TEXT;

CREATE INDEX workflow_executions_queue ON workflow_executions (queue, queue_rank, no) WHERE queue IS NOT NULL;
CREATE INDEX workflow_executions_slot ON workflow_executions (slot) WHERE slot IS NOT NULL;

DROP INDEX workflow_executions_claimable;
CREATE INDEX workflow_executions_claimable ON workflow_executions (priority DESC, no)
    WHERE runner_no IS NULL AND state <> 'completed' AND state <> 'awaiting_completion'
      AND state <> 'paused' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'rolled_back'
      AND queue IS NULL;
