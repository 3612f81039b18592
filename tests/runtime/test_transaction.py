"""`context.transaction()`: statements of a step's own, executed with its outcome or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import (
    ExecutionFailed,
    InvalidStatement,
    Retry,
    Runtime,
    StatementFailed,
    Status,
    StepContext,
    Workflow,
)
from perdure.runtime.testing import TestRuntime, VirtualRuntime, check_store, run_virtual, virtual_time

INSERT = "INSERT INTO ledger (execution, amount) VALUES (?, ?)"


class Ledger:
    """A store's file with a table of the user's in it."""

    def __init__(self, folder: Path) -> None:
        """Make the table, before any runtime is open."""
        self.path = folder / "orders.db"
        self.ask("CREATE TABLE ledger (execution TEXT, amount INTEGER CHECK (amount > 0))")

    def ask(self, sql: str) -> list[Any]:
        """Over a connection of one's own, as any other program would."""
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                return connection.execute(sql).fetchall()
        finally:
            connection.close()

    @property
    def amounts(self) -> list[int]:
        """What was entered, in order."""
        return [amount for (amount,) in self.ask("SELECT amount FROM ledger ORDER BY rowid")]

    def run(self, scenario: Callable[[Runtime], Awaitable[None]], **options: Any) -> None:
        """Run a scenario on a runtime over this file, and check the store after it."""

        async def main() -> None:
            async with VirtualRuntime(self.path, **options) as runtime:
                await scenario(runtime)
                assert await check_store(runtime.store) == []

        run_virtual(main)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A new one."""
    return Ledger(tmp_path)


def entry(amount: int = 5, **policy: Any) -> Workflow:
    """One step that enters an amount, and one after it."""
    workflow = Workflow("entry")

    @workflow.step(**policy)
    async def enter(context: StepContext) -> int:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, amount))
        return amount

    @workflow.step
    async def after(enter: int) -> int:
        return enter

    return workflow


def test_statements_are_executed_once_with_the_outcome(ledger: Ledger) -> None:
    """Not before: until the outcome is durable nobody sees them."""
    seen: list[list[int]] = []
    workflow = Workflow("entry")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 1))
            tx.execute(INSERT, (context.execution_id, 2))
        with context.transaction() as tx:
            tx.execute("UPDATE ledger SET amount = amount * 10 WHERE amount = ?", [2], rows=1)
        await anyio.sleep(10)
        seen.append(ledger.amounts)

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(workflow, {})).result()

    ledger.run(scenario)
    assert seen == [[]]
    assert ledger.amounts == [1, 20]


def test_a_plain_function_in_a_thread_collects_as_well(ledger: Ledger) -> None:
    """With a plain `with`."""
    workflow = Workflow("entry")

    @workflow.step
    def enter(context: StepContext) -> None:
        with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 3))

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(workflow, {})).result()

    ledger.run(scenario)
    assert ledger.amounts == [3]


@pytest.mark.parametrize(
    ("sql", "parameters", "why"),
    [
        (INSERT, ("e", -1), "CHECK constraint failed"),
        ("INSERT INTO nowhere VALUES (1)", (), "no such table: nowhere"),
        ("INSERT INTO", (), "incomplete input"),
        (INSERT, ("e",), "Incorrect number of bindings"),
        ("DELETE FROM workflow_events", (), "may not touch the store's own tables"),
        ("COMMIT", (), "may not touch the store's own tables or the transaction"),
    ],
)
def test_a_statement_that_fails_is_the_failure_of_its_step(
    ledger: Ledger, sql: str, parameters: tuple[Any, ...], why: str
) -> None:
    """Neither a crash nor an outage: an error with its name, the others go on."""
    workflow = Workflow("wrong")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 1))
            tx.execute(sql, parameters)

    async def scenario(runtime: Runtime) -> None:
        fine = await runtime.start(entry(), {})
        wrong = await runtime.start(workflow, {})
        with pytest.raises(ExecutionFailed, match="statement 2 of the transaction failed"):
            await wrong.result()
        [attempt] = await wrong.attempts()
        assert attempt.error is not None
        assert attempt.error.type == StatementFailed.__name__
        assert why in attempt.error.message
        assert (await fine.result()).status is Status.COMPLETED

    ledger.run(scenario)
    assert ledger.amounts == [5]


def test_a_step_whose_statement_failed_is_retried_and_collects_anew(ledger: Ledger) -> None:
    """What a failed attempt had collected is gone, whether the database or the body failed."""
    workflow = Workflow("entry")

    @workflow.step(retry=Retry(max_retries=3, delay=60, retryable_errors=["StatementFailed", "OSError"]))
    async def enter(context: StepContext) -> int:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 100 * context.attempt))
            if context.attempt == 1:
                tx.execute(INSERT, (context.execution_id, 0))
        if context.attempt == 2:
            raise OSError("after the block")
        return context.attempt

    async def scenario(runtime: Runtime) -> None:
        result = await (await runtime.start(workflow, {})).result()
        assert result.outputs == {"enter": 3}

    ledger.run(scenario)
    assert ledger.amounts == [300]


def test_a_block_that_raises_keeps_nothing(ledger: Ledger) -> None:
    """Though the body goes on."""
    workflow = Workflow("entry")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async def wrong() -> None:
            async with context.transaction() as tx:
                tx.execute(INSERT, (context.execution_id, 1))
                tx.execute("")

        with pytest.raises(InvalidStatement):
            await wrong()
        with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 2))

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(workflow, {})).result()

    ledger.run(scenario)
    assert ledger.amounts == [2]


def test_an_interrupted_attempt_drops_what_it_collected(ledger: Ledger) -> None:
    """The next one collects it again."""
    workflow = Workflow("entry")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 1))
        await anyio.sleep(3_600)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {})
        await anyio.sleep(60)
        await execution.pause(mode="interrupt")
        assert ledger.amounts == []
        await execution.resume()
        await execution.result()

    ledger.run(scenario)
    assert ledger.amounts == [1]


def test_a_failing_statement_spares_the_level_it_is_in(ledger: Ledger) -> None:
    """The steps beside it are in flight meanwhile: they go on, and what they record counts."""
    workflow = Workflow("level", continue_on_error=True)

    @workflow.step
    async def wrong(context: StepContext) -> None:
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, -1))

    @workflow.step
    async def slow(context: StepContext) -> str:
        await anyio.sleep(60)
        async with context.transaction() as tx:
            tx.execute(INSERT, (context.execution_id, 60))
        return "slow"

    @workflow.step
    async def after(slow: str) -> str:
        return f"after {slow}"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {})
        result = await execution.result(check=False)
        assert result.status is Status.FAILED
        assert result.outputs == {"slow": "slow", "after": "after slow"}
        assert [(a.step, a.attempt) for a in await execution.attempts()] == [
            ("wrong", 1),
            ("slow", 1),
            ("after", 1),
        ]

    ledger.run(scenario)
    assert ledger.amounts == [60]


def test_a_pause_that_waited_for_a_step_whose_statement_fails_is_answered(ledger: Ledger) -> None:
    """Whoever drains the step hears where the execution rests, though the outcome was another."""

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow("slow")

        @workflow.step(retry=Retry(max_retries=1, delay=60))
        async def enter(context: StepContext) -> int:
            await anyio.sleep(60)
            async with context.transaction() as tx:
                tx.execute(INSERT, (context.execution_id, context.attempt - 1))
            return context.attempt

        execution = await runtime.start(workflow, {})
        await anyio.sleep(1)
        assert await execution.pause() == "paused"
        await anyio.sleep(3_600)
        assert ledger.amounts == []
        await execution.resume()
        assert (await execution.result()).outputs == {"enter": 2}

    ledger.run(scenario)
    assert ledger.amounts == [1]


def test_an_optional_step_may_fail_by_its_statement(ledger: Ledger) -> None:
    """It is a failure like any other."""

    async def scenario(runtime: Runtime) -> None:
        result = await (await runtime.start(entry(-1, optional=True), {})).result(check=False)
        assert result.outputs["enter"] is None

    ledger.run(scenario)
    assert ledger.amounts == []


def test_an_endless_statement_fails_its_step_and_holds_nobody_up(ledger: Ledger) -> None:
    """The writer is everybody's."""
    endless = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a) SELECT x FROM a"
    workflow = Workflow("endless")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            tx.execute(f"INSERT INTO ledger (amount) {endless}")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {})
        fine = await runtime.start(entry(), {})
        with pytest.raises(ExecutionFailed, match="kept the database busy"):
            await execution.result()
        assert (await fine.result()).status is Status.COMPLETED

    ledger.run(scenario)
    assert ledger.amounts == [5]


@pytest.mark.parametrize(
    "crash",
    [
        "after:enter",
        "after:enter:before-commit",
        "after:enter:after-commit",
        ["after:enter:before-commit", "after:enter:before-commit", "after:enter:after-commit"],
        ["commit:after#2", "publish:before"],
    ],
)
@virtual_time
async def test_a_crash_around_the_commit_executes_the_statements_once(tmp_path: Path, crash: Any) -> None:
    """The body runs again where its outcome was not durable; what it collected counts one time."""
    ledger = Ledger(tmp_path)
    async with TestRuntime(entry(), crash=crash, location=ledger.path) as test:
        await test.assert_completed(await test.start("entry", {}), {"enter": 5})
    assert ledger.amounts == [5]


@pytest.mark.parametrize(
    ("sql", "parameters", "why"),
    [
        ("", (), "a statement is a text"),
        (None, (), "a statement is a text"),
        (INSERT, "two", "as a tuple or list"),
        (INSERT, {"a": 1}, "as a tuple or list"),
        (INSERT, (object(), 1), "cannot be given a object"),
        (INSERT, (2**63, 1), "integers have 64 bits"),
        (INSERT, ("\ud800", 1), "no Unicode text"),
    ],
)
def test_what_could_never_be_executed_is_refused_at_its_line(
    ledger: Ledger, sql: Any, parameters: Any, why: str
) -> None:
    """Where the stack still shows who wrote it."""
    workflow = Workflow("wrong")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            with pytest.raises(InvalidStatement, match=why):
                tx.execute(sql, parameters)

    async def scenario(runtime: Runtime) -> None:
        assert (await (await runtime.start(workflow, {})).result()).status is Status.COMPLETED

    ledger.run(scenario)


@pytest.mark.parametrize(
    ("count", "text", "why"), [(1_001, "", "1,000 statements"), (5, "x" * 2**20, "4,194,304 bytes")]
)
def test_a_step_may_not_collect_without_end(ledger: Ledger, count: int, text: str, why: str) -> None:
    """All others wait for the commit they are in."""
    workflow = Workflow("wrong")

    @workflow.step
    async def enter(context: StepContext) -> None:
        async with context.transaction() as tx:
            for _ in range(count):
                tx.execute(INSERT, (text, 1))

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(ExecutionFailed, match=why):
            await (await runtime.start(workflow, {})).result()

    ledger.run(scenario)
    assert ledger.amounts == []


def test_a_transaction_is_used_inside_its_block(ledger: Ledger) -> None:
    """Outside of it nothing would say whether what was given counts."""
    workflow = Workflow("wrong")
    kept: list[Any] = []

    @workflow.step
    async def enter(context: StepContext) -> None:
        kept.append(context)
        with pytest.raises(InvalidStatement, match="not open"):
            context.transaction().execute(INSERT, ("e", 1))

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(workflow, {})).result()
        with pytest.raises(InvalidStatement, match="the step has ended"), kept[0].transaction() as tx:
            tx.execute(INSERT, ("e", 1))

    ledger.run(scenario)
    assert ledger.amounts == []
