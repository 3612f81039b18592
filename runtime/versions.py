"""The revisions of workflows: which one a name stands for, what differs, and who may move to another."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from perdure.actors.instructions.plan import Plan
from perdure.actors.state.execution import RETRY_TIMER, ExecutionState
from perdure.runtime import arguments
from perdure.runtime.bulk import Done, Where, rehearsed
from perdure.runtime.changes import Change
from perdure.runtime.language import check_context
from perdure.runtime.language.definition import plain
from perdure.runtime.language.migrating import Verdict, compare, judge
from perdure.runtime.near import nearest
from perdure.runtime.plans import Revision
from perdure.store.codec import encode
from perdure.store.errors import Conflict, DuplicateCommand, IllegalTransition, NotFound, PerdureError
from perdure.store.records import Loaded, WorkflowVersion
from perdure.store.scripts.versions import MOVABLE, ActivateWorkflow, DeactivateWorkflow, MigrateExecution
from perdure.store.states import StepState

if TYPE_CHECKING:
    from perdure.runtime.execution import Execution
    from perdure.runtime.runtime import Runtime

LEAVE_S: Final = 5.0  # to give up an execution in which nothing is in flight takes a commit
TRIES: Final = 5  # of a move while others send the execution messages; each finds it as it is then
NAMES_MAX: Final = 10  # versions that a refusal names


class CannotMigrate(PerdureError):
    """What an execution has done does not fit into the other version; `blockers` are the reasons."""

    def __init__(self, execution_id: str, version: str, *, blockers: tuple[str, ...]) -> None:
        """One sentence for each thing that stands in the way."""
        reasons = "".join(f"\n- {blocker}" for blocker in blockers)
        super().__init__(f"execution {execution_id} cannot move to {version}:{reasons}")
        self.execution_id = execution_id
        self.version = version
        self.blockers = blockers


class Versions:
    """What can be done with the versions of a workflow. A version is named by its label or its revision."""

    def __init__(self, runtime: Runtime) -> None:
        """Made by `Runtime.versions`."""
        self._runtime = runtime

    async def list(self, name: str) -> builtins.list[WorkflowVersion]:
        """The versions of that workflow, newest first. Raises NotFound."""
        arguments.any_text(name, what="name")
        found = await self._runtime.store.versions(name)
        if not found:
            near = nearest(name, {each.name for each in await self._runtime.store.workflows()})
            raise NotFound("workflow", name, hint=f"did you mean {near!r}?" if near else "`publish` it first")
        return found

    async def get(self, name: str, version: str) -> WorkflowVersion:
        """The newest version of that label, else the one whose revision begins so. Raises NotFound."""
        arguments.text(version, what="the version")
        found = await self.list(name)
        for one in found:
            if one.version == version:
                return one
        by_revision = [one for one in found if one.revision.startswith(version)]
        if len(by_revision) == 1:
            return by_revision[0]
        names = ", ".join(one.version or one.revision[:12] for one in found[:NAMES_MAX])
        raise NotFound(f"version of {name}", version, hint=f"there are: {names}")

    async def activate(self, name: str, version: str) -> WorkflowVersion:
        """Let the name stand for that version from now on. Executions stay on theirs. Raises NotFound.

        The schedules that are declared stay those of what was published last.
        """
        wanted = await self.get(name, version)
        await self._write(ActivateWorkflow(name=name, revision=wanted.revision))
        return msgspec.structs.replace(wanted, is_active=True)

    async def deactivate(self, name: str) -> None:
        """Let the name stand for nothing: nothing starts by it until a version is made active again.

        Executions go on; who starts a workflow by its definition publishes it. Raises NotFound.
        """
        await self.list(name)
        await self._write(DeactivateWorkflow(name=name))

    async def diff(self, name: str, before: str, after: str) -> builtins.list[Change]:
        """What differs between two versions. Raises NotFound."""
        old, new = [await self._revision(name, version) for version in (before, after)]
        return compare(plain(old.definition), plain(new.definition))

    async def migrate(
        self,
        execution_id: str,
        to: str,
        *,
        by: str | None = None,
        command_id: str | None = None,
        dry_run: bool = False,
    ) -> Verdict:
        """Let an execution at rest go on as one of another version; answers what is different.

        It has to be paused, failed, cancelled or not begun, and what it has completed has to be in the
        other version, unchanged. With `dry_run` nothing is done, and the verdict says what stands in
        the way. Raises CannotMigrate, NotFound, IllegalTransition.
        """
        arguments.text(by, what="by")
        wanted_id = arguments.text(command_id, what="command_id") or self._runtime.seams.new_id()
        for attempt in range(TRIES):
            loaded = await self._runtime.store.load(execution_id)
            if loaded is None:
                raise NotFound("execution", execution_id)
            old = await self._runtime.machine.plans.revision(loaded.execution.workflow_no)
            new = await self._revision(loaded.execution.workflow, to)
            verdict = self._judge(loaded, old, new)
            if dry_run or old.record_no == new.record_no:
                return verdict
            if verdict.blockers:
                raise CannotMigrate(execution_id, to, blockers=verdict.blockers)
            try:
                await self._write(self._move(loaded, old, new, by=by, command_id=wanted_id))
            except DuplicateCommand:
                return verdict  # it was done, and its answer not heard
            except Conflict:
                if attempt == TRIES - 1:
                    raise
                continue
            except IllegalTransition as refused:
                if (
                    refused.state not in MOVABLE
                    or attempt == TRIES - 1
                    or not await self._is_left(execution_id)
                ):
                    raise
                continue
            self._runtime.machine.services.on_commit(execution_id)
            return verdict
        raise AssertionError(execution_id)

    async def migrate_all(
        self, where: str | Where, to: str, *, by: str | None = None, dry_run: bool = False
    ) -> builtins.list[Done]:
        """Let every execution that a filter means go on as one of another version of its workflow.

        Answers what became of each; a refusal of one stops nobody. With `dry_run` nothing is done, and
        the answer says which could move and what stands in the way of the rest. Raises InvalidArgument.
        """

        async def move(execution: Execution) -> None:
            try:
                verdict = await self.migrate(execution.id, to, by=by, dry_run=dry_run)
                blockers = verdict.blockers
            except CannotMigrate as refused:
                blockers = refused.blockers
            if blockers:
                raise PerdureError("; ".join(blockers))  # of many, each is one line

        done = await self._runtime.bulk(where, move)
        return rehearsed(done) if dry_run else done

    async def _is_left(self, execution_id: str) -> bool:
        """Whether nobody holds it here: who has only looked at it, and found nothing to do, is waited for."""
        bus, executions = self._runtime.bus, self._runtime.machine.executions
        with anyio.move_on_after(LEAVE_S):
            while executions.is_hot(execution_id):
                left = bus.end_of(execution_id)
                try:
                    await left
                finally:
                    bus.forget(execution_id, left)
        return not executions.is_hot(execution_id)

    def _judge(self, loaded: Loaded, old: Revision, new: Revision) -> Verdict:
        """What stands in the way, of whatever kind."""
        if old.record_no == new.record_no:
            return Verdict(blockers=(), changes=())
        execution = loaded.execution
        bodiless = frozenset(step.key for step in new.plan.steps if step.wait or step.gate)
        state = ExecutionState.fold(old.plan, loaded)
        retrying = frozenset(step.key for step in old.plan.steps if _is_retrying(state, step.no))
        verdict = judge(
            old.definition, new.definition, standing=_standing(state), retrying=retrying, bodiless=bodiless
        )
        blockers = list(verdict.blockers)
        if execution.state not in MOVABLE:
            hint = "it has ended" if execution.is_terminal else "pause it first"
            blockers.insert(0, f"it is {execution.state}: {hint}")
        try:
            check_context(new.definition, execution.context, self._runtime.agents)
        except PerdureError as error:
            blockers.append(str(error))
        return Verdict(blockers=tuple(blockers), changes=verdict.changes)

    def _move(
        self, loaded: Loaded, old: Revision, new: Revision, *, by: str | None, command_id: str
    ) -> MigrateExecution:
        execution = loaded.execution
        data: dict[str, Any] = {
            "from": {"version": old.definition.version, "revision": old.plan.revision},
            "to": {"version": new.definition.version, "revision": new.plan.revision},
        }
        return MigrateExecution(
            execution_id=execution.id,
            version=execution.version,
            workflow_no=new.record_no,
            numbers=_numbers(old.plan, new.plan),
            by=by,
            command_id=command_id,
            data=encode(data),
            at=self._runtime.machine.services.now_ms(),
        )

    async def _revision(self, name: str, version: str) -> Revision:
        found = await self.get(name, version)
        record = await self._runtime.store.workflow(name, revision=found.revision)
        assert record is not None
        return await self._runtime.machine.plans.revision(record.no)

    async def _write(self, write: ActivateWorkflow | DeactivateWorkflow | MigrateExecution) -> None:
        self._runtime.check_open()
        await self._runtime.machine.services.writer.write(write)


def _standing(state: ExecutionState) -> dict[str, StepState]:
    """Where each step stands that has begun; one that is to try again is as if it had been cut off."""
    return {
        state.plan.steps[no].key: StepState.PENDING if _is_retrying(state, no) else run.state
        for no, run in enumerate(state.steps)
        if run.has_past
    }


def _is_retrying(state: ExecutionState, step_no: int) -> bool:
    """Whether a step has a moment at which it is to be tried again."""
    return state.steps[step_no].state is StepState.WAITING and state.timer_of(step_no) == RETRY_TIMER


def _numbers(old: Plan, new: Plan) -> tuple[tuple[int, int | None], ...]:
    """The number of each step now and then."""
    then = {step.key: step.no for step in new.steps}
    return tuple((step.no, then.get(step.key)) for step in old.steps)
