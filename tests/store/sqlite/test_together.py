"""Moves that are applied together come to the same as if each had been applied alone."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from perdure.store.errors import PerdureError
from perdure.store.records import Execution, Message
from perdure.store.sqlite import batch
from perdure.store.sqlite.together import TOGETHER_MIN
from perdure.store.states import State, StepState
from perdure.store.writes import (
    EXECUTION_TIMER,
    CheckpointWrite,
    EventWrite,
    MessageWrite,
    TimerWrite,
    Write,
)

pytestmark = pytest.mark.anyio

EXECUTIONS = 8
SEEDS = range(20)


def plan(book: Any, executions: list[Execution], messages: list[Message], dice: random.Random) -> list[Write]:
    """One batch: moves of every shape, starts, and now and then one that has to be refused."""
    writes: list[Write] = [book.starting(f"new-{dice.random()}") for _ in range(dice.randrange(4))]
    for execution, message in zip(executions, messages, strict=True):
        fields = dice.choice([{}, {}, {"started_at": 1}, {"context": b'{"a":1}', "deadline_at": 5}])
        parts: dict[str, Any] = {"attempts": (book.attempt(0), book.outcome(1, b'{"ok":1}'))}
        if dice.random() < 0.5:
            parts["attempts"] += (book.outcome(0, before=StepState.RUNNING),)
        if dice.random() < 0.3:
            parts["checkpoint"] = CheckpointWrite(
                "here", "me", automatic=False, steps_completed=1, steps_total=3, size_bytes=9
            )
        if dice.random() < 0.3:
            timers = [
                TimerWrite("retry", 0, 7),
                TimerWrite("retry", 0, None),
                TimerWrite("deadline", EXECUTION_TIMER, 8),
            ]
            parts["timers"] = tuple(dice.sample(timers, k=2))
        if dice.random() < 0.3:
            parts["messages"] = (MessageWrite(message.no, b'"done"'),)
        parts["events"] = tuple(EventWrite("noted", command_id=f"c{n}") for n in range(dice.randrange(3)))
        writes.append(
            book.change(execution, State.COMPLETED if dice.random() < 0.2 else None, fields=fields, **parts)
        )
    if dice.random() < 0.5:
        writes.append(dice.choice(bad_ones(book, executions[0])))
    dice.shuffle(writes)
    return writes


def bad_ones(book: Any, execution: Execution) -> list[Write]:
    """Moves that are refused, each for a reason of its own."""
    return [
        book.change(execution, version=77),
        book.change(execution, epoch=77),
        book.change(execution, State.RESTORING_CHECKPOINT),
        book.change(execution, before=State.PAUSED),
        book.change(execution, attempts=(book.outcome(2, before=StepState.RUNNING),)),
        book.change(execution, messages=(MessageWrite(99, None),)),
        book.change(execution, fields={"remaining_ms": 2**70}),
        book.change(execution, fields={"epoch": 77}),
        book.starting("e1"),
        book.starting("no id"),
        book.starting("e-9", workflow_no=99),
    ]


async def lay_out(book: Any) -> tuple[list[Execution], list[Message]]:
    """Executions in flight, each with a message in its inbox."""
    executions = [await book.start(f"e{n}") for n in range(EXECUTIONS)]
    numbers = [await book.write(book.post(f"e{n}")) for n in range(EXECUTIONS)]
    return executions, [await book.store.message(no) for no in numbers]


def told(answer: Any) -> str:
    """An answer, or the whole of a refusal, in words that can be compared."""
    if isinstance(answer, PerdureError):
        return f"{type(answer).__name__}: {answer}"
    return msgspec.json.encode(answer).decode()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_batch_says_and_does_what_its_moves_do_one_by_one(
    book_of: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Answers, refusals and rows are the same; only the number of statements is not."""
    seen = []
    for least in (2, 10**9):
        monkeypatch.setattr(batch, "TOGETHER_MIN", least)
        book = book_of(await open_store(":memory:", inline=True))
        executions, messages = await lay_out(book)
        answers = await book.store.commit(plan(book, executions, messages, random.Random(seed)))
        seen.append(([told(answer) for answer in answers], await book.facts()))
    assert seen[0] == seen[1]


async def test_few_statements_move_many(book: Any, monkeypatch: pytest.MonkeyPatch):
    """What is written together costs a statement for each kind of row."""
    executions = [await book.start(f"e{n}") for n in range(TOGETHER_MIN)]
    singly: list[Any] = []
    monkeypatch.setattr(batch, "_apply", lambda *write: singly.append(write))
    await book.store.commit([book.change(execution) for execution in executions])
    assert singly == []
    assert {(await book.execution(one.id)).version for one in executions} == {2}


async def test_one_refusal_costs_the_others_nothing(book: Any):
    """All are looked at alone then, and only the one is refused."""
    executions = [await book.start(f"e{n}") for n in range(TOGETHER_MIN)]
    moves = [book.change(execution) for execution in executions]
    stale = book.change(executions[0], version=9)
    answers = await book.store.commit([*moves[:2], stale, *moves[2:]])
    assert [isinstance(answer, PerdureError) for answer in answers] == [False, False, True, False, False]
    assert {(await book.execution(one.id)).version for one in executions} == {2}


async def test_moves_of_one_execution_follow_each_other(book: Any):
    """A timer that the first one sets goes with the end that the second one brings."""
    one, *others = [await book.start(f"e{n}") for n in range(TOGETHER_MIN)]
    first = book.change(one, timers=(TimerWrite("retry", 0, 7),))
    last = book.change(one, State.COMPLETED, version=2)
    answers = await book.store.commit([*map(book.change, others), first, last])
    assert [answer.version for answer in answers] == [*[2] * len(others), 2, 3]
    assert await book.raw("SELECT * FROM workflow_timers") == []
