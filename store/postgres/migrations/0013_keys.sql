-- The keys that payloads are sealed with: each with something that only it opens.

CREATE TABLE workflow_keys (
    id    text PRIMARY KEY,
    proof text NOT NULL
);

-- An event never changes; but how its data is sealed may, when a key is rotated.
DROP TRIGGER workflow_events_never_change ON workflow_events;

CREATE TRIGGER workflow_events_never_change BEFORE UPDATE ON workflow_events FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.execution_no <> OLD.execution_no OR NEW.version <> OLD.version OR NEW.at <> OLD.at
  OR NEW.type <> OLD.type OR NEW.step_no IS DISTINCT FROM OLD.step_no
  OR NEW.attempt IS DISTINCT FROM OLD.attempt OR NEW.by IS DISTINCT FROM OLD.by
  OR NEW.command_id IS DISTINCT FROM OLD.command_id
  OR NEW.data IS NULL OR OLD.data IS NULL OR NEW.data NOT LIKE '"$sealed:1:%')
EXECUTE FUNCTION workflow_refuse('events are append-only: they never change');
