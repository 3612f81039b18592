"""`perdure plan`: what an execution of a workflow would do, take and cost, before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.render import amount, duration
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.runtime.language.estimating import Estimate
    from perdure.store.usage import StepHistory

DEFAULTS: Final = Reading()
KEYS_SHOWN_MAX: Final = 5  # of steps about which nothing is known


def plan(file: str, /, *, options: Reading = DEFAULTS) -> int:
    """Estimate an execution: its levels, its longest way, its time and its cost.

    What a step costs is what it declares (`usage`), else what it cost on average in the newest
    executions of the workflow in the database; what it takes is told by those alone. Every step is
    counted once, or for each item that is written down: as if every condition were true and nothing
    were retried.

    Args:
        file: Workflow definition, YAML or JSON.
    """
    from perdure.runtime import Workflow
    from perdure.runtime.language.estimating import estimate

    session = open_session(options)
    definition = Workflow.load(file).definition

    async def main() -> int:
        found = estimate(definition, await _history(session, definition.name))
        if session.out.format != "table":
            session.out.json(found)
            return Exit.DONE
        _show(session, found)
        budget = definition.config.budget
        limits = [] if budget is None else [(budget.cost, found.cost), (budget.tokens, found.tokens)]
        if any(limit is not None and wanted > limit for limit, wanted in limits):
            session.note("this is more than the workflow's budget")
        return Exit.DONE

    return run_async(main)


async def _history(session: Session, workflow: str) -> dict[str, StepHistory]:
    """How its steps have fared; nothing where there is no database yet."""
    from perdure.store.errors import NotFound, StoreError

    try:
        async with session.looking() as store:
            return await store.step_history(workflow)
    except (NotFound, StoreError) as error:
        session.note(f"no history: {error}")
        return {}


def _show(session: Session, found: Estimate) -> None:
    out = session.out
    out.table(
        ("LEVEL", "STEP", "TAKES", "COSTS", "FROM"),
        [
            (
                str(step.level + 1),
                step.key,
                "–" if step.duration_ms is None else duration(step.duration_ms),
                amount(step.cost, step.tokens),
                Cell(step.source or "–", "dim"),
            )
            for step in sorted(found.steps, key=lambda step: step.level)
        ],
    )
    facts = [
        ("longest way", " → ".join(found.critical_path)),
        ("takes", f"{duration(found.duration_ms)} eager, {duration(found.level_duration_ms)} by levels"),
        ("costs", amount(found.cost, found.tokens)),
    ]
    if found.untimed:
        facts.append(("not timed", _few(found.untimed)))
    if found.uncosted:
        facts.append(("cost unknown", _few(found.uncosted)))
    out.write("\n")
    for name, fact in facts:
        out.write(f"{out.paint(Cell(name.ljust(13), 'dim'))} {fact}\n")


def _few(keys: Sequence[str]) -> str:
    rest = len(keys) - KEYS_SHOWN_MAX
    return ", ".join(keys[:KEYS_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
