"""The agents whom the workflows of the patterns name, and the runtime they work for."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec

from perdure.runtime import Agents, Conflict, Execution, ExecutionSummary, StepContext, Workflow
from perdure.runtime.testing import TestExecution, TestRuntime
from perdure.runtime.testing.durations import seconds

Agent = Callable[..., Awaitable[Any]]


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody has done to its end, and when: in units of time (hours) since the company was opened."""

    execution: str
    step: str
    began: float
    ended: float


class Company(TestRuntime):
    """A runtime with the workflows of a case and the agents they name, who note what they do."""

    def __init__(
        self, texts: Sequence[str], *, unit: str = "1h", agents: Agents | None = None, **options: Any
    ) -> None:
        """The first of the workflows is the one that `begin` starts; `agents` are more of them."""
        self.workflows = [Workflow.parse(text) for text in texts]
        self.deeds: list[Deed] = []
        self._opened: float | None = None
        self._unit_s = seconds(unit)
        agents = Agents(agents or ())
        for agent in (self.echo, self.shorter, self.write, self.stop, self.end, self.hire):
            agents.add(agent.__name__, agent)
        for agent in (self.work, self.unless_closed, self.arrive):
            agents.add(agent.__name__, self._noted(agent))
        super().__init__(*self.workflows, agents=agents, **options)

    async def begin(self, **context: Any) -> TestExecution:
        """Start the first workflow with these inputs."""
        self._opened = anyio.current_time() if self._opened is None else self._opened
        return await self.start(self.workflows[0].name, context)

    def when(self, step: str) -> list[tuple[float, float]]:
        """When each body of the step that came to its end began and ended."""
        return [(deed.began, deed.ended) for deed in self.deeds if deed.step == step]

    async def children(self, execution: Execution, workflow: str | None = None) -> list[ExecutionSummary]:
        """What the execution has started, oldest first."""
        found = await self.runtime.list(parent=execution.id, workflow=workflow)
        return sorted(found, key=lambda child: child.created_at)

    async def work(self, context: StepContext, prompt: str = "0s") -> str:
        """Take as long as the prompt says, and give the key of the step."""
        await anyio.sleep(seconds(prompt))
        return context.step

    async def echo(self, prompt: Any) -> Any:
        """Give what the prompt comes to."""
        return prompt

    async def shorter(self, prompt: list[Any]) -> list[Any]:
        """Give all of a list but its last value."""
        return prompt[:-1]

    async def unless_closed(self, context: StepContext) -> str | None:
        """Work for an hour, unless by now the context says that there is no more to do."""
        return None if context.context.get("closed") else await self.work(context, "1h")

    async def arrive(self, context: StepContext, prompt: str, item: str = "0s") -> None:
        """Signal the execution, or the one that has started it; an item takes its time before."""
        await anyio.sleep(seconds(item))
        status = await (await self.runtime.execution(context.execution_id)).status()
        execution = await self.runtime.execution(status.parent_id or status.id)
        await execution.signal(prompt, context.step, command_id=context.idempotency_key)

    async def write(self, context: StepContext, prompt: dict[str, Any]) -> None:
        """Merge the prompt into the context of the execution."""
        execution = await self.runtime.execution(context.execution_id)
        await execution.update_context(prompt, command_id=context.idempotency_key)

    async def stop(self, context: StepContext, prompt: str) -> None:
        """Cancel what the execution has started of the workflow that the prompt names."""
        for child in await self.runtime.list(parent=context.execution_id, workflow=prompt):
            if child.finished_at is None:
                await (await self.runtime.execution(child.id)).cancel("nobody waits for it any more")

    async def end(self, context: StepContext) -> None:
        """Cancel the execution itself."""
        await (await self.runtime.execution(context.execution_id)).cancel("the end is reached")

    async def hire(self, context: StepContext, prompt: str) -> dict[str, Any]:
        """Start an execution for each who is wanted by now; the same id twice is one. Say who has ended."""
        wanted = context.context["wanted"]
        hired = [
            await self.runtime.start(
                prompt, {"takes": takes}, id=f"{context.execution_id}.{name}", parent_id=context.execution_id
            )
            for name, takes in wanted.items()
        ]
        statuses = [await execution.status() for execution in hired]
        return {"wanted": len(wanted), "ended": sum(each.finished_at is not None for each in statuses)}

    def _noted(self, agent: Agent) -> Agent:
        """The agent, and a note of each deed that comes to its end."""

        @functools.wraps(agent)
        async def noted(context: StepContext, **parameters: Any) -> Any:
            began = self._now()
            given = await agent(context, **parameters)
            deed = Deed(execution=context.execution_id, step=context.step, began=began, ended=self._now())
            self.deeds.append(deed)
            return given

        return noted

    def _now(self) -> float:
        return round((anyio.current_time() - (self._opened or 0.0)) / self._unit_s, 2)


async def tell_who_waits(execution: Execution, step: str, signal: str) -> bool:
    """Send the signal if the step waits for it at this moment; else nobody ever gets it."""
    while True:
        seen = await execution.query()
        if seen["steps"][step]["state"] != "waiting":
            return False
        try:
            await execution.signal(signal, expected_version=seen["version"])
        except Conflict:
            continue  # something has happened meanwhile: look again
        return True
