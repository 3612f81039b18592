"""A workflow, however it was written: declared in Python, or read from YAML or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, overload

from perdure.runtime.agents.registry import FunctionSource
from perdure.runtime.agents.signature import Function
from perdure.runtime.arguments import made_of, maybe_mapping, place, several
from perdure.runtime.durations import Duration
from perdure.runtime.language.acting import Acting, Hooks, check_functions, with_compensation
from perdure.runtime.language.checks import needs_of
from perdure.runtime.language.definition import Config, Definition, StepDefinition, revision_of
from perdure.runtime.language.drafts import (
    After,
    Asked,
    Draft,
    DraftPlaces,
    When,
    after_of,
    agent_name,
    settle,
    with_questions,
)
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.findings import Path as Parts
from perdure.runtime.language.graph import by_level, level_of, order_of
from perdure.runtime.language.inputs import schema_of
from perdure.runtime.language.parsing import Format, check_values, parse, read
from perdure.runtime.language.policy import (
    ForEach,
    Repeat,
    Retry,
    milliseconds,
    optional_milliseconds,
    part_as_text,
    parts_as_text,
    retry_definition,
)
from perdure.runtime.language.printing import to_json, to_yaml
from perdure.runtime.language.waiting_steps import Policy, WaitingSteps

F = TypeVar("F", bound=Function)


class Workflow(WaitingSteps, Hooks, FunctionSource):
    """A named graph of steps. Nothing is checked before `definition` is asked for."""

    def __init__(
        self,
        name: str,
        *,
        version: str | None = None,
        description: str | None = None,
        author: str | None = None,
        tags: Iterable[str] = (),
        timeout: Duration | None = None,
        max_retries: int = 0,
        parallelism: int | None = None,
        continue_on_error: bool = False,
        checkpoint_interval: Duration | None = None,
        scheduling: Literal["level", "eager"] = "level",
        warn_after: Duration = timedelta(days=1),
        schedule: Iterable[Mapping[str, Any]] = (),
        inputs: Mapping[str, Any] | type | None = None,
        outputs: Mapping[str, Any] | None = None,
        budget: Mapping[str, Any] | None = None,
        circuit_breaker: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        webhooks: Iterable[Mapping[str, Any]] = (),
        on_failure: Literal["fail", "compensate"] = "fail",
    ) -> None:
        """Begin a workflow without steps; times in seconds or as timedelta.

        `max_retries` is for steps without a `retry` of their own; `parallelism` is how many steps
        of one execution may run at once. With `scheduling="eager"` a step starts as soon as its own
        needs are met, else when every step of the levels below has settled. A pause, and a wait for
        a signal or people, that lasts for `warn_after` is told of (0: never). `schedule` says when
        the workflow starts by itself, in the words of the text form (`[{"cron": "0 2 * * *"}]`), as do
        `budget`, `circuit_breaker` and `limits`: `{"cost": 1.5}`, `{"errors": 5}`, `{"concurrency": 3}`.
        `webhooks` are told of pauses and ends: `[{"url": "https://…", "secret": "HOOK_KEY"}]`. With
        `on_failure="compensate"` what was done is undone on failure. `inputs` is a JSON Schema of the
        context, or a type with fields (struct, typed dict); `outputs` maps names to templates.
        """
        self._head: dict[str, Any] = {
            "name": name,
            "description": description,
            "version": version,
            "author": author,
            "tags": several(tags, what="tags"),
            "config": Config(
                timeout=optional_milliseconds(timeout),
                max_retries=max_retries,
                checkpoint_interval=optional_milliseconds(checkpoint_interval),
                parallelism=parallelism,
                continue_on_error=continue_on_error,
                scheduling=scheduling,
                warn_after=milliseconds(warn_after),
                budget=part_as_text(budget, what="budget"),
                circuit_breaker=part_as_text(circuit_breaker, what="circuit_breaker"),
                limits=part_as_text(limits, what="limits"),
                webhooks=parts_as_text(webhooks, what="webhooks"),
                on_failure=on_failure,
            ),
            "inputs": schema_of(inputs),
            "outputs": maybe_mapping(outputs, what="outputs"),
            "schedule": parts_as_text(schedule, what="schedule"),
            "hooks": None,
        }
        self._hooks = {}
        self._drafts: list[Draft] = []
        self._definition: Definition | None = None
        self._revision: str | None = None

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return str(self._head["name"])

    def __repr__(self) -> str:
        """Its name and size."""
        return f"<Workflow {self.name!r}, {len(self._drafts)} steps>"

    @overload
    def step(self, function: F, /) -> F: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        key: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        optional: bool = False,
        parallel: bool = True,
        after: After = (),
        process: bool = False,
        output_schema: Mapping[str, Any] | None = None,
        when: When = None,
        repeat: Repeat | None = None,
        for_each: ForEach | None = None,
        dependencies_policy: Policy = "all_success",
        usage: Mapping[str, float] | None = None,
        compensate: Acting | None = None,
    ) -> Callable[[F], F]: ...

    def step(
        self,
        function: F | None = None,
        /,
        *,
        key: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        optional: bool = False,
        parallel: bool = True,
        after: After = (),
        process: bool = False,
        output_schema: Mapping[str, Any] | None = None,
        when: When = None,
        repeat: Repeat | None = None,
        for_each: ForEach | None = None,
        dependencies_policy: Policy = "all_success",
        usage: Mapping[str, float] | None = None,
        compensate: Acting | None = None,
    ) -> F | Callable[[F], F]:
        """Make the decorated function a step, and return it unchanged.

        A parameter named like another step (`-` read as `_`) is the dependency on it and receives
        its output; the others are inputs, and a default makes an input optional. `after` orders
        without data. `timeout` is for each attempt. The key is the function's name unless given.

        `when` decides whether the step runs: a function whose parameters are filled like a step's, or
        an expression in CEL. `dependencies_policy` says which ends of its dependencies let it run.
        `repeat` performs it again and again; its output is then that of the last iteration. `for_each`
        performs it for each item of a list; its output is then a list. `usage` is what one attempt will
        use of the budget: `{"cost": 0.02, "tokens": 3_000}`. `compensate` undoes it in a rollback: a
        function, the name of an agent, or an `Action`.
        """

        def declare(declared: F) -> F:
            chosen = key if key is not None else getattr(declared, "__name__", "")
            step = StepDefinition(
                key=chosen,
                agent=agent_name(declared, workflow=self.name, key=chosen),
                parallel=parallel,
                optional=optional,
                timeout_ms=optional_milliseconds(timeout),
                retry_policy=None if retry is None else retry_definition(retry),
                output_schema=maybe_mapping(output_schema, what="output_schema"),
                process=process,
                dependencies_policy=dependencies_policy,
                usage=part_as_text(usage, what="usage"),
            )
            draft = Draft(step=step, function=declared, after=after_of(after))
            self._add(draft, when=when, repeat=repeat, for_each=for_each, compensate=compensate)
            return declared

        return declare if function is None else declare(function)

    def agent_step(
        self,
        key: str,
        *,
        agent: str | None = None,
        capabilities: Iterable[str] = (),
        prompt: str | None = None,
        after: After = (),
        timeout: Duration | None = None,
        retry: Retry | None = None,
        optional: bool = False,
        parallel: bool = True,
        process: bool = False,
        output_schema: Mapping[str, Any] | None = None,
        when: When = None,
        repeat: Repeat | None = None,
        for_each: ForEach | None = None,
        dependencies_policy: Policy = "all_success",
        usage: Mapping[str, float] | None = None,
        compensate: Acting | None = None,
    ) -> Self:
        """Add a step that a named agent performs, as a YAML step does, and return the workflow.

        With `capabilities` instead of `agent` it is one that has them all, chosen when the step starts.
        `after` names its dependencies; `prompt` is a template.
        """
        step = StepDefinition(
            key=key,
            agent=agent,
            capabilities=several(capabilities, what="capabilities") or None,
            prompt=prompt,
            parallel=parallel,
            optional=optional,
            timeout_ms=optional_milliseconds(timeout),
            retry_policy=None if retry is None else retry_definition(retry),
            output_schema=maybe_mapping(output_schema, what="output_schema"),
            process=process,
            dependencies_policy=dependencies_policy,
            usage=part_as_text(usage, what="usage"),
        )
        draft = Draft(step=step, after=after_of(after))
        self._add(draft, when=when, repeat=repeat, for_each=for_each, compensate=compensate)
        return self

    def _add(
        self,
        draft: Draft,
        *,
        when: When = None,
        repeat: Repeat | None = None,
        for_each: ForEach | None = None,
        criteria: Sequence[str | Function] = (),
        compensate: Acting | None = None,
    ) -> None:
        """Take a step; a function that decides something for it is named like one that performs it."""
        if compensate is not None:
            draft = with_compensation(draft, compensate, workflow=self.name)
        asked = with_questions(
            draft, workflow=self.name, when=when, repeat=repeat, for_each=for_each, criteria=criteria
        )
        self._drafts.append(asked)
        self._definition = None
        self._revision = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a workflow from a YAML or JSON file. Raises DefinitionError with all its problems."""
        return cls.from_definition(read(Path(place(path, what="path"))))

    @classmethod
    def parse(cls, text: str | bytes, *, source: str = "<text>", format: Format | None = None) -> Self:
        """Read a workflow from text; `source` names it in problems, its extension tells the format.

        Raises DefinitionError with all its problems.
        """
        return cls.from_definition(parse(text, source=source, format=format))

    @classmethod
    def from_definition(cls, definition: Definition) -> Self:
        """Make a workflow of a definition."""
        workflow = cls(made_of(Definition, definition, what="definition", example="another workflow's").name)
        workflow._head = {
            field: getattr(definition, field) for field in definition.__struct_fields__ if field != "steps"
        }
        workflow._drafts = [Draft(step=step) for step in definition.steps]
        return workflow

    @property
    def definition(self) -> Definition:
        """The canonical form. Raises DefinitionError with everything that is wrong."""
        if self._definition is None:
            drafts = self._drafts
            findings = Findings(DraftPlaces(drafts))
            steps = settle(drafts, findings)
            check_functions(self._acting(), findings)
            definition = Definition(**self._head, steps=steps)
            self._definition = check_values(definition, findings)
        return self._definition

    @property
    def revision(self) -> str:
        """The identity of the content: a hash of the canonical form, in hex."""
        if self._revision is None:
            self._revision = revision_of(self.definition)
        return self._revision

    @property
    def functions(self) -> dict[str, Function]:
        """The functions of Python steps and conditions by their names, `python:module:qualname`."""
        functions = {
            draft.step.agent: draft.function
            for draft in self._drafts
            if draft.function is not None and draft.step.agent is not None
        }
        functions |= {asked.name: asked.function for draft in self._drafts for asked in draft.asked}
        return functions | {asked.name: asked.function for _, asked in self._acting()}

    def _acting(self) -> list[tuple[Parts, Asked]]:
        """The functions of hooks and compensations, and where in the definition they belong."""
        found: list[tuple[Parts, Asked]] = [
            (("steps", no), asked) for no, draft in enumerate(self._drafts) for asked in draft.acting
        ]
        return found + [(("hooks",), asked) for functions in self._hooks.values() for asked in functions]

    def levels(self) -> list[list[str]]:
        """Return the keys of the steps of each level, lowest first."""
        definition = self.definition
        needs = needs_of(definition)
        levels = by_level(level_of(needs, order_of(needs)))
        return [[definition.steps[no].key for no in level] for level in levels]

    def order(self) -> list[str]:
        """Return the keys so that each step comes after its needs, else as they are written."""
        definition = self.definition
        return [definition.steps[no].key for no in order_of(needs_of(definition))]

    def to_yaml(self) -> str:
        """Print as YAML that reads back equal. Raises NotPrintable for lambdas and local functions."""
        return to_yaml(self.definition)

    def to_json(self) -> str:
        """Print as JSON that reads back equal. Raises NotPrintable for lambdas and local functions."""
        return to_json(self.definition)
