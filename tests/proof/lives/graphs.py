"""Lives of graphs: in which order steps go, which are left out, and with what others go on."""

from __future__ import annotations

import anyio
from client import Journal, Life

from lives.shared import PATIENCE_S, simple
from perdure.runtime import Retry, StepContext, Workflow

WIDTH = 20


def chain(journal: Journal) -> Life:
    """Three steps, one after another."""
    workflow = Workflow("chain")

    @workflow.step
    async def first(context: StepContext, word: str) -> str:
        journal.act(context)
        return f"{word} 1"

    @workflow.step
    async def second(context: StepContext, first: str) -> str:
        journal.act(context)
        await anyio.lowlevel.checkpoint()
        return f"{first} 2"

    @workflow.step
    async def third(context: StepContext, second: str) -> str:
        journal.act(context)
        return f"{second} 3"

    return simple(workflow)


def diamond(journal: Journal) -> Life:
    """One, then two beside each other, then one, as soon as each may start."""
    workflow = Workflow("diamond", scheduling="eager")

    @workflow.step
    async def top(context: StepContext, word: str) -> str:
        journal.act(context)
        return word

    @workflow.step
    async def left(context: StepContext, top: str) -> str:
        journal.act(context)
        return f"{top} left"

    @workflow.step
    async def right(context: StepContext, top: str) -> str:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)
        return f"{top} right"

    @workflow.step
    async def bottom(context: StepContext, left: str, right: str) -> list[str]:
        journal.act(context)
        return [left, right]

    return simple(workflow)


def wide(journal: Journal) -> Life:
    """Twenty steps beside each other and one that needs them all."""
    workflow = Workflow("wide", parallelism=WIDTH // 2)

    def one(no: int) -> None:
        @workflow.step(key=f"part-{no}")
        async def part(context: StepContext) -> int:
            journal.act(context)
            await anyio.sleep(PATIENCE_S * (no % 3))
            return no

    for no in range(WIDTH):
        one(no)

    @workflow.step(after=[f"part-{no}" for no in range(WIDTH)])
    async def total(context: StepContext) -> int:
        journal.act(context)
        return sum(context.needs.values())

    return simple(workflow)


def blocking(journal: Journal) -> Life:
    """Plain functions, in threads."""
    workflow = Workflow("blocking")

    @workflow.step
    def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    def second(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    return simple(workflow)


def optional_failure(journal: Journal) -> Life:
    """What may fail fails, and what needs it gets nothing."""
    workflow = Workflow("optional")

    @workflow.step(optional=True, retry=Retry(max_retries=1, delay=0))
    async def extra(context: StepContext) -> None:
        journal.act(context)
        raise OSError("no")

    @workflow.step
    async def main(context: StepContext, extra: str | None) -> list[str | None]:
        journal.act(context)
        return [extra]

    return simple(workflow)


def skipping(journal: Journal) -> Life:
    """One branch fails, what hangs on it is skipped, the other branch goes on."""
    workflow = Workflow("skipping", continue_on_error=True)

    @workflow.step
    async def broken(context: StepContext) -> int:
        journal.act(context)
        raise OSError("no")

    @workflow.step
    async def skipped(context: StepContext, broken: int) -> int:
        journal.act(context)
        return broken

    @workflow.step
    async def fine(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def goes_on(context: StepContext, fine: int) -> int:
        journal.act(context)
        return fine + 1

    return simple(workflow)


def conditions(journal: Journal) -> Life:
    """One branch is taken, one is not, one cannot be asked about, and a join takes what there is."""
    workflow = Workflow("conditions", continue_on_error=True)

    @workflow.step(when="inputs.word == 'go'")
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(when=lambda first: first > 1)
    async def refused(context: StepContext) -> int:
        journal.act(context)
        return 2

    @workflow.step(after=[first], when="steps.first.output.nothing", optional=True)
    async def broken(context: StepContext) -> int:
        journal.act(context)
        return 3

    @workflow.step(
        after=[refused, broken], dependencies_policy="any", when="steps.refused.state == 'skipped'"
    )
    async def join(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    return simple(workflow)
