"""Many starts and changes as one statement: the group commit of PostgreSQL. Pure: nothing here waits.

Each kind of row becomes a part of the statement (a CTE), each column of it an array. The parts run in
one snapshot and one transaction, and the last line refuses the whole if any part found less than it was
meant for. So a statement that succeeds has written every one of its writes, as the scripts would have,
one by one; where one does not fit in, `gathered` answers None or the server refuses, and the caller
takes smaller sets, down to single writes, which the scripts apply and explain.

The executions are locked in the order of their numbers, the row of the log's ids comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from perdure.store.errors import PerdureError
from perdure.store.postgres.parts import COLUMNS, statement
from perdure.store.protocol import Answer
from perdure.store.scripts.delta import (
    checkpoint,
    event,
    illegal_attempt,
    inserted_attempt,
    text,
)
from perdure.store.scripts.transitions import inserted_execution
from perdure.store.states import TERMINAL, State, can_become
from perdure.store.writes import (
    CHANGEABLE,
    AttemptWrite,
    Change,
    Changed,
    Delta,
    Start,
    Started,
    Write,
    is_id,
)

Row = tuple[Any, ...]


class Gathered(msgspec.Struct, frozen=True):
    """A set of writes as one statement."""

    sql: str
    arguments: list[list[Any]]
    answers: Callable[[int, Sequence[int]], list[Answer]]  # of the last event id before, and the new keys


class _Unfit(Exception):
    """A write that has to be applied by its script."""


class _Rows:
    """The rows of a set, by part."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Row]] = {name: [] for name in COLUMNS}
        self.fields: list[str] = []
        self.executions: set[Any] = set()

    def add(self, ord_: int, write: Write) -> int:
        """Take the write in; answers the number of its events."""
        if isinstance(write, Change):
            self._add_change(ord_, write)
        elif isinstance(write, Start):
            self._add_start(ord_, write)
        else:
            raise _Unfit
        return len(write.delta.events)

    def _once(self, execution: Any) -> None:
        if execution in self.executions:
            raise _Unfit  # the later one is to see the earlier one
        self.executions.add(execution)

    def _add_start(self, ord_: int, write: Start) -> None:
        delta = write.delta
        if not is_id(write.id) or not can_become(State.IDLE, write.state) or delta.messages:
            raise _Unfit
        if write.place is not None or write.fork is not None:
            raise _Unfit  # it writes into the log of another execution
        if write.parent_epoch is not None:
            raise _Unfit  # it holds on to the row of its parent first
        if any(attempt.before is not None for attempt in delta.attempts):
            raise _Unfit
        self._once(write.id)
        context = text(write.context, "the context")
        self.parts["start"].append((ord_, *inserted_execution(write), context))
        self._add_delta(ord_, 0, 1, write.at, delta)

    def _add_change(self, ord_: int, write: Change) -> None:
        fields = dict(write.fields)
        if not can_become(write.before, write.state) or not fields.keys() <= CHANGEABLE:
            raise _Unfit
        if write.claimed_by is not None:
            raise _Unfit  # rare, and not of one shape with the others
        if write.before in TERMINAL:
            raise _Unfit  # it takes the tally of its block away
        no = write.execution_no
        self._once(no)
        if "context" in fields:
            self.parts["context"].append((no, text(fields.pop("context"), "the context")))
        if isinstance(error := fields.get("error"), bytes):
            fields["error"] = text(error, "an error")
        if write.state in TERMINAL:
            if any(timer.due_at is not None for timer in write.delta.timers):
                raise _Unfit  # set after all were cleared: two steps, which one statement does not have
            self.parts["ended"].append((no,))
        self.fields += [name for name in fields if name not in self.fields]
        guard = (ord_, no, write.version, write.epoch, write.before, write.state, write.at)
        self.parts["change"].append((*guard, fields))
        self._add_delta(ord_, no, write.version + 1, write.at, write.delta)

    def _add_delta(self, ord_: int, no: int, version: int, at: int, delta: Delta) -> None:
        if not delta.is_plain or illegal_attempt(delta.attempts) is not None:
            raise _Unfit
        parts = self.parts
        for attempt in delta.attempts:
            if attempt.before is None:
                parts["attempt"].append(inserted_attempt(ord_, version, attempt))
            else:
                parts["move"].append(_moved_attempt(no, version, attempt))
        self._add_timers(ord_, no, delta)
        for message in delta.messages:
            parts["message"].append((no, message.no, version, text(message.answer, "an answer")))
        if delta.checkpoint is not None:
            parts["checkpoint"].append(checkpoint(ord_, version, at, delta.checkpoint))
        for written in delta.events:
            parts["event"].append((len(parts["event"]) + 1, *event(ord_, version, at, written)))

    def _add_timers(self, ord_: int, no: int, delta: Delta) -> None:
        """No timer of a delta twice: in one statement they could not follow each other."""
        if len({(timer.kind, timer.step_no) for timer in delta.timers}) < len(delta.timers):
            raise _Unfit
        for timer in delta.timers:
            if timer.due_at is not None:
                self.parts["set_timer"].append((ord_, timer.kind, timer.step_no, timer.due_at))
            elif no:
                self.parts["clear_timer"].append((no, timer.kind, timer.step_no))


def gathered(writes: Sequence[Write], schema: str) -> Gathered | None:
    """The writes as one statement on that (quoted) schema; None when one of them has to go alone."""
    rows = _Rows()
    try:
        counts = [rows.add(ord_, write) for ord_, write in enumerate(writes)]
    except (_Unfit, PerdureError, UnicodeError):
        return None
    fields = tuple(sorted(rows.fields))
    rows.parts["change"] = sorted((_with_fields(row, fields) for row in rows.parts["change"]), key=_by_number)
    present = tuple(name for name in COLUMNS if rows.parts[name])
    sizes = {name: len(rows.parts[name]) for name in present}
    arguments = [list(column) for name in present for column in zip(*rows.parts[name], strict=True)]
    checked = [[sizes.get(name, 0) for name in ("change", "move", "message", "event")]]
    sql = statement(present, fields, schema)

    def answers(base: int, keys: Sequence[int]) -> list[Answer]:
        """What the store says to each of the writes."""
        found: list[Answer] = []
        fresh = iter(keys)
        for write, count in zip(writes, counts, strict=True):
            first = base + 1 if count else 0
            base += count
            if isinstance(write, Change):
                found.append(Changed(write.version + 1, first))
            else:
                found.append(Started(next(fresh), joined=False, first_event_id=first))
        return found

    return Gathered(sql, checked + arguments, answers)


def _moved_attempt(no: int, version: int, attempt: AttemptWrite) -> Row:
    """The columns of the part "move". Raises PayloadTooLarge."""
    return (
        attempt.state,
        attempt.is_outcome,
        version if attempt.is_outcome else None,
        attempt.started_at,
        attempt.finished_at,
        attempt.due_at,
        text(attempt.error, "an error"),
        text(attempt.output, "the output of a step"),
        attempt.cost_nanos,
        attempt.tokens,
        no,
        attempt.step_no,
        attempt.generation,
        attempt.attempt,
        attempt.before,
    )


def _by_number(row: Row) -> int:
    number: int = row[1]
    return number


def _with_fields(row: Row, fields: tuple[str, ...]) -> Row:
    """The row of a change with, for each field that any of them sets, whether it does and the value."""
    given: dict[str, Any] = row[-1]
    return (*row[:-1], *(part for name in fields for part in (name in given, given.get(name))))
