-- Full-text search, filled afterwards from the log: nobody who writes waits for it. Of an execution the
-- number is its own, of a workflow's revision the negative one. Indexes for what lists ask for.
-- Punctuation goes first: the server's own parser would keep addresses and file names whole.

CREATE TABLE workflow_search (
    rowid bigint PRIMARY KEY,
    text  text NOT NULL,
    words tsvector GENERATED ALWAYS AS
          (to_tsvector('simple'::regconfig, regexp_replace(text, '[^[:alnum:]]+', ' ', 'g'))) STORED
);

CREATE INDEX workflow_search_words ON workflow_search USING gin (words);

-- Up to which event, and which revision, everything that has ended can be found.
CREATE TABLE workflow_search_reach (
    one         integer PRIMARY KEY CHECK (one = 1),
    event_id    bigint NOT NULL,
    workflow_no bigint NOT NULL
);

INSERT INTO workflow_search_reach (one, event_id, workflow_no) VALUES (1, 0, 0);

CREATE INDEX workflow_executions_unfinished ON workflow_executions (no)
    WHERE state <> 'completed' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'rolled_back';
CREATE INDEX workflow_executions_cancelled ON workflow_executions (no) WHERE state = 'cancelled';
CREATE INDEX workflow_executions_rolled_back ON workflow_executions (no) WHERE state = 'rolled_back';
