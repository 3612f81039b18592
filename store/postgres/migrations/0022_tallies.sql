-- What a block of a thousand executions comes to, counted once when they have ended; NULL where it has to be
-- counted again. The rests are those of them that had not ended.

CREATE TABLE workflow_tallies (
    block      bigint PRIMARY KEY,
    executions text,
    steps      text,
    errors     text,
    durations  text
);

CREATE TABLE workflow_tally_rests (
    execution_no bigint PRIMARY KEY
);
