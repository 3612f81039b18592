-- What all runners share about an agent: its circuit, and when its rate lets the next step through
-- (microseconds, as rates may be fine). A slot is a row of its own, and goes with the runner that holds it.

CREATE TABLE workflow_guards (
    scope           TEXT    NOT NULL PRIMARY KEY,
    ready_at_us     INTEGER NOT NULL DEFAULT 0,
    circuit_version INTEGER NOT NULL DEFAULT 0,
    circuit         TEXT   ,
    updated_at      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE workflow_slots (
    scope     TEXT    NOT NULL,
    holder    TEXT    NOT NULL,
    runner_no INTEGER NOT NULL REFERENCES runners (no) ON DELETE CASCADE,
    taken_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, holder)
) WITHOUT ROWID;

CREATE INDEX workflow_slots_runner ON workflow_slots (runner_no);
