-- What a block of a thousand executions comes to, counted once when they have ended; NULL where it has to be
-- counted again. The rests are those of them that had not ended.

CREATE TABLE workflow_tallies (
    block      INTEGER PRIMARY KEY,
    executions TEXT,
    steps      TEXT,
    errors     TEXT,
    durations  TEXT
);

CREATE TABLE workflow_tally_rests (
    execution_no INTEGER PRIMARY KEY
);
