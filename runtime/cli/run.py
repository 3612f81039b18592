"""`perdure run`: one execution of a workflow file, here and now or handed to a worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.runtime.cli.options import (
    Flag,
    Inputs,
    Performing,
    Seconds,
    UsageError,
    read_inputs,
    typed_inputs,
)
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.near import quoted

if TYPE_CHECKING:
    from perdure.runtime import Agents, Workflow

DEFAULTS = Performing()


def run(
    file: str,
    /,
    *,
    input: Inputs = (),
    context: str | None = None,
    id: str | None = None,
    triggered_by: str | None = None,
    priority: int = 0,
    trace_id: str | None = None,
    deadline: Seconds = None,
    detach: Flag = False,
    options: Performing = DEFAULTS,
) -> int:
    """Run a workflow file and wait for its end.

    perdure run review.yaml -i filePath=app.py --agents agents.py:agents

    Args:
        file: Workflow definition, YAML or JSON.
        input: One input as NAME=VALUE; repeatable. A value is of the declared type, else JSON, else text.
        context: Inputs as a JSON object, or @FILE, or - for stdin.
        id: Id of the execution; the same id again joins the same execution.
        triggered_by: Who or what asked for it.
        priority: Higher goes first where executions queue.
        trace_id: Trace to belong to (default: from TRACEPARENT, else new).
        deadline: Seconds after which the execution fails as timed out.
        detach: Print the id and leave the work to a worker; one is started where none runs.
    """
    session = open_session(options)
    inputs = read_inputs(context, input)
    from perdure.runtime import Workflow

    workflow = Workflow.load(file)
    inputs |= typed_inputs(input, workflow.definition.inputs)
    agents = session.agents()
    start = {
        "context": inputs,
        "id": id,
        "triggered_by": triggered_by or os.environ.get("USER"),
        "priority": priority,
        "trace_id": read_trace_id(trace_id),
        "timeout": deadline,
        "agents_from": absolute_agents(session.settings.agents),
    }
    if detach:
        return run_async(lambda: _detach(session, workflow, agents, start))
    return run_async(lambda: _run(session, workflow, agents, start, options.timeout), is_fast=True)


async def _run(
    session: Session, workflow: Workflow, agents: Agents | None, start: dict[str, Any], timeout: float | None
) -> int:
    from perdure.runtime.cli.attend import attend
    from perdure.runtime.cli.webhooks import tell_undelivered

    async with session.runtime("run", agents=agents, workflows=[workflow], must_exist=False) as runtime:
        is_there = start["id"] is not None and await runtime.store.execution(start["id"]) is not None
        execution = await runtime.start(workflow, **start)
        if is_there:
            session.note(
                f"{start['id']} is there already and is joined; its inputs are those it was started with"
            )
        _warn(session, workflow, start["context"], runtime.agents)
        session.note(f"{workflow.name} {execution.id}")
        code = await attend(execution, session=session, runtime=runtime, timeout=timeout)
    if workflow.definition.config.webhooks or session.settings.webhooks:
        await tell_undelivered(session, execution.id)
    return code


async def _detach(session: Session, workflow: Workflow, agents: Agents | None, start: dict[str, Any]) -> int:
    from perdure.runtime.cli.worker import ensure_worker

    async with session.runtime("client", agents=agents, workflows=[workflow], must_exist=False) as runtime:
        execution = await runtime.start(workflow, **start, detach=True)
        _warn(session, workflow, start["context"], runtime.agents)
        pid = await ensure_worker(runtime, session=session)
    session.note(
        f"{workflow.name} handed to "
        + ("a worker that runs" if pid is None else f"a new worker, process {pid}")
    )
    if session.out.format == "table":
        session.out.write(execution.id + "\n")
    else:
        session.out.json({"id": execution.id})
    return 0


def _warn(session: Session, workflow: Workflow, context: dict[str, Any], agents: Agents) -> None:
    """Tell of inputs that nothing reads and that look like one that a step would."""
    from perdure.runtime.language.checking import misspelt_inputs

    for name, near in misspelt_inputs(workflow.definition, context, agents):
        session.note(f"warning: no step reads the input {quoted(name)} (did you mean {near!r}?)")


def absolute_agents(spec: str | None) -> str | None:
    """The place of agents so that it can be found from any folder; a module stays as it is."""
    if spec is None:
        return None
    place, colon, name = spec.rpartition(":") if spec.count(":") else (spec, "", "")
    if not place.endswith(".py"):
        return spec
    return f"{Path(place).expanduser().resolve()}{colon}{name}"


def read_trace_id(given: str | None) -> str | None:
    """The trace to belong to: the one given, else the caller's TRACEPARENT. Raises UsageError."""
    from perdure.runtime.trace import normalise

    text = given or os.environ.get("TRACEPARENT")
    try:
        return normalise(text) if text else None
    except ValueError as error:
        where = "--trace-id" if given else "TRACEPARENT"
        raise UsageError(f"{where}: {error}") from error
