"""Restate: its server from the npm package, a service of ours behind it, invocations over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import hypercorn.asyncio
import restate
from adapter import body, free_port, listening, main
from hypercorn.config import Config

SERVER = "RESTATE_SERVER"  # the environment variable that says where the binary is

service = restate.Service("benchmark")


async def noop() -> dict[str, int]:
    """The shared body."""
    return body()


@service.handler()
async def chain(context: restate.Context, length: int) -> int:
    """Steps one after the other."""
    for number in range(length):
        await context.run_typed(f"s{number}", noop)
    return length


@service.handler()
async def fan(context: restate.Context, width: int) -> int:
    """Steps beside each other."""
    await restate.gather(*(context.run_typed(f"s{number}", noop) for number in range(width)))
    return width


class Engine:
    """Invokes the service through the server and waits for the answer."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """A client of the server's ingress."""
        self._client = client

    async def run_chain(self, length: int) -> Any:
        """One invocation."""
        return await self._run("chain", length)

    async def run_fan(self, width: int) -> Any:
        """One invocation."""
        return await self._run("fan", width)

    async def _run(self, handler: str, given: int) -> Any:
        answer = await self._client.post(f"/benchmark/{handler}", json=given)
        answer.raise_for_status()
        return answer.json()


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """A server with an empty folder and our service registered with it."""
    ingress, admin, ours = free_port(), free_port(), free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(ours))
        await stack.enter_async_context(server(folder, ingress=ingress, admin=admin))
        async with httpx.AsyncClient(timeout=60) as client:
            deployment = {"uri": f"http://127.0.0.1:{ours}"}
            answer = await client.post(f"http://127.0.0.1:{admin}/deployments", json=deployment)
            answer.raise_for_status()
        limits = httpx.Limits(max_connections=1_000)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ingress}", timeout=None, limits=limits)
        yield Engine(await stack.enter_async_context(client))


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[None]:
    """Our service."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = 2**31 - 1
    stop = asyncio.Event()
    app: Any = restate.app([service])
    task = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))
    await listening(port)
    try:
        yield
    finally:
        stop.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def server(folder: Path, *, ingress: int, admin: int) -> AsyncIterator[None]:
    """The server, one node."""
    settings = {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
        "RESTATE_LOG_FILTER": "error",
        "DO_NOT_TRACK": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *(os.environ[SERVER], "--base-dir", str(folder)),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(admin)
        await listening(ingress)
        yield
    finally:
        process.terminate()
        await process.wait()


main(opened)
