"""The executions that an execution has started, and theirs, as a tree below its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from perdure.runtime.cli.render import ago, duration, progress
from perdure.store.records import ExecutionSummary

if TYPE_CHECKING:
    from perdure.runtime.cli.session import Session
    from perdure.store.protocol import Store
    from perdure.store.scripts.questions import Questions

SHOWN_MAX: Final = 50  # of a family: more is a list, see `perdure list --parent`
DEPTH_MAX: Final = 16  # no deeper than children may be, whatever somebody said of whose child is whose


class Descendant(msgspec.Struct, frozen=True):
    """An execution below another one; `depth` counts from 1, `is_last` tells it from its siblings."""

    summary: ExecutionSummary
    depth: int
    is_last: tuple[bool, ...]


class Family(msgspec.Struct, frozen=True):
    """Whom there is to be shown, each after its parent, oldest first; there may be `more`."""

    found: tuple[Descendant, ...]
    more: bool = False


async def descendants(store: Questions | Store, execution_id: str) -> Family:
    """The children of an execution, and theirs, as many as are shown."""
    found: list[Descendant] = []

    async def visit(parent: str, last: tuple[bool, ...]) -> bool:
        if len(last) >= DEPTH_MAX:
            return False
        newest_first = await store.executions(parent=parent, limit=SHOWN_MAX + 1)
        has_more = len(newest_first) > SHOWN_MAX
        children = list(reversed(newest_first))
        for no, summary in enumerate(children):
            if len(found) == SHOWN_MAX:
                return True
            marks = (*last, no == len(children) - 1)
            found.append(Descendant(summary, len(marks), marks))
            has_more = await visit(summary.id, marks) or has_more
        return has_more

    more = await visit(execution_id, ())
    return Family(tuple(found), more)


def show_family(session: Session, family: Family) -> None:
    """Print it, if there is any."""
    if not family.found:
        return
    out, now = session.out, session.now()
    out.write("\n")
    out.table(
        ("CHILD", "WORKFLOW", "STEP", "STATE", "STEPS", "CREATED", "TOOK"),
        [
            (
                _branches(each) + each.summary.id,
                each.summary.workflow,
                (each.summary.triggered_by or "–").removeprefix("step "),
                out.word(str(each.summary.state)),
                progress(each.summary.steps_completed, each.summary.steps_total),
                ago(each.summary.created_at, now=now),
                duration(each.summary.duration_ms),
            )
            for each in family.found
        ],
    )
    if family.more:
        session.note("there are more: perdure list --parent ID shows those of one execution")


def _branches(each: Descendant) -> str:
    """The lines of the tree before an execution."""
    *above, last = each.is_last
    return "".join("   " if is_last else "│  " for is_last in above) + ("└─ " if last else "├─ ")
