"""How a Python workflow declares what runs beside its graph: hooks and compensations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeVar, overload

import msgspec

from perdure.runtime.agents.errors import BadSignature
from perdure.runtime.agents.registry import mode_of
from perdure.runtime.agents.signature import Function, parameters_of
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import Duration
from perdure.runtime.language.definition import ActionDefinition, HooksDefinition
from perdure.runtime.language.drafts import Asked, Draft, agent_name
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.language.policy import Retry, optional_milliseconds, retry_definition

F = TypeVar("F", bound=Function)
Moment = Literal["onSuccess", "onFailure", "onCancel", "finally"]
FIELDS: Final = {  # of the definition, by what the moments are called
    "onSuccess": "on_success",
    "onFailure": "on_failure",
    "onCancel": "on_cancel",
    "finally": "finally_",
}


class Action(msgspec.Struct, frozen=True):
    """What is done beside the graph: by a function or a named agent, with a prompt, how patiently.

    A parameter named like a step takes its output, null where it has none; one named `execution` is
    told what becomes of the execution; the others are inputs.
    """

    performer: str | Function
    prompt: str | None = None
    timeout: Duration | None = None
    retry: Retry | None = None


Acting = Action | str | Function


def with_compensation(draft: Draft, acting: Acting, *, workflow: str) -> Draft:
    """The draft with what undoes the step."""
    key = f"{draft.step.key}.compensate"
    definition, functions = _defined(acting, workflow=workflow, key=key, path=("compensate",))
    step = msgspec.structs.replace(draft.step, compensate=definition)
    return msgspec.structs.replace(draft, step=step, acting=functions)


def check_functions(functions: Iterable[tuple[Path, Asked]], findings: Findings) -> None:
    """Add what is wrong with the functions themselves."""
    for at, asked in functions:
        try:
            mode_of(asked.function, process=False)
            parameters_of(asked.function)
        except BadSignature as error:
            findings.add((*at, *asked.path), str(error))


class Hooks:
    """The part of `Workflow` that declares hooks."""

    _head: dict[str, Any]
    _definition: Any
    _revision: str | None
    _hooks: dict[str, tuple[Asked, ...]]

    @property
    def name(self) -> str:
        """The name of the workflow."""
        raise NotImplementedError

    @overload
    def hook(self, moment: Moment, action: Acting) -> None: ...

    @overload
    def hook(
        self, moment: Moment, *, timeout: Duration | None = None, retry: Retry | None = None
    ) -> Callable[[F], F]: ...

    def hook(
        self,
        moment: Moment,
        action: Acting | None = None,
        *,
        timeout: Duration | None = None,
        retry: Retry | None = None,
    ) -> Callable[[F], F] | None:
        """Say what runs at an end, before it is written: `@workflow.hook("onFailure")`, or with an `Action`.

        `onSuccess`, `onFailure` and `onCancel` run at the end they name, `finally` after any of them. A
        hook that fails is told of and changes nothing of the end.
        """
        if moment not in tuple(FIELDS):
            raise InvalidArgument(f"{moment!r:.60} is no moment of a hook: there are {', '.join(FIELDS)}")
        if action is not None:
            self._put(moment, action)
            return None

        def declare(function: F) -> F:
            self._put(moment, Action(function, timeout=timeout, retry=retry))
            return function

        return declare

    def _put(self, moment: str, action: Acting) -> None:
        key = f"hooks.{moment}"
        definition, functions = _defined(action, workflow=self.name, key=key, path=(moment,))
        hooks = self._head["hooks"] or HooksDefinition()
        self._head["hooks"] = msgspec.structs.replace(hooks, **{FIELDS[moment]: definition})
        self._hooks[moment] = functions
        self._definition = None
        self._revision = None


def _defined(
    acting: Acting, *, workflow: str, key: str, path: tuple[str, ...]
) -> tuple[ActionDefinition, tuple[Asked, ...]]:
    """The canonical form of what is to be done, and the function that does it, if one does."""
    action = acting if isinstance(acting, Action) else Action(acting)
    functions: tuple[Asked, ...] = ()
    agent = action.performer
    if not isinstance(agent, str):
        name = agent_name(agent, workflow=workflow, key=key)
        functions = (Asked(path=path, name=name, function=agent),)
        agent = name
    definition = ActionDefinition(
        agent=agent,
        prompt=action.prompt,
        timeout_ms=optional_milliseconds(action.timeout),
        retry_policy=None if action.retry is None else retry_definition(action.retry),
    )
    return definition, functions
