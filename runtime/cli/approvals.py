"""`perdure approvals`, `approve`, `reject`: what waits for people, and what they decide."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import anyio
from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading, Seconds, UsageError, read_json, read_values
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import clean

if TYPE_CHECKING:
    from perdure.runtime import Execution
    from perdure.store.asking import PendingApproval

DEFAULTS: Final = Reading()
Pairs = Annotated[tuple[str, ...], Parameter(negative="")]


def approvals(*, workflow: str | None = None, by: str | None = None, options: Reading = DEFAULTS) -> int:
    """List what waits for approval, the longest waiting first.

    Args:
        workflow: Only what executions of one workflow ask.
        by: Only what this person may decide and has not decided yet.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.looking() as store:
            found = [one for one in await store.approvals() if _is_wanted(one, workflow=workflow, by=by)]
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        heads = ("ID", "STEP", "WORKFLOW", "SINCE", "UNTIL", "GIVEN", "APPROVERS", "MESSAGE")
        session.out.table(heads, [_row(one, session) for one in found])
        return Exit.DONE

    return run_async(main)


def approve(
    id: str,
    step: str,
    /,
    *,
    by: str | None = None,
    data: Pairs = (),
    json: str | None = None,
    comment: str | None = None,
    timeout: Seconds = None,
    options: Reading = DEFAULTS,
) -> int:
    """Approve a step that asks for it; the execution goes on when enough people have.

    perdure approve @last release --by ann --data limit=3 --comment "looks good"

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        step: The step that asks, or will.
        by: Who approves (default: whoever is logged in).
        data: One value of what its form asks for, NAME=VALUE; may be repeated.
        json: All of it as JSON, or @FILE, or - for stdin.
        comment: Why; kept with the decision.
        timeout: Stop waiting after that many seconds (code 124); the decision stands.
    """
    values = _data(data, json)
    session = open_session(options)
    own = {"by": by or _person(), "data": values, "comment": comment}
    return _decide(session, id, step, "approve", own, timeout=timeout)


def reject(
    id: str,
    step: str,
    /,
    *,
    by: str | None = None,
    data: Pairs = (),
    json: str | None = None,
    comment: str | None = None,
    timeout: Seconds = None,
    options: Reading = DEFAULTS,
) -> int:
    """Reject a step that asks for approval; one rejection decides.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        step: The step that asks, or will.
        by: Who rejects (default: whoever is logged in).
        data: One value to keep with it, NAME=VALUE; may be repeated.
        json: All of it as JSON, or @FILE, or - for stdin.
        comment: Why; kept with the decision.
        timeout: Stop waiting after that many seconds (code 124); the decision stands.
    """
    values = _data(data, json)
    session = open_session(options)
    own = {"by": by or _person(), "data": values, "comment": comment}
    return _decide(session, id, step, "reject", own, timeout=timeout)


def _decide(
    session: Session,
    prefix: str,
    step: str,
    verb: Literal["approve", "reject"],
    own: dict[str, Any],
    *,
    timeout: float | None,
) -> int:
    """Find the execution, decide, print how the step stands then."""

    async def main() -> int:
        async with session.runtime("client") as runtime:
            execution = await runtime.execution(await runtime.find(prefix))
            with anyio.move_on_after(timeout) as scope:
                await (execution.approve if verb == "approve" else execution.reject)(step, **own)
            await _show(execution, step, session=session)
        if scope.cancelled_caught:
            session.note(f"no answer within {timeout:g} s; what was decided is recorded and stands")
            return Exit.TIMEOUT
        return Exit.DONE

    return run_async(main)


async def _show(execution: Execution, step: str, *, session: Session) -> None:
    """Print where the step and its execution stand: two lines for people, the record for programs."""
    summary = await execution.status()
    if session.out.format != "table":
        session.out.json(summary)
        return
    session.out.write(f"{session.out.paint(session.out.word(str(summary.state)))}  {summary.id}\n")
    asked = (await execution.query())["steps"][step]
    waits = asked["waits"]
    told = asked["state"] if waits is None else f"{len(waits['decisions'])} of {waits['quorum']} approvals"
    session.out.write(f"{clean(step)}: {told}\n")


def _data(pairs: tuple[str, ...], text: str | None) -> Any:
    """The data of a decision; null where none is given. Raises UsageError."""
    if not pairs:
        return None if text is None else read_json(text, what="--json")
    if text is not None:
        raise UsageError("--data and --json: give one of them")
    return read_values(pairs, what="--data")


def _person() -> str:
    """Who is logged in. Raises UsageError where nobody is."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise UsageError("nobody is logged in: say who decides with --by NAME") from error


def _is_wanted(one: PendingApproval, *, workflow: str | None, by: str | None) -> bool:
    if workflow not in (None, one.workflow):
        return False
    may = not one.approvers or by in one.approvers
    return by is None or (may and all(decision.by != by for decision in one.decisions))


def _row(one: PendingApproval, session: Session) -> tuple[str, ...]:
    until = "–" if one.due_at is None else f"{one.due_at:%Y-%m-%d %H:%MZ}"
    paused = " (paused)" if str(one.state) == "paused" else ""
    return (
        one.execution_id,
        one.step + paused,
        one.workflow,
        ago(one.asked_at, now=session.now()),
        until,
        f"{len(one.decisions)}/{one.quorum}",
        ", ".join(one.approvers) or "anyone",
        clean(" ".join((one.message or "").split())),
    )
