"""`perdure fork`: a new execution that shares the past of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from perdure.runtime.cli.control import show_standing
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Performing, UsageError, read_values, typed_inputs
from perdure.runtime.cli.session import open_session, run_async
from perdure.store.errors import NotFound
from perdure.store.states import Role

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime

DEFAULTS = Performing()
STEPS_SHOWN: Final = 10  # of those that were not meant; as many as fit a line or two


def fork(
    id: str,
    /,
    *,
    from_: str | None = None,
    edit: Annotated[tuple[str, ...], Parameter(name=["--edit", "-e"], negative="")] = (),
    new_id: Annotated[str | None, Parameter(name="--id")] = None,
    by: str | None = None,
    detach: Flag = False,
    options: Performing = DEFAULTS,
) -> int:
    """Start a new execution that shares another one's past, whatever that does or has come to.

    perdure fork @last --from build -e branch=main

    What failed there runs in the fork, and what does not rest on completed steps alone.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        from_: A step, which runs again with all that depends on it, or a checkpoint: label or version.
        edit: One value of the context to change, as NAME=VALUE; repeatable. It is read as `run` reads it.
        new_id: Id of the new execution; the same id again joins the same execution.
        by: Who asks.
        detach: Print where it stands and leave the work to a worker; one is started where none runs.
    """
    session = open_session(options)
    read_values(edit, what="-e")  # what cannot be read is told before anything is looked up
    wish = {"id": new_id, "by": by}

    async def main() -> int:
        from perdure.runtime.cli.attend import attend
        from perdure.runtime.cli.worker import start_worker

        async with session.runtime("client") as runtime:
            source = await runtime.execution(await runtime.find(id))
            edits = typed_inputs(edit, await source.declared_inputs())
            start = wish | {"edit": edits} | await _origin(runtime, source, from_)
            stored = await runtime.store.execution(source.id)
            has_worker = await runtime.has_worker()
            if detach or has_worker:
                forked = await source.fork(**start, detach=True)
                if has_worker:
                    session.note("a process that runs on this database takes it up")
                else:
                    pid = start_worker(session, agents=stored.agents if stored else None)
                    session.note(f"handed to a new worker, process {pid}")
                await show_standing(forked, session=session)
                return Exit.DONE
        agents = session.agents(session.agents_argument or (stored.agents if stored else None))
        async with session.runtime("run", agents=agents) as runtime:
            forked = await (await runtime.execution(source.id)).fork(**start)
            session.note(f"{forked.id} goes on from {source.id}")
            return await attend(forked, session=session, runtime=runtime, timeout=options.timeout)

    return run_async(main, is_fast=True)


async def _origin(runtime: Runtime, source: Execution, text: str | None) -> dict[str, Any]:
    """What `--from` means: a step of that key, else a checkpoint. Raises UsageError where it is both."""
    if text is None:
        return {}
    stored = await runtime.store.execution(source.id)
    steps = [] if stored is None else await runtime.store.steps(stored.workflow_no)
    is_step = text in {step.key for step in steps}
    checkpoint = await runtime.store.checkpoint(source.id, text)
    if is_step and checkpoint is not None:
        raise UsageError(
            f"--from {text}: there are a step and a checkpoint of that name: "
            f"give the checkpoint's version, {checkpoint.version}, or label it anew"
        )
    if not is_step and checkpoint is None and not (text.isdecimal() or text == "latest"):
        keys = [step.key for step in steps if step.role is Role.GRAPH]
        some = ", ".join(keys[:STEPS_SHOWN]) + " …" * (len(keys) > STEPS_SHOWN)
        hint = f"the steps are {some}; `perdure checkpoints` lists the checkpoints"
        raise NotFound("step or checkpoint", text, hint=hint)
    return {"from_step": text} if is_step else {"from_checkpoint": int(text) if text.isdecimal() else text}
