"""Whether an execution of one revision may go on as one of another, and what will be different. Pure.

What has settled well stays as it is, and what comes after it builds on it. So a step that has
completed, was skipped or is in the middle of a wait has to be in the other revision, do the same there
and need the same. How patiently it was tried (`timeoutMs`, `retryPolicy`, …) is of no more interest.
What has failed, was cut off or has not begun may be anything else, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from perdure.runtime.changes import Change, changes
from perdure.runtime.language.definition import Definition, StepDefinition, plain
from perdure.store.states import StepState

POLICIES: Final = frozenset({"timeoutMs", "retryPolicy", "parallel", "usage", "process", "compensate"})
CUT: Final = frozenset({StepState.PENDING, StepState.RUNNING})  # begun and cut off: it will run again


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an execution can move: why not, and what will be different if it does."""

    blockers: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def may_move(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.blockers


def judge(
    old: Definition,
    new: Definition,
    *,
    standing: Mapping[str, StepState],
    retrying: frozenset[str] = frozenset(),
    bodiless: frozenset[str] = frozenset(),
) -> Verdict:
    """`standing`: where each step stands that has begun, by key.

    `bodiless` are the new steps that only wait or are judged. A step that is to try again stands `pending`,
    like one that was cut off; `retrying` are those whose moment to do so is fixed.
    """
    steps = {step.key: step for step in new.steps}
    blockers = []
    for step in old.steps:
        state = standing.get(step.key)
        why = None if state is None else _why_blocked(state, step, steps.get(step.key), bodiless=bodiless)
        if why is None and step.key in retrying:
            why = _why_too_early(step, steps.get(step.key))
        if why is not None:
            blockers.append(f"step {step.key!r} is {state} and {why}")
    return Verdict(blockers=tuple(blockers), changes=tuple(compare(plain(old), plain(new))))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What differs between two definitions in their plain form: steps by key, everything else by field."""
    found = changes("", _without(old), _without(new))
    found += changes("config", old.get("config", {}), new.get("config", {}))
    before, after = _steps(old), _steps(new)
    for key in [*before, *(key for key in after if key not in before)]:
        if key in before and key in after:
            found += changes(f"steps.{key}", before[key], after[key])
        else:
            found.append(Change(path=f"steps.{key}", before=before.get(key), after=after.get(key)))
    return found


def _why_blocked(
    state: StepState, old: StepDefinition, new: StepDefinition | None, *, bodiless: frozenset[str]
) -> str | None:
    """What of a step that has begun would not be true any more."""
    is_undone = state in (*CUT, StepState.CANCELLED) or (state is StepState.FAILED and not old.optional)
    if not is_undone:
        return _difference(old, new)
    if new is None:
        return None
    has_begun_so = state in CUT or old.for_each is not None
    if has_begun_so and old.for_each != new.for_each:
        return "has begun, and differs in forEach"
    return "would have nothing to run any more" if state in CUT and old.key in bodiless else None


def _why_too_early(old: StepDefinition, new: StepDefinition | None) -> str | None:
    """Whether the moment of a next attempt may come before what the step then needs."""
    if new is None or set(new.dependencies) <= set(old.dependencies):
        return None
    return "waits for its next attempt, and has other dependencies: let it end, or cancel the execution"


def _difference(old: StepDefinition, new: StepDefinition | None) -> str | None:
    """What is not the same about a step that stays as it is."""
    if new is None:
        return "is not there any more"
    names = [change.path for change in changes("", _substance(old), _substance(new))]
    return f"differs in {', '.join(names)}" if names else None


def _substance(step: StepDefinition) -> dict[str, Any]:
    """What a step does and builds on; the order of its dependencies says nothing."""
    fields = {name: value for name, value in plain(step).items() if name not in POLICIES}
    return fields | {"dependencies": sorted(step.dependencies)}


def _steps(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["key"]: step for step in definition["steps"]}


def _without(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are compared as a whole; when it starts by itself is no part of a revision."""
    parts = {"steps", "config", "schedule"}
    return {name: value for name, value in definition.items() if name not in parts}
