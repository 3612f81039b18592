"""`perdure approvals`, `approve`, `reject`: what waits for people, and what they decide."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from perdure.runtime.cli.control import give
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.look import LIST_LIMIT
from perdure.runtime.cli.many import Ask
from perdure.runtime.cli.options import Limit, Reading, Seconds, UsageError, read_json, read_values
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import clean

if TYPE_CHECKING:
    from perdure.runtime import Execution
    from perdure.store.asking import PendingApproval

Pairs = Annotated[tuple[str, ...], Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Deciding:
    """What both decisions understand."""

    by: str | None = None
    """Who decides (default: whoever is logged in)."""
    data: Pairs = ()
    """One value to keep with it (what its form asks for), NAME=VALUE; may be repeated."""
    json: str | None = None
    """All of it as JSON, or @FILE, or - for stdin."""
    comment: str | None = None
    """Why; kept with the decision."""
    timeout: Seconds = None
    """Stop waiting after that many seconds (code 124); the decision stands."""

    def arguments(self) -> dict[str, Any]:
        """What the handle of an execution takes. Raises UsageError."""
        if self.by is not None and not self.by.strip():
            raise UsageError("--by: must not be empty: say who decides, or leave it out")
        return {"by": self.by or _person(), "data": _data(self.data, self.json), "comment": self.comment}


DEFAULTS: Final = Reading()
DECIDING: Final = Deciding()


def approvals(
    *,
    workflow: str | None = None,
    by: str | None = None,
    limit: Limit = LIST_LIMIT,
    options: Reading = DEFAULTS,
) -> int:
    """List what waits for approval, the longest waiting first.

    Args:
        workflow: Only what executions of one workflow ask.
        by: Only what this person may decide and has not decided yet.
        limit: How many at most.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.deciding import asked_of

        async with session.looking() as store:
            wanted = [one async for one in asked_of(store) if _is_wanted(one, workflow=workflow, by=by)]
        found = wanted[:limit]
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        heads = ("ID", "STEP", "WORKFLOW", "SINCE", "UNTIL", "GIVEN", "APPROVERS", "MESSAGE")
        session.out.table(heads, [_row(one, session) for one in found])
        if len(wanted) > limit:
            session.note(f"{limit:,} of {len(wanted):,}; --limit {len(wanted)} shows all of them")
        return Exit.DONE

    return run_async(main)


def approve(id: str, step: str, /, *, deciding: Deciding = DECIDING, options: Reading = DEFAULTS) -> int:
    """Approve a step that asks for it; the execution goes on when enough people have.

    perdure approve @last release --by ann --data limit=3 --comment "looks good"

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        step: The step that asks, or will.
    """
    own = deciding.arguments()
    return _decide(id, step, lambda one: one.approve(step, **own), deciding=deciding, options=options)


def reject(id: str, step: str, /, *, deciding: Deciding = DECIDING, options: Reading = DEFAULTS) -> int:
    """Reject a step that asks for approval; one rejection decides.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        step: The step that asks, or will.
    """
    own = deciding.arguments()
    return _decide(id, step, lambda one: one.reject(step, **own), deciding=deciding, options=options)


def _decide(prefix: str, step: str, ask: Ask, *, deciding: Deciding, options: Reading) -> int:
    """Find the execution, decide, print how it stands then and, for people, how the step does."""
    session = open_session(options)

    async def tell_of_step(execution: Execution) -> None:
        if session.out.format != "table":
            return
        stands = (await execution.query())["steps"][step]
        asks = stands["waits"]
        told = stands["state"] if asks is None else f"{len(asks['decisions'])} of {asks['quorum']} approvals"
        session.out.write(f"{clean(step)}: {told}\n")

    return give(session, prefix, ask, timeout=deciding.timeout, tell_more=tell_of_step)


def _data(pairs: tuple[str, ...], text: str | None) -> Any:
    """The data of a decision; null where none is given. Raises UsageError."""
    if not pairs:
        return None if text is None else read_json(text, what="--json")
    if text is not None:
        raise UsageError("--data and --json: give one of them")
    if (whole := next((pair for pair in pairs if pair.lstrip().startswith("{")), None)) is not None:
        raise UsageError(f"--data {whole}: must be NAME=VALUE; a JSON value is given with --json")
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
