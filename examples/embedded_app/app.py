"""A web app with a durable runtime inside: it starts, pauses, resumes and watches executions.

Run it with `python app.py FOLDER [PORT]`. The runtime lives as long as the app: when the server is
stopped its executions are interrupted, and the next start goes on with them.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fingerprints import BYTES_PER_SECOND, fingerprints
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from perdure.runtime import Event, Execution, IllegalTransition, NotFound, PauseMode, PerdureError, Runtime

STATUS_OF_ERROR = {NotFound: 404, IllegalTransition: 409}  # every other error we raise: 400


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a client may ask for: a folder below the root, and how fast it is read."""

    folder: str = "."
    bytes_per_second: int = BYTES_PER_SECOND


def create_app(root: Path, *, database: Path) -> Starlette:
    """Make the app that reads folders below `root` and remembers everything in `database`."""
    root = root.resolve()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with Runtime(database, workflows=[fingerprints]) as runtime:
            yield {"runtime": runtime, "root": root}

    routes = [
        Route("/executions", start, methods=["POST"]),
        Route("/executions", listing),
        Route("/executions/{id}", show),
        Route("/executions/{id}/events", watch),
        Route("/executions/{id}/result", result),
        Route("/executions/{id}/{command:str}", control, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((PerdureError, msgspec.MsgspecError, ValueError), refuse),
    )


async def start(request: Request) -> Response:
    """Start an execution; the answer is sent when it is durable."""
    order = msgspec.json.decode(await request.body() or b"{}", type=Order)
    folder = (request.state.root / order.folder).resolve()
    if not folder.is_relative_to(request.state.root) or not folder.is_dir():
        raise NotFound("folder", order.folder)
    execution = await request.state.runtime.start(
        fingerprints, {"folder": str(folder), "bytesPerSecond": max(1, order.bytes_per_second)}
    )
    return answer(await execution.status(), status=201)


async def listing(request: Request) -> Response:
    """List the executions, newest first."""
    return answer(await request.state.runtime.list())


async def show(request: Request) -> Response:
    """Show one execution: its state, its steps, and how far the running one says it is."""
    execution = await execution_of(request)
    return answer(await execution.query())


async def result(request: Request) -> Response:
    """Wait for the end and show how it ended."""
    execution = await execution_of(request)
    return answer(await execution.result(check=False))


async def control(request: Request) -> Response:
    """Pause, resume or cancel; the answer is sent when it has happened."""
    execution = await execution_of(request)
    match request.path_params["command"]:
        case "pause":
            await execution.pause(mode=PauseMode(request.query_params.get("mode", "drain")), by="web")
        case "resume":
            await execution.resume(by="web")
        case "cancel":
            await execution.cancel("asked for over the web", by="web")
        case other:
            raise NotFound("command", other, hint="there are pause, resume and cancel")
    return answer(await execution.status())


async def watch(request: Request) -> Response:
    """Stream the events until the end; a browser that comes back goes on after the last one it saw."""
    execution = await execution_of(request)
    seen = int(request.headers.get("last-event-id", "0"))

    async def stream() -> AsyncIterator[bytes]:
        async for event in execution.events(after=seen, follow=True):
            yield as_message(event)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def refuse(_: Request, error: Exception) -> Response:
    """Say what is wrong, with the status that fits."""
    status = STATUS_OF_ERROR.get(type(error), 400)
    return answer({"error": type(error).__name__, "message": str(error)}, status=status)


async def execution_of(request: Request) -> Execution:
    """The execution the address speaks of. Raises NotFound."""
    runtime: Runtime = request.state.runtime
    return await runtime.execution(request.path_params["id"])


def as_message(event: Event) -> bytes:
    """One event as server-sent events have it."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), msgspec.json.encode(event))


def answer(value: object, *, status: int = 200) -> Response:
    """Answer with a record as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000  # noqa: PLR2004 - the second argument
    app = create_app(folder, database=Path("perdure.db"))
    uvicorn.run(app, port=port, timeout_graceful_shutdown=1)
