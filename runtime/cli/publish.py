"""`perdure publish`: make workflow files known to a database without starting any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.versions import REVISION_SHOWN

if TYPE_CHECKING:
    from perdure.store.records import WorkflowVersion

DEFAULTS = Reading()


def publish(file: str, /, *files: str, options: Reading = DEFAULTS) -> int:
    """Make workflow files known by their names, for steps, schedules and people to start.

    perdure publish billing.yaml audit.yaml

    All of them, or none where one cannot be used. What has the same name stays as an older version.

    Args:
        file: Workflow definition, YAML or JSON.
        files: More of them.
    """
    from perdure.runtime import Workflow

    session = open_session(options)
    workflows = [Workflow.load(each) for each in (file, *files)]

    async def main() -> int:
        async with session.runtime("client", workflows=workflows, must_exist=False) as runtime:
            found = [await runtime.versions.list(workflow.name) for workflow in workflows]
        _show(session, [next(one for one in versions if one.is_active) for versions in found])
        return Exit.DONE

    return run_async(main)


def _show(session: Session, published: list[WorkflowVersion]) -> None:
    if session.out.format != "table":
        session.out.records(published)
        return
    rows = [(one.name, one.version or "–", one.revision[:REVISION_SHOWN]) for one in published]
    session.out.table(("WORKFLOW", "VERSION", "REVISION"), rows)
