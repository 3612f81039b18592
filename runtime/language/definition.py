"""The canonical form of a workflow: what YAML, JSON and Python all come to.

The structs here are the one table of fields: names, types, defaults and ranges. Validation, the
printed form, the revision and the documentation are all read from it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo, fields

from perdure.actors.instructions.budget import COST_MAX, TOKENS_MAX
from perdure.actors.instructions.waits import APPROVERS_MAX
from perdure.runtime.language.errors import DefinitionError, Problem
from perdure.runtime.language.names import KEY_MAX

MS_MAX: Final = 315_360_000_000  # ten years; longer is a slip of the keyboard
RETRIES_MAX: Final = 10_000  # with any delay at all that is days; endless retries hide a fault
MULTIPLIER_MAX: Final = 1_000  # the delay is capped anyway
STEPS_MAX: Final = 50_000  # a graph of this size still validates within a second or two
NEEDS_MAX: Final = 10_000  # dependencies of one step
TAGS_MAX: Final = 100  # people read them
LABEL_MAX: Final = 256  # characters of versions, authors, tags: they are shown in one line
TEXT_MAX: Final = 1_000_000  # characters of a prompt or description; a whole file has no more
AGENT_MAX: Final = 512  # characters; qualified Python names are long
CAPABILITIES_MAX: Final = 20  # asked for by one step; nobody has so many that count
CONDITION_MAX: Final = 10_000  # characters; what is longer belongs into a step
SCHEDULES_MAX: Final = 100  # of one workflow; who needs more starts it from a program
COST_MIN: Final = 0.000_001  # of a budget: less is none
URL_MAX: Final = 2_048  # characters; what servers agree to take
WEBHOOKS_MAX: Final = 20  # of one workflow; who has more to tell has one place that passes it on
DAY_MS: Final = 86_400_000
CONCURRENCY_MAX: Final = 10_000  # items of one step in flight, all of them held in memory
ITERATIONS_MAX: Final = 10_000  # of one step: the output of each is kept, and read when it is taken up
CRITERIA_MAX: Final = 100  # of one gate; people read the verdicts
REASON_MAX: Final = 1_000  # characters; it is shown in one line
PARALLELISM_MAX: Final = 100_000  # more than any runtime's slots

Positive = Annotated[int, Meta(ge=1, le=MS_MAX)]
Delay = Annotated[int, Meta(ge=0, le=MS_MAX)]
SpanOrZero = Annotated[int, Meta(ge=0, le=MS_MAX, extra={"is_span": True})]
Span = Annotated[int, Meta(ge=1, le=MS_MAX, extra={"is_span": True})]  # in text also `1h30m`
Retries = Annotated[int, Meta(ge=0, le=RETRIES_MAX)]
Key = Annotated[str, Meta(min_length=1, max_length=KEY_MAX)]
Label = Annotated[str, Meta(min_length=1, max_length=LABEL_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Expression = Annotated[str, Meta(min_length=1, max_length=CONDITION_MAX)]
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]
JoinWord = Literal["all_success", "all_done", "any"]
Join = Annotated[Any, Meta(extra={"is_join": True})]  # a word, or how many are enough
Items = Annotated[Any, Meta(extra={"is_items": True})]  # a list, a count, or an expression of one
AgentName = Annotated[str, Meta(min_length=1, max_length=AGENT_MAX)]


class Part(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A mapping of the definition; fields are camelCase in text."""


class RetryDefinition(Part, frozen=True, kw_only=True):
    """How a failed step is tried again; times in milliseconds."""

    max_retries: Retries = 0
    retry_delay_ms: Delay = 1_000
    retry_backoff_multiplier: Annotated[float, Meta(ge=1, le=MULTIPLIER_MAX)] = 2.0
    retry_max_delay_ms: Delay = 60_000
    jitter: bool = True
    retryable_errors: tuple[Label, ...] = ()


class UsageDefinition(Part, frozen=True, kw_only=True):
    """What one attempt of a step will use: money in any one unit, and tokens."""

    cost: Annotated[float, Meta(ge=0, le=COST_MAX)] = 0.0
    tokens: Annotated[int, Meta(ge=0, le=TOKENS_MAX)] = 0


class BudgetDefinition(Part, frozen=True, kw_only=True):
    """How much all steps together may use."""

    cost: Annotated[float, Meta(ge=COST_MIN, le=COST_MAX)] | None = None
    tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX)] | None = None
    on_exceeded: Literal["pause", "fail"] = "pause"


class LimitsDefinition(Part, frozen=True, kw_only=True):
    """How many executions may run at once: of the workflow, or for each value of `key`."""

    concurrency: Annotated[int, Meta(ge=1, le=PARALLELISM_MAX)]
    key: Expression | None = None


class CircuitBreakerDefinition(Part, frozen=True, kw_only=True):
    """How many attempts may go wrong within a window before the execution stops."""

    errors: Annotated[int, Meta(ge=1, le=RETRIES_MAX)]
    window: Span = 60_000
    latency: Span | None = None
    on_trip: Literal["fail", "pause", "compensate"] = "fail"


class ActionDefinition(Part, frozen=True, kw_only=True):
    """What is done beside the graph: by whom, with what, how patiently."""

    agent: AgentName
    prompt: Text | None = None
    timeout_ms: Positive | None = None
    retry_policy: RetryDefinition | None = None


class HooksDefinition(Part, frozen=True, kw_only=True):
    """What is done when the graph has come to its end."""

    on_success: ActionDefinition | None = None
    on_failure: ActionDefinition | None = None
    on_cancel: ActionDefinition | None = None
    finally_: ActionDefinition | None = msgspec.field(default=None, name="finally")


class WaitForDefinition(Part, frozen=True, kw_only=True):
    """The signal a step waits for, and how long."""

    signal: Label
    timeout: Span | None = None
    on_timeout: Literal["fail", "skip", "continue"] = "fail"


class CallDefinition(Part, frozen=True, kw_only=True):
    """The workflow a step starts an execution of, with what, and what the two have to do with each other."""

    name: Key
    version: Label | None = None
    input: dict[str, Any] | None = None
    wait: bool = True
    parent_close_policy: Literal["cancel", "abandon"] = "cancel"


class RepeatDefinition(Part, frozen=True, kw_only=True):
    """How often a step is performed: until something holds, or while it does."""

    until: Expression | None = None
    while_: Expression | None = msgspec.field(default=None, name="while")
    max_iterations: Annotated[int, Meta(ge=1, le=ITERATIONS_MAX)] = 100
    delay: SpanOrZero = 0
    on_exhausted: Literal["fail", "continue"] = "fail"


class ApprovalDefinition(Part, frozen=True, kw_only=True):
    """What a step asks people: of whom, how many have to approve, and what happens if they do not."""

    message: Text | None = None
    form: dict[str, Any] | None = None
    approvers: Annotated[tuple[Label, ...], Meta(max_length=APPROVERS_MAX)] = ()
    quorum: Annotated[int, Meta(ge=1, le=APPROVERS_MAX)] = 1
    timeout: Span | None = None
    on_timeout: Literal["fail", "skip", "approve", "reject", "escalate"] = "fail"
    escalate_to: Annotated[tuple[Label, ...], Meta(max_length=APPROVERS_MAX)] = ()
    on_reject: Literal["skip", "continue", "fail", "compensate"] = "skip"


class CriterionDefinition(Part, frozen=True, kw_only=True):
    """One thing that must hold, and what it means if it does not."""

    when: Expression
    reason: Reason


class GateDefinition(Part, frozen=True, kw_only=True):
    """What must hold before an execution goes on, and what happens if it does not."""

    criteria: Annotated[tuple[CriterionDefinition, ...], Meta(min_length=1, max_length=CRITERIA_MAX)]
    on_no: Literal["fail", "pause", "compensate"] = "fail"


class ForEachDefinition(Part, frozen=True, kw_only=True):
    """What a step is performed for: a list, a count, or text that gives one when the step is reached."""

    items: Items
    as_: Label = msgspec.field(default="item", name="as")
    index: Label = "index"
    max_concurrency: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)] = 100
    continue_on_error: bool = False


class StepDefinition(Part, frozen=True, kw_only=True):
    """A node of the graph: what performs it or what it waits for, what it needs, how it may fail."""

    key: Key
    agent: AgentName | None = None
    capabilities: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=CAPABILITIES_MAX)] | None = None
    sleep: Span | None = None
    until: Expression | None = None
    wait_for: WaitForDefinition | None = None
    approval: ApprovalDefinition | None = None
    gate: GateDefinition | None = None
    workflow: CallDefinition | None = None
    prompt: Text | None = None
    dependencies: Annotated[tuple[str, ...], Meta(max_length=NEEDS_MAX)] = ()
    dependencies_policy: Join = "all_success"
    when: Expression | None = None
    parallel: bool = True
    optional: bool = False
    repeat: RepeatDefinition | None = None
    for_each: ForEachDefinition | None = None
    timeout_ms: Positive | None = None
    retry_policy: RetryDefinition | None = None
    output_schema: dict[str, Any] | None = None
    process: bool = False
    usage: UsageDefinition | None = None
    compensate: ActionDefinition | None = None


class WebhookDefinition(Part, frozen=True, kw_only=True):
    """Who outside is told of an execution: where, of what, and the variable that has the key to sign."""

    url: Annotated[str, Meta(min_length=1, max_length=URL_MAX)]
    events: Annotated[
        tuple[Literal["paused", "resumed", "completed", "failed", "cancelled", "rolled_back"], ...],
        Meta(min_length=1, max_length=6),
    ] = ("paused", "resumed", "completed", "failed", "cancelled", "rolled_back")
    secret: str | None = None  # checked with what it names: a key in its place is not to be shown


class Config(Part, frozen=True, kw_only=True):
    """Policy of the whole workflow; times in milliseconds."""

    timeout: Span | None = None
    max_retries: Retries = 0
    checkpoint_interval: Span | None = None
    parallelism: Annotated[int, Meta(ge=1, le=PARALLELISM_MAX)] | None = None
    continue_on_error: bool = False
    scheduling: Literal["level", "eager"] = "level"
    warn_after: SpanOrZero = DAY_MS
    budget: BudgetDefinition | None = None
    circuit_breaker: CircuitBreakerDefinition | None = None
    limits: LimitsDefinition | None = None
    on_failure: Literal["fail", "compensate"] = "fail"
    webhooks: Annotated[tuple[WebhookDefinition, ...], Meta(max_length=WEBHOOKS_MAX)] = ()


class ScheduleDefinition(Part, frozen=True, kw_only=True):
    """When the workflow starts by itself: at the moments of `cron`, or `every` so often."""

    id: Label | None = None
    cron: Label | None = None
    every: Span | None = None
    timezone: Label | None = None
    missed: Literal["skip", "latest", "all"] = "latest"
    missed_window: SpanOrZero = DAY_MS
    overlap: Literal["skip", "queue", "replace", "allow"] = "skip"
    jitter: SpanOrZero = 0
    input: dict[str, Any] | None = None


class Definition(Part, frozen=True, kw_only=True):
    """A workflow."""

    name: Key
    description: Text | None = None
    version: Label | None = None
    author: Annotated[str, Meta(max_length=LABEL_MAX)] | None = None
    tags: Annotated[tuple[Label, ...], Meta(max_length=TAGS_MAX)] = ()
    config: Config = Config()
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    schedule: Annotated[tuple[ScheduleDefinition, ...], Meta(max_length=SCHEDULES_MAX)] = ()
    hooks: HooksDefinition | None = None
    steps: Annotated[tuple[StepDefinition, ...], Meta(min_length=1, max_length=STEPS_MAX)]


_canonical = msgspec.json.Encoder(order="deterministic")


def plain(part: Part) -> dict[str, Any]:
    """Return a mapping of the definition as plain values, without what equals its default.

    So two texts that mean the same have the same form, whatever they spell out.
    """
    found: dict[str, Any] = {}
    for field in _fields_of(type(part)):
        value = getattr(part, field.name)
        if field.required or value != field.default:
            found[field.encode_name] = _plain_value(value)
    return found


@cache
def _fields_of(kind: type[Part]) -> tuple[FieldInfo, ...]:
    """The fields of a struct; asking msgspec each time would read the type hints anew."""
    return fields(kind)


def _plain_value(value: Any) -> Any:
    if isinstance(value, Part):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain_value(each) for each in value]
    return value


def revision_of(definition: Definition) -> str:
    """Return the identity of the definition's content: the SHA-256 of its canonical JSON, in hex.

    When it starts by itself is no part of it: that changes nothing of what an execution does.
    """
    content = plain(definition)
    content.pop("schedule", None)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def definition_from_json(document: Any) -> Definition:
    """Read back a definition that was checked and stored before: types are checked, no more.

    Raises DefinitionError for one that a newer release has stored, with what this one does not know.
    """
    try:
        return msgspec.convert(document, Definition)
    except msgspec.ValidationError as error:
        why = f"this release cannot read the stored definition ({error}): upgrade it"
        raise DefinitionError([Problem(message=why)]) from error
