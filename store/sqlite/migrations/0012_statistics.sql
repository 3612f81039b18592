-- How executions, steps and attempts have fared, also those that retention has taken away since.
-- A roll-up is one row for each thing that is told apart; only a pruning ever touches it.

CREATE TABLE workflow_rollups (
    workflow        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    executions      INTEGER NOT NULL,
    timed           INTEGER NOT NULL,
    duration_ms_sum INTEGER NOT NULL,
    duration_ms_min INTEGER,
    duration_ms_max INTEGER,
    last_started_at INTEGER NOT NULL,
    PRIMARY KEY (workflow, state)
) WITHOUT ROWID;

CREATE TABLE workflow_step_rollups (
    workflow          TEXT    NOT NULL,
    step              TEXT    NOT NULL,
    attempts          INTEGER NOT NULL,
    outcomes          INTEGER NOT NULL,
    completed         INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    skipped           INTEGER NOT NULL,
    retried           INTEGER NOT NULL,
    retried_completed INTEGER NOT NULL,
    timed             INTEGER NOT NULL,
    duration_ms_sum   INTEGER NOT NULL,
    PRIMARY KEY (workflow, step)
) WITHOUT ROWID;

CREATE TABLE workflow_error_rollups (
    workflow TEXT    NOT NULL,
    step     TEXT    NOT NULL,
    error    TEXT    NOT NULL,
    failures INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    PRIMARY KEY (workflow, step, error)
) WITHOUT ROWID;

-- Every attempt that failed.
CREATE VIEW workflow_step_failures AS
SELECT e.no AS execution_no, e.id AS execution_id, w.name AS workflow, s.key AS step, a.attempt,
       json_extract(a.error, '$.type') AS error, json_extract(a.error, '$.message') AS message,
       coalesce(a.finished_at, e.updated_at) AS at
FROM workflow_step_executions a
JOIN workflow_executions e ON e.no = a.execution_no
JOIN workflows w ON w.no = e.workflow_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
WHERE a.state = 'failed' AND a.error IS NOT NULL;

-- Every execution that failed by itself, such as by its deadline, and not by a step.
CREATE VIEW workflow_execution_failures AS
SELECT e.no AS execution_no, e.id AS execution_id, w.name AS workflow, json_extract(e.error, '$.type') AS error,
       json_extract(e.error, '$.message') AS message, coalesce(e.finished_at, e.updated_at) AS at
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
WHERE e.state = 'failed' AND e.error IS NOT NULL AND json_extract(e.error, '$.step') IS NULL;

-- An outcome is retried when it came of a later attempt than the first.
CREATE VIEW workflow_step_statistics AS
SELECT workflow, step, sum(attempts) AS attempts, sum(outcomes) AS outcomes, sum(completed) AS completed,
       sum(failed) AS failed, sum(skipped) AS skipped,
       CAST(sum(failed) AS REAL) / nullif(sum(completed) + sum(failed), 0) AS failure_ratio,
       sum(retried) AS retried, sum(retried_completed) AS retried_completed,
       CAST(sum(retried_completed) AS REAL) / nullif(sum(retried), 0) AS retry_success_ratio,
       CAST(sum(duration_ms_sum) AS REAL) / nullif(sum(timed), 0) AS duration_ms_mean
FROM (
    SELECT w.name AS workflow, s.key AS step, c.*
    FROM (SELECT e.workflow_no, a.step_no, sum(a.attempt > 0) AS attempts, sum(a.is_outcome) AS outcomes,
                 sum(a.is_outcome AND a.state IN ('completed', 'compensated')) AS completed,
                 sum(a.is_outcome AND a.state = 'failed') AS failed,
                 sum(a.is_outcome AND a.state = 'skipped') AS skipped,
                 sum(a.is_outcome AND a.attempt > 1) AS retried,
                 sum(a.is_outcome AND a.attempt > 1 AND a.state IN ('completed', 'compensated'))
                     AS retried_completed,
                 sum(a.is_outcome AND a.state IN ('completed', 'compensated') AND a.duration_ms IS NOT NULL)
                     AS timed,
                 coalesce(sum(CASE WHEN a.is_outcome AND a.state IN ('completed', 'compensated')
                                   THEN a.duration_ms END), 0) AS duration_ms_sum
          FROM workflow_step_executions a JOIN workflow_executions e ON e.no = a.execution_no
          GROUP BY e.workflow_no, a.step_no) c
    JOIN workflows w ON w.no = c.workflow_no
    JOIN workflow_steps s ON s.workflow_no = c.workflow_no AND s.no = c.step_no
    UNION ALL
    SELECT workflow, step, NULL, NULL, attempts, outcomes, completed, failed, skipped, retried,
           retried_completed, timed, duration_ms_sum
    FROM workflow_step_rollups
)
GROUP BY workflow, step;

CREATE VIEW workflow_error_statistics AS
SELECT workflow, step, error, sum(failures) AS failures, max(last_at) AS last_at
FROM (
    SELECT workflow, step, coalesce(error, '') AS error, count(*) AS failures, max(at) AS last_at
    FROM workflow_step_failures GROUP BY workflow, step, coalesce(error, '')
    UNION ALL
    SELECT workflow, '', coalesce(error, ''), count(*), max(at)
    FROM workflow_execution_failures GROUP BY workflow, coalesce(error, '')
    UNION ALL
    SELECT workflow, step, error, failures, last_at FROM workflow_error_rollups
)
GROUP BY workflow, step, error;

DROP VIEW workflow_statistics;

CREATE VIEW workflow_statistics AS
SELECT workflow, sum(executions) AS executions,
       sum(CASE WHEN state = 'completed' THEN executions ELSE 0 END) AS completed,
       sum(CASE WHEN state = 'failed' THEN executions ELSE 0 END) AS failed,
       sum(CASE WHEN state = 'cancelled' THEN executions ELSE 0 END) AS cancelled,
       sum(CASE WHEN state IN ('completed', 'failed', 'cancelled', 'rolled_back') THEN 0 ELSE executions END)
           AS active,
       CAST(sum(CASE WHEN state = 'completed' THEN executions ELSE 0 END) AS REAL)
           / nullif(sum(CASE WHEN state IN ('completed', 'failed') THEN executions ELSE 0 END), 0)
           AS success_ratio,
       CAST(sum(duration_ms_sum) AS REAL) / nullif(sum(timed), 0) AS duration_ms_mean,
       min(duration_ms_min) AS duration_ms_min, max(duration_ms_max) AS duration_ms_max,
       max(last_started_at) AS last_started_at,
       sum(CASE WHEN state = 'rolled_back' THEN executions ELSE 0 END) AS rolled_back, sum(pruned) AS pruned
FROM (
    SELECT w.name AS workflow, c.*
    FROM (SELECT workflow_no, state, count(*) AS executions, count(duration_ms) AS timed,
                 coalesce(sum(duration_ms), 0) AS duration_ms_sum, min(duration_ms) AS duration_ms_min,
                 max(duration_ms) AS duration_ms_max, max(coalesce(started_at, created_at)) AS last_started_at,
                 0 AS pruned
          FROM workflow_executions GROUP BY workflow_no, state) c
    JOIN workflows w ON w.no = c.workflow_no
    UNION ALL
    SELECT workflow, NULL, state, executions, timed, duration_ms_sum, duration_ms_min, duration_ms_max,
           last_started_at, executions
    FROM workflow_rollups
)
GROUP BY workflow;
