-- Signals are kept until a step takes them. A change receives one command at most, so the version that
-- received a signal names it, and is its place in the order of arrival.

CREATE TABLE workflow_signals (
    execution_no  bigint NOT NULL,
    version       bigint NOT NULL,
    name          text   NOT NULL,
    payload       text   NOT NULL,
    received_at   bigint NOT NULL,
    taken_version bigint,
    taken_by      integer,
    PRIMARY KEY (execution_no, version)
);

CREATE INDEX workflow_signals_kept ON workflow_signals (execution_no, version) WHERE taken_version IS NULL;
