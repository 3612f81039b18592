"""How a Python workflow declares steps that wait."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from perdure.runtime.language.definition import StepDefinition, WaitForDefinition
from perdure.runtime.language.drafts import After, Draft, When
from perdure.runtime.language.policy import Duration, milliseconds, optional_milliseconds

Policy = Literal["all_success", "all_done", "any"]


class WaitingSteps:
    """The part of `Workflow` that adds steps without a body; each returns the workflow."""

    def sleep_step(
        self,
        key: str,
        duration: Duration,
        *,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that waits for so long; its output is the time at which it was over."""
        step = StepDefinition(key=key, sleep=milliseconds(duration), dependencies_policy=dependencies_policy)
        return self._wait(step, after=after, when=when)

    def until_step(
        self,
        key: str,
        moment: datetime | str,
        *,
        after: After = (),
        when: When = None,
        dependencies_policy: Policy = "all_success",
    ) -> Self:
        """Add a step that waits for a moment: a time with its offset, or a template that gives one."""
        until = moment if isinstance(moment, str) else moment.isoformat()
        step = StepDefinition(key=key, until=until, dependencies_policy=dependencies_policy)
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

    def _wait(self, step: StepDefinition, *, after: After, when: When) -> Self:
        several = (after,) if isinstance(after, str) or callable(after) else tuple(after)
        self._add(Draft(step=step, after=several), when=when)
        return self

    def _add(self, draft: Draft, *, when: When = None) -> None:
        raise NotImplementedError
