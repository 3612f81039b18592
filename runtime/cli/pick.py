"""`perdure pick`: choose a workflow, see how it fared, start it or go on with an execution; no ids needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from perdure.runtime.cli.describe import input_rows
from perdure.runtime.cli.options import Performing, UsageError, read_inputs, typed_inputs
from perdure.runtime.cli.render import ago, duration, progress, value
from perdure.runtime.cli.run import absolute_agents
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.store.states import Status

if TYPE_CHECKING:
    from perdure.store.records import ExecutionSummary, Workflow, WorkflowStatistics

T = TypeVar("T")

DEFAULTS: Final = Performing()
SHOWN_MAX: Final = 10  # executions on the screen: who looks for older ones has `perdure history`
LEAVE: Final = ("q", "quit", "exit")
# What may be done with an execution, by its status: the key to press, and the command it stands for.
ACTIONS: Final[dict[Status, dict[str, str]]] = {
    Status.PAUSED: {"r": "resume", "c": "cancel"},
    Status.FAILED: {"r": "retry"},
    Status.CANCELLED: {"r": "retry"},
    Status.RUNNING: {"p": "pause", "c": "cancel"},
    Status.INITIATED: {"c": "cancel"},
}
DECISIONS: Final = {"a": "approve", "x": "reject"}  # where a step waits for approval
ALWAYS: Final = {"s": "status", "e": "events", "b": "back"}


class Left(Exception):
    """The one at the terminal wants to leave."""


def pick(*, options: Performing = DEFAULTS) -> int:
    """Choose a workflow, see how it fared, start it or go on with an execution.

    It asks, so it needs a terminal; in a script use list, run, resume and retry.
    """
    session = open_session(options)
    if not sys.stdin.isatty():
        raise UsageError(
            "pick asks at a terminal and there is none: use `perdure list`, `run`, `resume` or `retry`"
        )
    try:
        return _pick(session, options)
    except (Left, EOFError):
        return 0


def _pick(session: Session, options: Performing) -> int:
    """Ask until something has been done that has an exit code."""
    while True:
        workflow = _choose_workflow(session)
        if workflow is None:
            session.note("no workflow yet: `perdure run FILE` runs the first one")
            return 0
        code = _at_workflow(session, options, workflow)
        if code is not None:
            return code


def _choose_workflow(session: Session) -> Workflow | None:
    """Show the workflows; the one that was chosen, None where there is none."""
    workflows: list[Workflow]
    workflows, statistics = _read(session, _workflows)
    if not workflows:
        return None
    by_name = {one.workflow: one for one in statistics}
    rows = [_workflow_row(session, one, by_name.get(one.name)) for one in workflows]
    session.out.table(("#", "WORKFLOW", "RUNS", "FAILED", "LAST"), _numbered(rows))
    return _choose(session, "workflow: a number, or a part of its name", workflows, lambda one: one.name)


def _at_workflow(session: Session, options: Performing, workflow: Workflow) -> int | None:
    """Show the last executions of a workflow and do what is wanted; None: back to the list."""
    while True:
        summaries = _read(session, lambda store: store.executions(workflow=workflow.name, limit=SHOWN_MAX))
        session.out.write(f"\n{workflow.name}: {workflow.description or 'its last executions'}\n")
        rows = [_execution_row(session, one) for one in summaries]
        session.out.table(("#", "ID", "STATUS", "STEPS", "CREATED", "TOOK", "ERROR"), _numbered(rows))
        answer = _ask("execution: a number, n starts one, b goes back")
        if answer in {"b", "back"}:
            return None
        if answer in {"n", "new"}:
            return _start(session, options, workflow, summaries)
        chosen = _find(session, answer, summaries, lambda one: one.id)
        code = None if chosen is None else _at_execution(session, options, chosen)
        if code is not None:
            return code


def _at_execution(session: Session, options: Performing, summary: ExecutionSummary) -> int | None:
    """Do something with one execution; None: back to the others."""
    asked = _read(session, lambda store: _asked(store, summary.id))
    actions = (DECISIONS if asked else {}) | ACTIONS.get(summary.status, {}) | ALWAYS
    while True:
        keys = ", ".join(f"{key} {name}" for key, name in actions.items())
        answer = _ask(f"{summary.id} is {summary.status}: {keys}")
        name = actions.get(answer)
        if name == "back":
            return None
        if name in {"status", "events"}:
            _show(session, name, summary.id)
        elif name in {"approve", "reject"}:
            return _decide(session, name, summary.id, asked)
        elif name is not None:
            session.note(session.command(name, summary.id))
            return _command(name, summary.id, options)
        else:
            session.note(f"{answer} is none of them: give one of the letters")


async def _asked(store: Any, id_: str) -> dict[str, Any]:
    """The steps of an execution that wait for approval, each with what it asks."""
    from perdure.runtime.looking import describe

    steps = (await describe(store, id_))["steps"]
    return {
        key: step["waits"] for key, step in steps.items() if (step["waits"] or {}).get("for") == "approval"
    }


def _decide(session: Session, name: str, id_: str, asked: Mapping[str, Any]) -> int:
    """Ask which step is meant, what its form wants to know and why; then decide in one's own name."""
    from perdure.runtime.cli import approvals
    from perdure.runtime.cli.options import Reading

    step = next(iter(asked))
    if len(asked) > 1:
        session.out.table(
            ("#", "STEP", "MESSAGE"), _numbered([(key, asked[key]["message"] or "") for key in asked])
        )
        step = _choose(session, "step: a number, or a part of its key", list(asked), str)
    elif asked[step]["message"]:
        session.note(f"{step}: {asked[step]['message']}")
    form = asked[step]["form"] if name == "approve" else None
    json = None if form is None else msgspec.json.encode(_inputs(session, form)).decode()
    comment = _read_line("why, or nothing") or None
    session.note(session.command(name, id_, step))
    return (approvals.approve if name == "approve" else approvals.reject)(
        id_,
        step,
        deciding=approvals.Deciding(json=json, comment=comment),
        options=Reading(db=session.settings.db, color=session.options.color),
    )


def _show(session: Session, name: str, id_: str) -> None:
    from perdure.runtime.cli import detail
    from perdure.runtime.cli.options import Reading

    reading = Reading(db=session.settings.db, color=session.options.color)
    (detail.status if name == "status" else detail.events)(id_, options=reading)


def _command(name: str, id_: str, options: Performing) -> int:
    from perdure.runtime.cli import control, perform, stop

    match name:
        case "resume":
            return perform.resume(id_, options=options)
        case "retry":
            return perform.retry(id_, options=options)
        case "pause":
            return control.pause(id_, options=options)
        case _:
            return stop.cancel(id_, options=options)


def _start(
    session: Session, options: Performing, workflow: Workflow, summaries: Sequence[ExecutionSummary]
) -> int:
    """Ask for the inputs and run it here, with the agents that its last execution had."""
    context = _inputs(session, workflow.definition.get("inputs"))
    last = summaries[0].id if summaries else None
    stored = None if last is None else _read(session, lambda store: store.execution(last))
    named = session.agents_argument or (stored.agents if stored else None) or session.settings.agents
    agents_from = absolute_agents(named)
    agents = session.agents(agents_from)

    async def main() -> int:
        from perdure.runtime.cli.attend import attend
        from perdure.runtime.cli.webhooks import tell_undelivered

        async with session.runtime("run", agents=agents) as runtime:
            execution = await runtime.start(
                workflow.name, context, agents_from=agents_from, triggered_by=os.environ.get("USER")
            )
            session.note(f"{workflow.name} {execution.id}")
            code = await attend(execution, session=session, runtime=runtime, timeout=options.timeout)
        await tell_undelivered(session, execution.id)
        return code

    return run_async(main, is_fast=True)


def _inputs(session: Session, schema: dict[str, Any] | None) -> dict[str, Any]:
    """What the workflow takes, asked for one by one; what is left out has its default."""
    rows = input_rows(schema)
    if not rows:
        return _undeclared(session)
    pairs: list[str] = []
    for row in rows:
        meaning = f" ({row['description']})" if row["description"] else ""
        usual = "required" if row["required"] else f"default {value(row['default'])}"
        text = ""
        while not text:
            text = _read_line(f"{row['name']}, {row['type']}, {usual}{meaning}")
            if not row["required"]:
                break
        if text:
            pairs.append(f"{row['name']}={text}")
    return typed_inputs(pairs, schema)


def _undeclared(session: Session) -> dict[str, Any]:
    """Inputs by name, of a workflow that does not say what it takes; asked again where one is wrong."""
    pairs: list[str] = []
    while text := _read_line("input: NAME=VALUE, or nothing to begin"):
        try:
            read_inputs(None, [text])
        except UsageError as error:
            session.note(str(error))
        else:
            pairs.append(text)
    return read_inputs(None, pairs)


def _ask(question: str) -> str:
    """What is chosen from a menu, asked for until there is something. Raises Left, EOFError."""
    while True:
        answer = _read_line(f"{question}, q leaves")
        if answer.lower() in LEAVE:
            raise Left
        if answer:
            return answer


def _read_line(question: str) -> str:
    """What is typed after a question; end of file leaves. Raises EOFError."""
    sys.stderr.write(f"{question}\n> ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _choose(session: Session, question: str, items: Sequence[T], name: Callable[[T], str]) -> T:
    """Ask until the answer means one of them."""
    while True:
        found = _find(session, _ask(question), items, name)
        if found is not None:
            return found


def _find(session: Session, answer: str, items: Sequence[T], name: Callable[[T], str]) -> T | None:
    """What a number, or a part of a name, means; otherwise say why it means nothing."""
    if answer.isdecimal() and 1 <= int(answer) <= len(items):
        return items[int(answer) - 1]
    found = [item for item in items if answer == name(item)] or [
        item for item in items if answer.lower() in name(item).lower()
    ]
    if len(found) == 1:
        return found[0]
    why = "is several of them" if found else "is none of them"
    session.note(f"{answer} {why}: give a number from 1 to {len(items)}")
    return None


def _read(session: Session, ask: Callable[[Any], Any]) -> Any:
    """The answer to one question to the store."""
    found: list[Any] = []

    async def main() -> int:
        async with session.looking() as store:
            found.append(await ask(store))
        return 0

    run_async(main)
    return found[0]


async def _workflows(store: Any) -> tuple[list[Workflow], list[WorkflowStatistics]]:
    return await store.workflows(), await store.statistics()


def _numbered(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    return [(str(number), *row) for number, row in enumerate(rows, start=1)]


def _workflow_row(session: Session, workflow: Workflow, seen: WorkflowStatistics | None) -> Sequence[Any]:
    last = seen.last_started_at if seen else None
    when = ago(last, now=session.now()) if last else "never"
    return (workflow.name, str(seen.executions if seen else 0), str(seen.failed if seen else 0), when)


def _execution_row(session: Session, summary: ExecutionSummary) -> Sequence[Any]:
    error = summary.error
    return (
        summary.id,
        session.out.word(summary.status),
        progress(summary.steps_completed, summary.steps_total),
        ago(summary.created_at, now=session.now()),
        duration(summary.duration_ms),
        f"{error.type}: {error.message}" if error else "",
    )
