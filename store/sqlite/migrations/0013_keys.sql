-- The keys that payloads are sealed with: each with something that only it opens.

CREATE TABLE workflow_keys (
    id    TEXT PRIMARY KEY,
    proof TEXT NOT NULL
) WITHOUT ROWID;

-- An event never changes; but how its data is sealed may, when a key is rotated.
DROP TRIGGER workflow_events_never_change;

CREATE TRIGGER workflow_events_never_change BEFORE UPDATE ON workflow_events
WHEN NEW.id <> OLD.id OR NEW.execution_no <> OLD.execution_no OR NEW.version <> OLD.version OR NEW.at <> OLD.at
  OR NEW.type <> OLD.type OR NEW.step_no IS NOT OLD.step_no OR NEW.attempt IS NOT OLD.attempt
  OR NEW.by IS NOT OLD.by OR NEW.command_id IS NOT OLD.command_id
  OR NEW.data IS NULL OR OLD.data IS NULL OR NEW.data NOT LIKE '"$sealed:1:%'
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: they never change');
END;
