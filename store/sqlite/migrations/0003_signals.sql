-- Signals are kept until a step takes them. A change receives one command at most, so the version that
-- received a signal names it, and is its place in the order of arrival.

CREATE TABLE workflow_signals (
    execution_no  INTEGER NOT NULL REFERENCES workflow_executions (no),
    version       INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    received_at   INTEGER NOT NULL,
    taken_version INTEGER,
    taken_by      INTEGER,
    PRIMARY KEY (execution_no, version)
) WITHOUT ROWID;

CREATE INDEX workflow_signals_kept ON workflow_signals (execution_no, version) WHERE taken_version IS NULL;
