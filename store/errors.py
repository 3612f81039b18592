"""Everything that can go wrong in the memory, and the root of every perdure error.

Each error names a condition, carries fields as well as text, and its message says what was being
done, to what, why it failed and what to do next. Only `store/sqlite` sees `sqlite3.Error`; it
translates once, into these.
"""

from __future__ import annotations


class PerdureError(Exception):
    """The root of every error perdure raises on purpose."""


class NotFound(PerdureError):
    """Nothing of that kind has that name."""

    def __init__(self, kind: str, name: object, *, hint: str = "") -> None:
        """Name the `kind` of thing looked for and the `name` it was looked for under."""
        super().__init__(f"no {kind} {name!r}" + (f": {hint}" if hint else ""))
        self.kind = kind
        self.name = name


class InvalidId(PerdureError):
    """The text cannot be an id: ids end up in paths, addresses and logs."""

    def __init__(self, kind: str, name: str) -> None:
        """`name` is the text that was meant as the id of a `kind` of thing."""
        shown = name if len(name) <= 80 else f"{name[:80]}…"  # noqa: PLR2004  one line of a message
        super().__init__(
            f"{shown!r} cannot be the id of an {kind}: use 1 to 128 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
        self.kind = kind
        self.name = name


class IdTaken(PerdureError):
    """An execution of that id is there, and is not the one that was to be started."""

    def __init__(self, execution_id: str, *, is_one: str, wanted: str) -> None:
        """`is_one` says what has the id, `wanted` what was to be started under it."""
        super().__init__(
            f"execution {execution_id} is there already and is one {is_one}, not {wanted}: "
            "choose another id, or none to be given one"
        )
        self.execution_id = execution_id


class Conflict(PerdureError):
    """Somebody was faster: the record is no longer at the version the caller had in mind."""

    def __init__(self, execution_id: object, *, expected: int, current: int) -> None:
        """`expected` is the version the caller held, `current` the one in the store."""
        super().__init__(
            f"execution {execution_id} is at version {current}, not {expected}: "
            "somebody was faster; look at it again and repeat the command if it still makes sense"
        )
        self.execution_id = execution_id
        self.expected = expected
        self.current = current


class IllegalTransition(PerdureError):
    """The command makes no sense in the state the execution is in."""

    def __init__(
        self,
        execution_id: object,
        *,
        state: str,
        command: str,
        version: int | None = None,
        hint: str = "",
        kind: str = "execution",
    ) -> None:
        """`command` is what was asked for, `state` what forbids it, `version` the current version."""
        super().__init__(
            f"cannot {command} {kind} {execution_id}: it is {state}" + (f"; {hint}" if hint else "")
        )
        self.execution_id = execution_id
        self.state = state
        self.command = command
        self.version = version
        self.hint = hint


class DuplicateCommand(PerdureError):
    """A command with this id has been applied to this execution before; nothing was changed."""

    def __init__(self, execution_id: object, *, command_id: str) -> None:
        """`command_id` is the id both commands carry."""
        super().__init__(f"command {command_id} was already applied to execution {execution_id}")
        self.execution_id = execution_id
        self.command_id = command_id


class LeaseLost(PerdureError):
    """Another runner has taken the execution over; this one must not write to it again."""

    def __init__(self, execution_id: object, *, held_epoch: int, current_epoch: int) -> None:
        """`held_epoch` is what this runner believed, `current_epoch` what the store says."""
        super().__init__(
            f"execution {execution_id} now belongs to another runner "
            f"(epoch {current_epoch}, held {held_epoch}): this runner stops working on it"
        )
        self.execution_id = execution_id
        self.held_epoch = held_epoch
        self.current_epoch = current_epoch


class MailboxFull(PerdureError):
    """The durable inbox of an execution holds as many unanswered messages as it may."""

    def __init__(self, execution_id: object, *, limit: int) -> None:
        """`limit` is the number of messages that may wait."""
        super().__init__(
            f"execution {execution_id} already has {limit} unanswered messages: "
            "wait until its runner has caught up, then send again"
        )
        self.execution_id = execution_id
        self.limit = limit


class PayloadTooLarge(PerdureError):
    """A context, output or message is larger than the store keeps."""

    def __init__(self, what: str, *, size: int, limit: int) -> None:
        """`size` and `limit` are bytes of encoded JSON."""
        super().__init__(
            f"{what} is {size:,} bytes of JSON, the limit is {limit:,}: "
            "keep large data in a file or a bucket and pass its address"
        )
        self.what = what
        self.size = size
        self.limit = limit


class NotSerializable(PerdureError):
    """A value cannot be kept as JSON."""

    def __init__(self, what: str, *, path: str, type_name: str, why: str = "") -> None:
        """`path` leads to the offending part (`$.a[3]`), `type_name` is its Python type."""
        super().__init__(
            f"{what} cannot be kept: {path} is a {type_name}"
            + (f" ({why})" if why else "")
            + "; return JSON values, dataclasses or msgspec structs"
        )
        self.what = what
        self.path = path
        self.type_name = type_name


class StatementFailed(PerdureError):
    """A statement given to `context.transaction()` was refused; nothing of its step's outcome was written."""

    def __init__(self, sql: str, *, position: int | None, why: str) -> None:
        """`position` counts the statements of the step from 1; None when only the commit found out."""
        which = "one of the statements" if position is None else f"statement {position}"
        text = " ".join(sql.split())
        shown = text if len(text) <= 200 else f"{text[:200]}…"  # noqa: PLR2004  two lines of a message
        super().__init__(f"{which} of the transaction failed: {why} ({shown})")
        self.sql = sql
        self.position = position
        self.why = why


class StoreError(PerdureError):
    """The database could not do what was asked; the message says which operation and why."""


class StoreClosed(StoreError):
    """The store was closed while, or before, the operation was asked for."""


class StoreUnavailable(StoreError):
    """The database cannot be used just now (full, locked, out of reach); nothing was changed, it may pass."""


class StoreReplaced(StoreUnavailable):
    """What is there now is not the store that this process has opened."""

    def __init__(self, location: str, *, opened: str | None, found: str | None) -> None:
        """The identities: of what was opened, and of what is there now, where they are known."""
        now = "" if found is None else f" (now it is the store {found})"
        was = "" if opened is None else f", which was the store {opened}"
        super().__init__(
            f"{location} is not what this process has opened{was}: it was moved, removed or replaced{now}; "
            "nothing was written. Put it back, and the work goes on by itself; or end this process, and "
            "start it again on what is there"
        )
        self.location = location
        self.opened = opened
        self.found = found


class StoreLocked(StoreUnavailable):
    """Another process holds the write lock of the file for too long."""

    def __init__(self, path: str, *, pid: int | None = None, is_stopped: bool = False) -> None:
        """`pid` is the process that holds the lock, when it can be told; `is_stopped`: it does not run."""
        who = "another process" if pid is None else f"another process (pid {pid})"
        what = "wait for it, or stop it if it hangs"
        if is_stopped:
            who += ", which was stopped in the middle of a transaction"
            what = f"let it go on (kill -CONT {pid}), or end it (kill -KILL {pid}): what it began is undone"
        super().__init__(f"{path} is locked by {who}: {what}; nothing was changed")
        self.path = path
        self.pid = pid
        self.is_stopped = is_stopped


class StoreCorrupt(StoreError):
    """The file is not a database, or what is in it cannot be read back."""


class MigrationError(StoreError):
    """The schema of the file is not one this release can bring up to date."""


class OutcomeUnknown(StoreError):
    """A commit failed in a way that leaves open whether it happened; read the state back."""
