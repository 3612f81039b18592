"""Going back and moving on: what the handle of an execution offers besides running."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perdure.actors.execution.starting import NewExecution
from perdure.actors.messages import PlanResume, Restore, Retry, TakeCheckpoint
from perdure.runtime import arguments
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.changes import Change
from perdure.runtime.durations import Duration
from perdure.runtime.forking import Fork, look_back
from perdure.runtime.handle import Handle
from perdure.runtime.language.conditions import BadCondition, check_rule
from perdure.runtime.language.migrating import Verdict
from perdure.runtime.lookback import CheckpointState, differences, prunable, state_at
from perdure.runtime.near import quoted
from perdure.runtime.trace import trace_of
from perdure.store.errors import NotFound
from perdure.store.records import PAGE_MAX, Checkpoint, CheckpointStatistics
from perdure.store.scripts.marks import PruneCheckpoints
from perdure.store.states import State

if TYPE_CHECKING:
    from perdure.runtime.execution import Execution


class Travelling(Handle):
    """The part of a handle that goes back to checkpoints, tries again and lets others go on from there."""

    async def checkpoints(self, *, limit: int = 50) -> list[Checkpoint]:
        """Its checkpoints, newest first."""
        arguments.at_least_one(limit, what="limit")
        return await self._runtime.store.checkpoints(self.id, limit=limit)

    async def checkpoint(
        self,
        *,
        label: str | None = None,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> Checkpoint:
        """Name the position the execution is at, to restore it later. Raises InvalidArgument."""
        command = TakeCheckpoint(
            id=self._id(command_id), by=by, expected_version=expected_version, label=arguments.label(label)
        )
        answer = await self._ask(command)
        for checkpoint in await self.checkpoints(limit=PAGE_MAX):
            if checkpoint.version == answer.version:
                return checkpoint
        raise NotFound("checkpoint", answer.version)

    async def checkpoint_state(self, checkpoint: Checkpoint | str | int) -> CheckpointState:
        """All there was at a checkpoint (label, version or `latest`), as of then. Raises NotFound."""
        return await state_at(self._runtime.store, self.id, _named(checkpoint))

    async def checkpoint_diff(
        self, before: Checkpoint | str | int, after: Checkpoint | str | int
    ) -> list[Change]:
        """What has become of one checkpoint's state by another one. Raises NotFound."""
        return differences(await self.checkpoint_state(before), await self.checkpoint_state(after))

    async def checkpoint_statistics(self) -> CheckpointStatistics:
        """Its checkpoints in numbers."""
        return await self._runtime.store.checkpoint_statistics(self.id)

    async def prune_checkpoints(
        self, *, keep: int | None = None, older_than: Duration | None = None, dry_run: bool = False
    ) -> list[Checkpoint]:
        """Forget automatic checkpoints beyond the newest `keep`, of those that are older.

        Those with a label, made by hand or that a fork builds on stay. Answers which are gone, or with
        `dry_run` would be. The log stays as it is. Raises NotFound, InvalidArgument.
        """
        services = self._runtime.machine.services
        if keep is None and older_than is None:
            raise InvalidArgument("nothing says which checkpoints are to go: give keep, older_than, or both")
        if keep is not None:
            arguments.at_least_one(keep, what="keep")
        age_ms = arguments.milliseconds(older_than, what="older_than")
        before = None if age_ms is None else services.now_ms() - age_ms
        gone = list(prunable(await services.store.checkpoints_removable(self.id), keep=keep, before=before))
        if gone and not dry_run:
            versions = tuple(point.version for point in gone)
            await services.writer.write(PruneCheckpoints(execution_id=self.id, versions=versions))
        return gone

    async def restore(
        self,
        checkpoint: Checkpoint | str | int,
        *,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Go back to a checkpoint (by label, version or `latest`) and rest there, paused.

        Steps that settled later will run again, with new idempotency keys.
        """
        wanted = _named(checkpoint)
        command = Restore(
            id=self._id(command_id), by=by, expected_version=expected_version, checkpoint=wanted
        )
        return (await self._ask(command)).state

    async def fork(
        self,
        *,
        from_step: str | None = None,
        from_checkpoint: Checkpoint | str | int | None = None,
        edit: Mapping[str, Any] | None = None,
        id: str | None = None,
        by: str | None = None,
        priority: int = 0,
        trace_id: str | None = None,
        timeout: Duration | None = None,
        agents_from: str | None = None,
        detach: bool = False,
    ) -> Execution:
        """Start a new execution that shares this one's past; this one, whatever its state, stays as it is.

        `from_step` and all that depends on it run in the fork; `from_checkpoint` (label, version or
        `latest`) shares what had settled by then; without either it shares what has settled by now.
        Outcomes are shared that others can build on: what failed or was cancelled runs in the fork. `edit`
        is merged into the context. An `id` that exists already joins that fork. Signals that
        nobody has taken, and what others have sent but not yet been applied, stay with the source.

        Raises NotFound, InvalidArgument, and what `Runtime.start` raises.
        """
        services = self._runtime.machine.services
        wish = Fork(
            source_id=self.id,
            step=arguments.text(from_step, what="from_step"),
            checkpoint=None if from_checkpoint is None else _named(from_checkpoint),
            edit={} if edit is None else arguments.plain_values(edit, "the edited context"),
            by=arguments.text(by, what="by"),
        )
        source, context, past = await look_back(services.store, services.plans, wish)
        new_id = self._runtime.seams.new_id
        revision = await self._runtime.machine.plans.revision(source.workflow_no)
        own_ms = arguments.milliseconds(timeout, what="timeout")
        return await self._runtime.begin(
            revision,
            NewExecution(
                id=new_id() if id is None else arguments.any_text(id, what="id"),
                plan=revision.plan,
                context=context,
                trace_id=trace_of(trace_id, new_id=new_id),
                priority=arguments.priority(priority),
                triggered_by=f"fork:{self.id}",
                parent_id=None,
                agents=source.agents if agents_from is None else agents_from,
                timeout_ms=source.timeout_ms if own_ms is None else own_ms,
                is_detached=detach,
                past=past,
            ),
        )

    async def resume_later(
        self,
        *,
        at: datetime | Duration | None = None,
        when: str | None = None,
        data: Mapping[str, Any] | None = None,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Let it, while it rests, go on by itself: at a moment (or in so many seconds), or on a rule.

        `when` is CEL over `inputs`, `steps`, `execution` and `signal`; it is asked whenever a signal comes
        or the context changes, and now. What comes first counts; with neither an earlier plan is off, and
        so it is by `pause`. `data` is merged into the context now. Raises IllegalTransition,
        InvalidArgument.
        """
        services = self._runtime.machine.services
        command = PlanResume(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            at_ms=arguments.moment_ms(at, now_ms=services.now_ms()),
            when=None if when is None else _rule(when),
            data=None if data is None else arguments.plain_values(data, "the resume data"),
        )
        state = (await self._ask(command)).state
        await self._runtime.ring_workers()
        return state

    async def migrate(
        self, to: str, *, by: str | None = None, command_id: str | None = None, dry_run: bool = False
    ) -> Verdict:
        """Let it, at rest, go on as one of another version; see `Versions.migrate`."""
        versions = self._runtime.versions
        return await versions.migrate(self.id, to, by=by, command_id=command_id, dry_run=dry_run)

    async def retry(
        self,
        *,
        from_step: str | None = None,
        only: bool = False,
        with_downstream: bool = False,
        data: Mapping[str, Any] | None = None,
        budget: Mapping[str, float] | None = None,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Reopen a failed or cancelled execution: what completed stays, the rest runs again.

        `from_step` is to be done anew, with new idempotency keys, and all that depends on it; with
        `only` that step alone, whatever later steps have made of its output before. `with_downstream`:
        what completed downstream of something that runs again does, too. `data` is merged into the
        context first; `budget` is its budget from now on, what was used stays used. Raises NotFound for
        a step that is not there.
        """
        arguments.retried(from_step=from_step, only=only, with_downstream=with_downstream)
        command = Retry(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            step=from_step,
            only=only,
            with_downstream=with_downstream,
            data=None if data is None else arguments.plain_values(data, "the data of the retry"),
            budget=arguments.limits(budget),
        )
        return (await self._ask(command)).state


def _named(checkpoint: Checkpoint | str | int) -> str | int:
    """A checkpoint as the log finds it."""
    return checkpoint.version if isinstance(checkpoint, Checkpoint) else checkpoint


def _rule(text: str) -> str:
    """A rule that can be asked. Raises InvalidArgument, ConditionsNotInstalled."""
    try:
        check_rule(arguments.any_text(text, what="when"))
    except BadCondition as error:
        raise InvalidArgument(f"when {quoted(text)}: {error}") from None
    return text
