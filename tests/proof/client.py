"""Who plays a life: a program that keeps a journal, and goes on after a crash from where that says it was."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

from perdure.runtime import Execution, Result, Runtime, State, StepContext, Workflow
from perdure.runtime.webhooks.posting import Post

ID = "life"


class Journal:
    """What the world remembers of a life: a file that survives the process, one line at a time."""

    def __init__(self, path: Path) -> None:
        """Go on with that file."""
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.told = {line["told"] for line in read(path) if "told" in line}

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line, whole or not at all."""
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def lines(self) -> list[dict[str, Any]]:
        """All that has been written."""
        return read(self._path)

    def act(self, context: StepContext) -> None:
        """A body acts on the world."""
        self.write(
            {
                "execution_id": context.execution_id,
                "step": context.step,
                "generation": context.generation,
                "attempt": context.attempt,
                "idempotency_key": context.idempotency_key,
            }
        )

    def tell(self, what: str) -> None:
        """The client was told."""
        self.told.add(what)
        self.write({"told": what})


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Client:
    """The program that plays a life, from where its journal says it was."""

    def __init__(
        self,
        runtime: Runtime,
        journal: Journal,
        *,
        another: Callable[..., AbstractAsyncContextManager[Runtime]],
    ) -> None:
        """Play on that runtime; `another` makes a second one, of the `kind` that is asked for."""
        self.runtime = runtime
        self.another = another
        self.gate = asyncio.Event()
        self._journal = journal
        self._execution: Execution | None = None

    @property
    def execution(self) -> Execution:
        """The one execution of the life."""
        assert self._execution is not None
        return self._execution

    async def start(self, workflow: Workflow, context: Mapping[str, Any], **options: Any) -> None:
        """Start it, or join it if it has been started."""
        self._execution = await self.runtime.start(workflow, context, id=ID, **options)
        self._journal.tell("start")

    async def fork(self, id: str, **options: Any) -> Execution:
        """Fork it, or join that fork if there is one."""
        fork = await self.execution.fork(id=id, **options)
        self._journal.tell(f"start {id}")
        return fork

    async def say(
        self, command_id: str, command: Callable[..., Awaitable[Any]], *args: Any, **more: Any
    ) -> None:
        """Give a command unless its answer is in the journal."""
        if command_id not in self._journal.told:
            await command(*args, command_id=command_id, **more)
            self._journal.tell(command_id)

    async def pause(self, execution: Execution, **more: Any) -> None:
        """Bring it to rest. Whoever is told so may rely on nothing being in flight."""

        async def rest(*, command_id: str) -> None:
            assert await execution.pause(command_id=command_id, **more) is State.PAUSED
            assert (await execution.query())["running"] == []

        await self.say("pause", rest)

    async def until(self, type_: str, step: str | None = None) -> None:
        """Wait for that line in the log."""
        async for event in self.execution.events(follow=True):
            if event.type == type_ and event.step == step:
                return

    async def told(self, type_: str, field: str) -> list[Any]:
        """What the lines of that type in the log say there, so far."""
        return [event.data[field] async for event in self.execution.events() if event.type == type_]

    async def end(self, what: str = "end") -> Result:
        """Wait for the end, whatever it is."""
        result = await self.execution.result(check=False)
        self._journal.tell(f"saw {what}")
        return result

    async def failure(self) -> None:
        """Wait for the failure that is to be repaired, unless it has been seen: then it may have been."""
        if "saw failure" not in self._journal.told:
            await self.end("failure")


async def deaf(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Nobody outside is to be told of anything."""
    raise OSError(f"there is nobody at {url}")


class Life(NamedTuple):
    """A workflow, the client that plays it, and what its processes are made with besides."""

    workflow: Workflow
    play: Callable[[Client], Awaitable[Result]]
    options: Mapping[str, Any] = {}
    post: Post = deaf
