-- The outbox of webhooks: one line for each call, written with the change that it tells of.

CREATE TABLE workflow_deliveries (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    execution_no bigint NOT NULL,
    event        text NOT NULL,
    url          text NOT NULL,
    secret       text,
    payload      text NOT NULL,
    state        text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts     bigint NOT NULL,
    due_at       bigint,
    status       bigint,
    reason       text,
    created_at   bigint NOT NULL,
    settled_at   bigint
);

CREATE INDEX workflow_deliveries_due ON workflow_deliveries (due_at) WHERE state = 'pending';
CREATE INDEX workflow_deliveries_execution ON workflow_deliveries (execution_no);
