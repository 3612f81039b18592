"""Where one step stands: the attempt that counts now, and the outcome once there is one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from perdure.actors.state.loop import Loop
from perdure.actors.state.trial import SUSPECT_DEATHS
from perdure.store.records import Attempt, Error
from perdure.store.states import StepState
from perdure.store.usage import Usage

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class StepRun:
    """One step of one execution. Changed by a `Turn`, or by the rows it is folded from."""

    __slots__ = (
        "attempt",
        "deaths",
        "died_alone",
        "due_at",
        "error",
        "generation",
        "is_stored",
        "iteration",
        "lineage",
        "loop",
        "made_in",
        "note",
        "output",
        "previous",
        "settled_version",
        "started_at",
        "state",
        "usage",
    )

    def __init__(self) -> None:
        """A step nobody has touched yet."""
        self.state = StepState.PENDING
        self.generation = 0
        self.made_in: int | None = None  # the generation that made the outcome which a restore brought back
        self.attempt = 0
        self.lineage = 0
        self.output: bytes | None = None
        self.settled_version: int | None = None
        self.error: Error | None = None
        self.due_at: int | None = None
        self.started_at: int | None = None
        self.deaths = 0
        self.died_alone = False  # at the last of the deaths nothing else was in flight in its process
        self.is_stored = False  # whether the store has a row for (generation, attempt)
        self.note: Any = None  # the last heartbeat's detail
        self.loop: Loop | None = None  # of a step that goes over items, until it has completed
        self.iteration = 1  # of a step that repeats: it counts the generations of this lineage that completed
        self.previous: bytes | None = None  # the output of the iteration before
        self.usage: Usage | None = None  # what this attempt has reported, over all its interruptions

    @property
    def has_past(self) -> bool:
        """Whether the store has anything of it: an attempt, or what it is to go over."""
        return self.is_stored or self.loop is not None

    @property
    def is_cut(self) -> bool:
        """Whether it has begun and neither runs nor settled: it waits, or was interrupted."""
        state = self.state
        return state is StepState.WAITING or (state is StepState.PENDING and self.started_at is not None)

    @property
    def is_between_iterations(self) -> bool:
        """Whether an iteration has ended and the next has not begun; a retry waits with a later attempt."""
        return self.state is StepState.WAITING and self.attempt == 1 and self.iteration > 1

    @property
    def is_between_parts(self) -> bool:
        """Whether it waits for its next iteration, or for the next attempt of an item."""
        return self.is_between_iterations or (self.state is StepState.WAITING and self.loop is not None)

    @property
    def is_shared(self) -> bool:
        """Whether its outcome was taken over from the source of this fork: it never began here."""
        return self.state is StepState.COMPLETED and self.started_at is None and self.made_in is None

    @property
    def is_suspect(self) -> bool:
        """Whether the process has died so often while it ran that it is tried before anything else runs."""
        return self.worst_deaths >= SUSPECT_DEATHS

    @property
    def worst_deaths(self) -> int:
        """How often the process has died while it ran, or the worst of its items."""
        return self.deaths if self.loop is None else self.loop.deaths

    def next_attempt(self) -> None:
        """Begin another attempt of the same generation; it has no row yet."""
        self.attempt += 1
        self.started_at = None
        self.died_alone = False
        self.is_stored = False
        self.usage = None

    @property
    def failure(self) -> Mapping[str, str] | None:
        """Why it has failed, as conditions see it; an attempt that was tried again does not count."""
        if self.state is not StepState.FAILED or self.error is None:
            return None
        return {"type": self.error.type, "message": self.error.message}

    def reopen(self, *, new_lineage: bool) -> None:
        """Begin a new generation, as if never run."""
        self.state = StepState.PENDING
        self.generation += 1
        self.made_in = None
        self.attempt = 1
        self.lineage += new_lineage
        self.output = None
        self.settled_version = None
        self.error = None
        self.due_at = None
        self.started_at = None
        self.deaths = 0
        self.died_alone = False
        self.is_stored = False
        self.note = None
        self.usage = None
        if new_lineage:
            self.loop = None
            self.iteration = 1
            self.previous = None

    def next_iteration(self) -> None:
        """Begin the generation that repeats the step."""
        output = self.output
        self.reopen(new_lineage=False)
        self.iteration += 1
        self.previous = output

    def take(self, attempt: Attempt) -> None:
        """Let a row replace what is known of the step when it is newer."""
        if (attempt.generation, attempt.attempt) < (self.generation, self.attempt):
            return
        is_next = self.is_stored and attempt.generation == self.generation
        if attempt.lineage != self.lineage:
            self.iteration, self.previous = 1, None
        elif self.state is StepState.COMPLETED and not is_next:
            self.iteration, self.previous = self.iteration + 1, self.output
        self.deaths = attempt.deaths + (self.deaths if is_next else 0)
        if not (is_next and attempt.state is StepState.WAITING):  # one that waits shows why it has to
            self.error = attempt.error
        self.state = attempt.state
        self.generation = attempt.generation
        self.made_in = attempt.made_in
        self.attempt = attempt.attempt
        self.lineage = attempt.lineage
        self.output = None if attempt.output is None else bytes(attempt.output)
        self.settled_version = attempt.settled_version
        self.due_at = ms_of(attempt.due_at)
        self.started_at = ms_of(attempt.started_at)
        self.died_alone = attempt.alone
        self.usage = attempt.usage
        self.is_stored = True


def ms_of(moment: datetime | None) -> int | None:
    """A UTC datetime as milliseconds since 1970, exactly."""
    return None if moment is None else (moment - EPOCH) // timedelta(milliseconds=1)
