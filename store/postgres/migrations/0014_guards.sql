-- What all runners share about an agent: its circuit, and when its rate lets the next step through
-- (microseconds, as rates may be fine). A slot is a row of its own, and goes with the runner that holds it.

CREATE TABLE workflow_guards (
    scope           text   NOT NULL PRIMARY KEY,
    ready_at_us     bigint NOT NULL DEFAULT 0,
    circuit_version bigint NOT NULL DEFAULT 0,
    circuit         text  ,
    updated_at      bigint NOT NULL
);

CREATE TABLE workflow_slots (
    scope     text   NOT NULL,
    holder    text   NOT NULL,
    runner_no bigint NOT NULL REFERENCES runners (no) ON DELETE CASCADE,
    taken_at  bigint NOT NULL,
    PRIMARY KEY (scope, holder)
);

CREATE INDEX workflow_slots_runner ON workflow_slots (runner_no);
