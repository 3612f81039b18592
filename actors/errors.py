"""What can go wrong while a plan is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perdure.store.errors import PerdureError
from perdure.store.records import Error

NAMES_MAX: Final = 10  # steps that one message names; the rest is counted


class StepError(PerdureError):
    """The root of the errors by which a step fails without its body having raised them."""


class StepFailed(PerdureError):
    """A step has used up its attempts."""

    def __init__(self, key: str, *, attempts: int, error: Error | None = None) -> None:
        """`attempts` is how many were made, `error` the last one's."""
        why = f": {error.type}: {error.message}" if error else ""
        super().__init__(f"step {key!r} failed after {attempts} attempt{'s' * (attempts != 1)}{why}")
        self.key = key
        self.attempts = attempts
        self.error = error


class StepTimeout(StepError):
    """An attempt took longer than the step's timeout."""

    def __init__(self, key: str, *, timeout_ms: int) -> None:
        """`timeout_ms` is the limit of one attempt."""
        super().__init__(f"step {key!r} took longer than its timeout of {timeout_ms / 1000:g} s")
        self.key = key
        self.timeout_ms = timeout_ms


class StepCancelledItself(StepError):
    """A body raised CancelledError though nobody had cancelled it."""

    def __init__(self, key: str) -> None:
        """Name the step."""
        super().__init__(
            f"step {key!r} raised CancelledError though nobody cancelled it: a task or scope inside "
            "the step was cancelled and let it escape"
        )
        self.key = key


class WaitTimeout(StepError):
    """What a step waited for has not come in time."""

    def __init__(self, key: str, *, what: str, timeout_ms: int) -> None:
        """`what` was waited for (`signal 'paid'`), for so long."""
        super().__init__(f"step {key!r} waited {timeout_ms / 1000:g} s for {what}, which did not come")
        self.key = key
        self.timeout_ms = timeout_ms


class RepeatExhausted(StepError):
    """A step was performed as often as it may be, and was to be performed again."""

    def __init__(self, key: str, *, iterations: int) -> None:
        """`iterations` is how often it was performed."""
        super().__init__(
            f"step {key!r} was to go on after {iterations} iteration{'s' * (iterations != 1)}, which is its "
            "maxIterations: allow more of them, or say onExhausted: continue to take the last output"
        )
        self.key = key
        self.iterations = iterations


class GateClosed(StepError):
    """Not every criterion of a gate holds."""

    def __init__(self, key: str, *, reasons: tuple[str, ...]) -> None:
        """`reasons` are those of the criteria that do not."""
        super().__init__(f"gate {key!r} is closed: {'; '.join(reasons)}")
        self.key = key
        self.reasons = reasons


class ApprovalRejected(StepError):
    """A step that needs approval was rejected, and is to fail then."""

    def __init__(self, key: str, *, by: str | None, comment: str | None = None) -> None:
        """`by` is who rejected it, for the reason in `comment`; None: nobody has decided in time."""
        who = "in time by nobody, which rejects it" if by is None else f"by {by}"
        verb = "decided" if by is None else "rejected"
        super().__init__(f"step {key!r} was {verb} {who}" + (f": {comment}" if comment else ""))
        self.key = key
        self.by = by
        self.comment = comment


class ItemFailed(StepError):
    """One of the items that a step was performed for has used up its attempts."""

    def __init__(self, key: str, *, item: int, attempts: int, error: Error) -> None:
        """`item` is its number from 0, `error` that of its last attempt."""
        super().__init__(
            f"item {item} of step {key!r} failed after {attempts} attempt{'s' * (attempts != 1)}: "
            f"{error.type}: {error.message}"
        )
        self.key = key
        self.item = item
        self.attempts = attempts
        self.error = error


class WorkerProcessDied(StepError):
    """The worker process that performed a step has died under it."""

    def __init__(self, key: str, *, why: str = "") -> None:
        """`why` is what little is known."""
        super().__init__(
            f"the worker process of step {key!r} died{f' ({why})' if why else ''}: look for a crash of the "
            "interpreter, os._exit or memory use in it"
        )
        self.key = key
        self.why = why


class ExpressionError(StepError):
    """What was to be evaluated for a step gave no answer; that never counts as false."""

    def __init__(self, key: str, *, what: str, why: str) -> None:
        """`what` was to be decided (`condition`), `why` it could not be."""
        super().__init__(f"the {what} of step {key!r} could not be evaluated: {why}")
        self.key = key
        self.what = what


class ChildFailed(StepError):
    """The execution that a step waits for has ended otherwise than well."""

    def __init__(self, key: str, *, child: str, state: str, error: Error | None) -> None:
        """`child` is its id, `error` why it failed, where it did."""
        why = "" if error is None else f": {error.type}: {error.message}"
        super().__init__(f"child {child} of step {key!r} ended {state}{why}")
        self.key = key
        self.child = child
        self.state = state
        self.error = error


class ChildNotUndone(StepError):
    """The execution that a step has waited for did not undo what it has done."""

    def __init__(self, child: str, *, state: str, error: Error | None) -> None:
        """`state` is the one it came to instead, `error` why, where that is known."""
        why = "" if error is None else f": {error.type}: {error.message}"
        super().__init__(f"child {child} was to be rolled back and ended {state}{why}")
        self.child = child
        self.state = state
        self.error = error


class ChildNotStarted(StepError):
    """The execution that a step is to start cannot be."""

    def __init__(self, workflow: str, *, why: str) -> None:
        """`workflow` is what it would be an execution of."""
        super().__init__(f"a child of workflow {workflow!r} cannot be started: {why}")
        self.workflow = workflow
        self.why = why


class OutputError(PerdureError):
    """What a workflow is to give back cannot be put together from what its steps did."""

    def __init__(self, execution_id: str, *, why: str) -> None:
        """`why` says which value was not there."""
        super().__init__(f"the outputs of execution {execution_id} cannot be given: {why}")
        self.execution_id = execution_id
        self.why = why


class CrashBudgetExceeded(StepError):
    """A step has taken its process down again and again, the last time while nothing else ran."""

    def __init__(self, key: str, *, deaths: int) -> None:
        """`deaths` is how often the process died while an attempt of this step was running."""
        super().__init__(
            f"the process died {deaths} times while step {key!r} was running, the last time with "
            "nothing else in flight: look for a crash of the interpreter, os._exit or memory use in it"
        )
        self.key = key
        self.deaths = deaths


class AgentUnavailable(StepError):
    """The circuit of a step's agent is open: too many of its steps have failed, in whatever execution."""

    def __init__(self, agent: str, *, why: str) -> None:
        """`why` is what opened it."""
        super().__init__(f"the circuit of agent {agent!r} is open ({why}): it is tried again after a while")
        self.agent = agent


class CircuitBreakerTripped(PerdureError):
    """Too many attempts of an execution went wrong within a short time."""

    def __init__(self, reason: str, *, is_undone: bool = False) -> None:
        """`reason` says how many, within what time; what `is_undone` for it cannot be retried."""
        hint = "" if is_undone else "; retry the execution to go on"
        super().__init__(f"the circuit breaker has tripped: {reason}{hint}")
        self.reason = reason


class RollbackFailed(PerdureError):
    """What an execution has done could not be undone, or not all of it."""

    def __init__(self, failed: Mapping[str, Error | None], *, kept: Sequence[str], reason: str) -> None:
        """`failed` compensations by their steps, and why; the steps in `kept` were therefore left alone."""
        tried = [key if why is None else f"{key} ({why.type}: {why.message})" for key, why in failed.items()]
        found = (("could not be undone", tried), ("left as they are", list(kept)))
        what = "; ".join(f"{words}: {_named(names)}" for words, names in found if names)
        super().__init__(
            f"{what}; it is rolled back because: {reason}; retry it to go on with what is left to undo"
        )
        self.failed = tuple(failed)
        self.kept = tuple(kept)


def _named(names: Sequence[str]) -> str:
    """As many of them as one message holds."""
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


class InvalidStatement(PerdureError, ValueError):
    """Something given to `context.transaction()` could never be executed; the message says what can."""


class ExecutionError(PerdureError):
    """An execution ended otherwise than `completed`; `error` says why where something failed."""

    def __init__(self, message: str, *, execution_id: str, error: Error | None = None) -> None:
        """`error` is the record kept with the execution."""
        super().__init__(message)
        self.execution_id = execution_id
        self.error = error


class ExecutionFailed(ExecutionError):
    """The execution ended `failed`."""


class ExecutionTimeout(ExecutionFailed):
    """The execution ended `failed` because its deadline passed."""


class ExecutionRolledBack(ExecutionFailed):
    """The execution ended `rolled_back`: what it had done was undone."""


class ExecutionCancelled(ExecutionError):
    """The execution ended `cancelled`."""


class InvalidContext(PerdureError):
    """A context, or a patch to one, that the workflow cannot run with."""


class DecisionRefused(PerdureError):
    """Nobody may decide that of the step, or not now, not so or not again; nothing was changed."""

    def __init__(self, message: str, *, step: str) -> None:
        """`step` is the key of the step that was to be approved or rejected."""
        super().__init__(message)
        self.step = step


class NotAnApprover(DecisionRefused):
    """Somebody decides who is not asked."""

    def __init__(self, step: str, *, by: str, approvers: tuple[str, ...]) -> None:
        """`by` is who it was, `approvers` are those who are asked."""
        asked = ", ".join(approvers)
        super().__init__(f"{by} may not decide on step {step!r}: asked are {asked}", step=step)
        self.by = by
        self.approvers = approvers


class FormMismatch(DecisionRefused):
    """The data of a decision is not what the step's form asks for."""

    def __init__(self, step: str, *, why: str) -> None:
        """`why` says what is wrong, and where in the data."""
        super().__init__(f"the data does not fit the form of step {step!r}: {why}", step=step)
        self.why = why


class RuntimeClosed(PerdureError):
    """The runtime is closing or closed; what was acknowledged before is safe in the store."""


def error_of(error: BaseException) -> Error:
    """The error as it is kept and shown."""
    return Error(type=type(error).__name__, message=str(error))
