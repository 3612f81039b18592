-- Steps that are performed for each of many items: the loop, what it goes over, and a row for each item that
-- has begun. A loop is named by its step and lineage, so that a retry goes on with it. `is_open`: the loop
-- has still something to do with the item; of these there are never more than may be in flight.

CREATE TABLE workflow_loops (
    execution_no bigint NOT NULL,
    step_no      integer NOT NULL,
    lineage      bigint NOT NULL,
    total        bigint NOT NULL CHECK (total >= 0),
    begun        bigint NOT NULL CHECK (begun BETWEEN 0 AND total),
    completed    bigint NOT NULL,
    failed       bigint NOT NULL,
    output_bytes bigint NOT NULL,
    PRIMARY KEY (execution_no, step_no, lineage)
);

CREATE TABLE workflow_loop_pages (
    execution_no bigint NOT NULL,
    step_no      integer NOT NULL,
    lineage      bigint NOT NULL,
    page         bigint NOT NULL,
    items        text   NOT NULL,
    PRIMARY KEY (execution_no, step_no, lineage, page)
);

CREATE TABLE workflow_items (
    execution_no bigint NOT NULL,
    step_no      integer NOT NULL,
    lineage      bigint NOT NULL,
    item         bigint NOT NULL,
    generation   bigint NOT NULL,
    attempt      bigint NOT NULL,
    state        text   NOT NULL CHECK (state IN (
                     'completed', 'running', 'pending', 'waiting', 'failed', 'cancelled')),
    is_open      integer NOT NULL CHECK (is_open IN (0, 1)),
    started_at   bigint,
    finished_at  bigint,
    due_at       bigint,
    deaths       integer NOT NULL DEFAULT 0,
    alone        integer NOT NULL DEFAULT 0,
    error        text,
    output       text,
    PRIMARY KEY (execution_no, step_no, lineage, item)
);

CREATE INDEX workflow_items_open ON workflow_items (execution_no, step_no, lineage, item) WHERE is_open = 1;
