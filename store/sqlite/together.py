"""The moves of a whole batch as one: a statement for each kind of row instead of one for each row.

Most of what is written at the same moment has nothing to do with each other, and nothing of it will
be refused. So it is written together first, in a savepoint; should anything be not as it has to be,
all of it is undone and each write looked at alone, which finds out what is wrong with which.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeGuard

import msgspec

from perdure.store.protocol import Answer
from perdure.store.script import Many, Script
from perdure.store.scripts import delta
from perdure.store.scripts.delta import Row
from perdure.store.scripts.transitions import (
    CLEAR_TIMERS,
    INSERT_CONTEXT,
    INSERT_EXECUTION,
    PATCH_CONTEXT,
    inserted_execution,
    move_with,
    moved_execution,
    patched_context,
    refuse_illegal_start,
)
from perdure.store.states import TERMINAL, can_become
from perdure.store.writes import Change, Changed, Delta, Start, Started, Write, is_id

Values = list[Any]  # of rows, one after the other: to keep a tuple for each would call the garbage collector

TOGETHER_MIN: Final = 4  # fewer moves are as fast one by one
INSERTED_MAX: Final = 32  # rows of one statement: with 20 columns each below 999 values, old libraries' limit


class LookedAtAloneError(Exception):
    """Something is not as it has to be; which write it is, and what, is found by applying them singly."""


class _Move(msgspec.Struct, frozen=True, gc=False):
    """One write on its way: the execution it moves, and the version that makes it."""

    no: int
    version: int
    at: int
    delta: Delta


def is_move(write: Write) -> TypeGuard[Start | Change]:
    """Whether a write may be applied together with others: a move of one execution, all of it ours."""
    if not isinstance(write, Start | Change):
        return False
    if isinstance(write, Change) and write.before in TERMINAL:
        return False
    if isinstance(write, Start) and (write.fork or write.place or write.parent_epoch is not None):
        return False
    return write.delta.is_plain


def together(writes: Sequence[Start | Change]) -> Script[list[Answer]]:
    """Apply all of them; answers in order. Raises LookedAtAloneError, PerdureError, or what SQL raises."""
    changes = [write for write in writes if isinstance(write, Change)]
    starts = [write for write in writes if isinstance(write, Start)]
    yield from _swap(changes)
    keys = iter((yield from _insert(starts)))
    moves = [
        _Move(write.execution_no, write.version + 1, write.at, write.delta)
        if isinstance(write, Change)
        else _Move(next(keys), 1, write.at, write.delta)
        for write in writes
    ]
    yield from _write_attempts(moves)
    yield from _write_the_rest(moves)
    first_ids = yield from _append_events(moves)
    return [
        Changed(move.version, first)
        if isinstance(write, Change)
        else Started(move.no, joined=False, first_event_id=first)
        for write, move, first in zip(writes, moves, first_ids, strict=True)
    ]


def _swap(changes: list[Change]) -> Script[None]:
    """All compare-and-swaps, those that set the same columns in one statement."""
    _expect(len({change.execution_no for change in changes}) == len(changes))  # or one has to follow another
    by_columns: dict[tuple[str, ...], Values] = {}
    for change in changes:
        _expect(can_become(change.before, change.state))
        _expect(delta.illegal_attempt(change.delta.attempts) is None)
        columns, row = moved_execution(change)
        by_columns.setdefault(columns, []).extend(row)
    for columns, values in by_columns.items():
        yield from _write(move_with(columns), values, is_each=True)
    contexts: Values = []
    for change in changes:
        if "context" in change.fields:
            contexts += patched_context(change)
    yield from _write(PATCH_CONTEXT, contexts)
    yield from _write(CLEAR_TIMERS, [one.execution_no for one in changes if one.state in TERMINAL])


def _insert(starts: list[Start]) -> Script[Sequence[int]]:
    """The rows of new executions and their contexts; answers the keys."""
    executions: Values = []
    for start in starts:
        _expect(is_id(start.id))
        refuse_illegal_start(start)
        executions += inserted_execution(start)
    last = yield from _insert_all(INSERT_EXECUTION, executions)
    keys = range(last - len(starts) + 1, last + 1)
    contexts: Values = []
    for no, start in zip(keys, starts, strict=True):
        contexts += (no, delta.text(start.context, "the context"))
    yield from _insert_all(INSERT_CONTEXT, contexts)
    return keys


def _write_attempts(moves: list[_Move]) -> Script[None]:
    """New attempts, then those that move on, which may be among the new ones.

    Moves that set the same columns are one statement; if the same attempt is in two of them, the states
    that each of them begins with tell whether that order was the right one.
    """
    inserted: Values = []
    moved: dict[tuple[str, ...], Values] = {}
    for move in moves:
        for attempt in move.delta.attempts:
            if attempt.before is None:
                inserted += delta.inserted_attempt(move.no, move.version, attempt)
            else:
                columns, row = delta.moved_attempt(move.no, move.version, attempt)
                moved.setdefault(columns, []).extend(row)
    yield from _insert_all(delta.INSERT_ATTEMPT, inserted)
    for columns, values in moved.items():
        yield from _write(delta.move_attempt_with(columns), values, is_each=True)


def _write_the_rest(moves: list[_Move]) -> Script[None]:
    """Timers, of which the last word counts, messages and checkpoints."""
    timers: dict[Row, int | None] = {}
    answers: Values = []
    checkpoints: Values = []
    for move in moves:
        for timer in move.delta.timers:
            timers[move.no, timer.kind, timer.step_no] = timer.due_at
        for message in move.delta.messages:
            answers += (move.version, delta.text(message.answer, "an answer"), message.no, move.no)
        if move.delta.checkpoint is not None:
            checkpoints += delta.checkpoint(move.no, move.version, move.at, move.delta.checkpoint)
    cleared = [key for key, due_at in timers.items() if due_at is None]
    yield from _write(delta.CLEAR_TIMER, [*chain.from_iterable(cleared)])
    due = [(*key, due_at) for key, due_at in timers.items() if due_at is not None]
    yield from _write(delta.SET_TIMER, [*chain.from_iterable(due)])
    yield from _write(delta.APPLY_MESSAGE, answers, is_each=True)
    yield from _insert_all(delta.INSERT_CHECKPOINT, checkpoints)


def _append_events(moves: list[_Move]) -> Script[list[int]]:
    """All lines of the log, in order; answers the id of each move's first, or 0."""
    values: Values = []
    for move in moves:
        for event in move.delta.events:
            values += delta.event(move.no, move.version, move.at, event)
    last = yield from _insert_all(delta.INSERT_EVENT, values)
    next_id = last - sum(len(move.delta.events) for move in moves) + 1
    first_ids = []
    for move in moves:
        count = len(move.delta.events)
        first_ids.append(next_id if count else 0)
        next_id += count
    return first_ids


def _insert_all(sql: str, values: Values) -> Script[int]:
    """Insert rows, many with each statement; answers the key of the last, where there are keys."""
    last: int | None = None
    width = sql.count("?")
    start, size = 0, INSERTED_MAX
    while start < len(values):
        while start + size * width > len(values):
            size //= 2
        end = start + size * width
        last = (yield _insert_of(sql, size), values[start:end]).lastrowid
        start = end
    return last or 0


@lru_cache(maxsize=64)
def _insert_of(sql: str, size: int) -> str:
    """The insert of one row as that of several."""
    head, word, row = sql.rpartition("VALUES")
    return f"{head}{word}{','.join([row] * size)}"


def _write(sql: str, values: Values, *, is_each: bool = False) -> Script[None]:
    """Write rows, if there are any; `is_each`: every one of them has to be found."""
    if not values:
        return
    width = sql.count("?")
    rows = (values[start : start + width] for start in range(0, len(values), width))
    written = (yield Many(sql, rows)).rowcount
    _expect(not is_each or written * width == len(values))


def _expect(condition: bool) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise LookedAtAloneError
