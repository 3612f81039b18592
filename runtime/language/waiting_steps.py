"""How a Python workflow declares steps that run nothing: those that wait, and gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Self

from perdure.runtime.agents.signature import Function
from perdure.runtime.arguments import InvalidArgument, made_of, maybe_mapping, several
from perdure.runtime.durations import Duration
from perdure.runtime.language.acting import Acting
from perdure.runtime.language.definition import (
    ApprovalDefinition,
    CallDefinition,
    CriterionDefinition,
    GateDefinition,
    StepDefinition,
    WaitForDefinition,
)
from perdure.runtime.language.drafts import After, Draft, When, after_of
from perdure.runtime.language.policy import (
    Retry,
    milliseconds,
    optional_milliseconds,
    retry_definition,
)

Policy = Literal["all_success", "all_done", "any"] | int
PAIR: Final = 2  # a condition and the reason that people are told


class WaitingSteps:
    """The part of `Workflow` that adds steps without a body; each returns the workflow."""

    @property
    def name(self) -> str:
        """The name of the workflow."""
        raise NotImplementedError

    def sleep_step(
        self,
        key: str,
        duration: Duration,
        *,
        optional: bool = False,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that waits for so long; its output is the time at which it was over."""
        step = StepDefinition(
            key=key,
            sleep=milliseconds(duration),
            optional=optional,
            dependencies_policy=dependencies_policy,
        )
        return self._wait(step, after=after, when=when)

    def until_step(
        self,
        key: str,
        moment: datetime | str,
        *,
        optional: bool = False,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that waits for a moment: a time with its offset, or a template that gives one."""
        if not isinstance(moment, datetime | str):
            raise InvalidArgument(f"moment is {moment!r:.60}: give a datetime, or a text")
        until = moment if isinstance(moment, str) else moment.isoformat()
        step = StepDefinition(
            key=key, until=until, optional=optional, dependencies_policy=dependencies_policy
        )
        return self._wait(step, after=after, when=when)

    def signal_step(
        self,
        key: str,
        *,
        signal: str,
        timeout: Duration | None = None,
        on_timeout: Literal["fail", "skip", "continue"] = "fail",
        optional: bool = False,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that waits for a signal of that name; its output is the payload."""
        wait = WaitForDefinition(signal=signal, timeout=optional_milliseconds(timeout), on_timeout=on_timeout)
        step = StepDefinition(
            key=key, wait_for=wait, optional=optional, dependencies_policy=dependencies_policy
        )
        return self._wait(step, after=after, when=when)

    def approval_step(
        self,
        key: str,
        *,
        message: str | None = None,
        form: Mapping[str, Any] | None = None,
        approvers: Sequence[str] = (),
        quorum: int = 1,
        timeout: Duration | None = None,
        on_timeout: Literal["fail", "skip", "approve", "reject", "escalate"] = "fail",
        escalate_to: Sequence[str] = (),
        on_reject: Literal["skip", "continue", "fail", "compensate"] = "skip",
        optional: bool = False,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that asks people, and goes on when `quorum` of them have approved.

        `message` is a template; `approvers` are those who may decide, none: anyone; a template among them
        gives a name, or a list of names. `form` is a JSON Schema for the data of an approval. With
        `on_timeout="escalate"` it asks `escalate_to` next.
        Its output says what was decided, by whom and when.
        """
        asked = ApprovalDefinition(
            message=message,
            form=maybe_mapping(form, what="form"),
            approvers=several(approvers, what="approvers"),
            quorum=quorum,
            timeout=optional_milliseconds(timeout),
            on_timeout=on_timeout,
            escalate_to=several(escalate_to, what="escalate_to"),
            on_reject=on_reject,
        )
        step = StepDefinition(
            key=key, approval=asked, optional=optional, dependencies_policy=dependencies_policy
        )
        return self._wait(step, after=after, when=when)

    def workflow_step(
        self,
        key: str,
        *,
        workflow: str | WaitingSteps,
        version: str | None = None,
        input: Mapping[str, Any] | None = None,
        wait: bool = True,
        parent_close_policy: Literal["cancel", "abandon"] = "cancel",
        timeout: Duration | None = None,
        retry: Retry | None = None,
        optional: bool = False,
        output_schema: Mapping[str, Any] | None = None,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
        compensate: Acting | None = None,
    ) -> Self:
        """Add a step that starts an execution of another workflow, by its name, and waits for its end.

        `input` is the context it is started with, with templates in its texts; the step's output is what
        it gives back. Without `wait` the step has completed when it is started, with its id. To rest, to
        go on, to stop and to undo are passed on to it, unless the policy is `abandon`. With `compensate`
        a child that has completed is undone by that, and is not rolled back.
        """
        if not isinstance(workflow, str):
            workflow = made_of(WaitingSteps, workflow, what="workflow", example="a Workflow or its name").name
        call = CallDefinition(
            name=workflow,
            version=version,
            input=maybe_mapping(input, what="input"),
            wait=wait,
            parent_close_policy=parent_close_policy,
        )
        step = StepDefinition(
            key=key,
            workflow=call,
            optional=optional,
            timeout_ms=optional_milliseconds(timeout),
            retry_policy=None if retry is None else retry_definition(retry),
            output_schema=maybe_mapping(output_schema, what="output_schema"),
            dependencies_policy=dependencies_policy,
        )
        return self._wait(step, after=after, when=when, compensate=compensate)

    def gate_step(
        self,
        key: str,
        *,
        criteria: Sequence[tuple[str | Function, str]],
        on_no: Literal["fail", "pause", "compensate"] = "fail",
        optional: bool = False,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that goes on only if all criteria hold; its output is the table of the verdicts.

        Each is a condition, as `when` is, with the reason that people are told if it does not hold.
        With `on_no="pause"` it is judged again when the execution is resumed.
        """
        pairs = several(criteria, what="criteria")
        if not all(isinstance(pair, Sequence) and len(pair) == PAIR for pair in pairs):
            raise InvalidArgument(f"criteria is {criteria!r:.80}: give pairs of a condition and its reason")
        gate = GateDefinition(
            criteria=tuple(CriterionDefinition(when="", reason=reason) for _, reason in pairs), on_no=on_no
        )
        step = StepDefinition(key=key, gate=gate, optional=optional, dependencies_policy=dependencies_policy)
        conditions = [condition for condition, _ in pairs]
        return self._wait(step, after=after, when=when, criteria=conditions)

    def _wait(
        self,
        step: StepDefinition,
        *,
        after: After,
        when: When,
        criteria: Sequence[str | Function] = (),
        compensate: Acting | None = None,
    ) -> Self:
        self._add(
            Draft(step=step, after=after_of(after)), when=when, criteria=criteria, compensate=compensate
        )
        return self

    def _add(
        self,
        draft: Draft,
        *,
        when: When = None,
        criteria: Sequence[str | Function] = (),
        compensate: Acting | None = None,
    ) -> None:
        raise NotImplementedError
