"""What an execution has to do, told by a few dictionaries and no code of the product.

The model holds one execution: where its steps stand, what is in flight, what was asked of it. It is
naive on purpose. After every move it looks at every step anew, where the machine counts; it keeps a
copy of every past, where the machine folds its log. It does not foretell which of several steps
that may start are started first: it is told what was started, and judges that.

Times are milliseconds. A move that the model does not allow is an AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from modelled_states import ENDS, SETTLED, TAKEN_IN
from modelled_step import Step
from modelled_trial import Trial

DEATHS_MAX: Final = 3
DELAY_MS_MAX: Final = 60_000


class Model:
    """One execution as it must be."""

    def __init__(
        self,
        steps: list[Step],
        *,
        eager: bool = False,
        parallelism: int | None = None,
        continue_on_error: bool = False,
        timeout_ms: int | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        """Nothing has happened yet; `timeout_ms` is how long it may take while it is active."""
        self.steps = steps
        self.eager = eager
        self.parallelism = parallelism
        self.continue_on_error = continue_on_error
        self.timeout_ms = timeout_ms
        self.context = context or {}
        self.levels: list[int] = []
        for step in steps:
            self.levels.append(1 + max((self.levels[need] for need in step.needs), default=-1))
        self.order = sorted(range(len(steps)), key=self.levels.__getitem__)
        self.now = 0
        self.state = "idle"
        self.deadline: int | None = None
        self.remaining: int | None = None
        self.error: str | None = None
        self.resumes = 0
        self.bodies: set[int] = set()
        self.asked_to_stop: set[int] = set()
        self.threads: set[int] = set()  # of attempts that are over and whose thread is not
        self.waiters = 0
        self.commands: set[str] = set()
        self.is_closing = False
        self.is_held = False  # a new owner that has mail to look at first
        self.past: dict[int, Any] = {}
        self.trial = Trial()

    def __repr__(self) -> str:
        """Where it stands, for people."""
        steps = [
            (no, step.needs, *where)
            for (no, step), where in zip(enumerate(self.steps), self.picture(), strict=True)
        ]
        return f"{self.state} steps={steps} bodies={self.bodies} threads={self.threads}"

    def begin(self) -> None:
        """It is started, or its turn has come."""
        self.state = "running"
        limit = self.timeout_ms if self.remaining is None else self.remaining
        self.deadline = None if limit is None else self.now + limit
        self.remaining = None

    def starts(self, step_nos: Iterable[int]) -> None:
        """These bodies were started, in this order."""
        step_nos = list(step_nos)
        self._check_trial(step_nos)
        for no in step_nos:
            step = self.steps[no]
            beside = self.bodies | self.threads
            assert no in self.may_start(), f"step {no} may not start: {step.state} in {self.state}"
            assert no not in beside, f"step {no} runs already"
            assert len(beside) < (self.parallelism or len(self.steps)), f"step {no} is one too many"
            assert not beside or not step.needs_room, f"step {no} may not run beside another"
            assert not self._is_crowded(), f"step {no} may not run beside one that must be alone"
            step.state, step.due = "running", None
            step.attempt = step.attempt or 1
            step.has_begun = step.is_touched = True
            step.began = self.now
            self.bodies.add(no)

    def report(self, no: int, how: str, *, output: Any = None, retryable: bool = True, lingers: bool = False):
        """The body of a step has `completed`, `failed` or was `interrupted`."""
        self.is_held = False
        step = self.steps[no]
        assert step.state == "running"
        self._take_out(no)
        if lingers:
            self.threads.add(no)
        if how == "completed":
            step.settle("completed", output)
        elif how == "interrupted":
            self._interrupted(step)
        elif retryable and step.attempt <= step.retries and self.state != "cancelling":
            delay_ms = min(step.delay_ms * 2 ** (step.attempt - 1), DELAY_MS_MAX)
            step.state, step.due = "waiting", self.now + int(delay_ms)
            step.attempt += 1
            step.has_begun = step.died_alone = False
        else:
            self._failed(step)
        self._follow()

    def thread_ends(self, no: int) -> None:
        """The thread of an attempt that was given up has ended."""
        self.is_held = False
        self.threads.discard(no)
        self._follow()

    def tick(self, ms: int) -> None:
        """Time passes."""
        self.is_held = False
        self.now += ms
        self._heed_deadline()
        self._follow()

    def closes(self) -> None:
        """Its runner shuts down in good order."""
        self.is_closing, self.is_held = True, False
        self.asked_to_stop |= self.bodies
        self._follow()

    def is_taken_up(self, *, died: bool, held: bool = False) -> None:
        """Its runner is gone, perhaps by `died`, and another has it; `held`: mail comes first."""
        running = sorted(no for no, step in enumerate(self.steps) if step.state == "running")
        self.bodies.clear()
        self.asked_to_stop.clear()
        self.threads.clear()
        self.waiters = 0
        self.is_closing, self.is_held = False, held
        for no in running if died else ():
            self.steps[no].deaths += 1
            self.steps[no].died_alone = len(running) == 1
        if self.state == "idle":
            self.begin()
        elif self.state != "paused" and self.state not in ENDS:
            for no in running:
                step = self.steps[no]
                if step.deaths >= DEATHS_MAX and step.died_alone:
                    self._failed(step)
                else:
                    self._interrupted(step)
        self._put_on_trial()
        self._heed_deadline()
        self._follow()

    def command(
        self, kind: str, *, id: str = "", stale: bool = False, is_left: bool = False, **what: Any
    ) -> str | None:
        """Somebody asks; what he is told: a state, the name of a refusal, or None while he waits.

        `is_left`: nobody works on it, or it only waits; then what is not at rest can be resumed, too.
        """
        self.is_held = False
        is_adopted = is_left and kind == "resume" and self.state == "running"
        told = "Conflict" if stale else self._take(kind, id, what, is_adopted=is_adopted)
        self._follow()
        if told is None and (kind not in {"pause", "cancel"} or not self.waiters):
            told = self.state
        return told

    def _take(self, kind: str, id_: str, what: dict[str, Any], *, is_adopted: bool) -> str | None:
        """Refuse the command or do it."""
        if self.state not in TAKEN_IN[kind] and not is_adopted:
            return "IllegalTransition"
        if kind == "pause" and self.state == "paused":
            return None
        self.waiters += kind in {"pause", "cancel"}
        if kind in {"pause", "cancel"} and self.state == "cancelling":
            return None
        if id_ in self.commands:
            return "DuplicateCommand"
        self.commands.add(id_)
        if self.state == "idle":
            self.begin()
        getattr(self, f"_{kind}")(**what)
        return None

    def may_start(self) -> set[int]:
        """The steps whose turn it is, as far as needs, levels, delays and stops are concerned."""
        if self.state != "running" or self.is_closing or self.is_held:
            return set()
        return {no for no, step in enumerate(self.steps) if self._may_start(no, step)}

    def check_busy(self) -> None:
        """Nothing that could run waits, and nothing waits for what will never come."""
        if self.state != "running" or self.is_closing or self.is_held:
            return
        beside = self.bodies | self.threads
        wanted = self.may_start() - self.threads
        if self.trial.goes_on(self.bodies, now=self.now):
            return
        if not beside:
            assert not wanted, f"steps {wanted} could start, and nothing runs"
            assert any(step.state == "waiting" for step in self.steps), "asleep with nothing to wake it"
        elif wanted and not self._is_crowded() and not any(self.steps[no].needs_room for no in wanted):
            assert len(beside) >= (self.parallelism or len(self.steps)), f"steps {wanted} could start"

    def remember(self, version: int) -> None:
        """Keep what stands now as the past of that version."""
        outcomes = [
            (step.generation, step.attempt, step.state, step.output) if step.state in SETTLED else None
            for step in self.steps
        ]
        self.past[version] = (outcomes, self.context)

    def picture(self) -> list[tuple[Any, ...]]:
        """Where each step stands."""
        return [
            (step.state, step.generation, step.attempt, step.lineage, step.due, step.output)
            for step in self.steps
        ]

    def _pause(self, *, interrupt: bool) -> None:
        self.state = "pausing"
        if interrupt:
            self.asked_to_stop |= self.bodies

    def _cancel(self) -> None:
        self.error = None
        self._stop_for_good()

    def _resume(self, *, data: dict[str, Any] | None = None) -> None:
        self.context = self.context | (data or {})
        self.resumes += 1
        if self.state == "paused" and self.remaining is not None:
            self.deadline, self.remaining = self.now + self.remaining, None
        self.state = "running"
        self._put_on_trial()
        self._heed_deadline()

    def _signal(self) -> None:
        """It is kept in the log and changes nothing."""

    def _checkpoint(self) -> None:
        """The same: every past is remembered."""

    def _update(self, *, data: dict[str, Any]) -> None:
        self.context = self.context | data

    def _retry(self) -> None:
        for step in self.steps:
            if step.state in {"failed", "cancelled", "skipped"} and not step.is_met:
                step.reopen(new_key=False)
        self.error = None
        self.state = "running"
        self.deadline = None if self.timeout_ms is None else self.now + self.timeout_ms
        self._put_on_trial()

    def _restore(self, *, version: int) -> None:
        outcomes, self.context = self.past[version]
        for step, then in zip(self.steps, outcomes, strict=True):
            if then is None:
                if step.is_touched:
                    step.reopen(new_key=True)
            elif (step.generation, step.state) != (then[0], then[2]):
                step.reopen(new_key=True)
                step.attempt = then[1]
                step.settle(then[2], then[3])
        if self.state in ENDS:
            self.remaining = self.timeout_ms
        self.error = None
        self.state = "paused"
        self.trial.is_off()

    def _put_on_trial(self) -> None:
        pending = [(no, step) for no, step in enumerate(self.steps) if step.state == "pending"]
        ready = [no for no, step in pending if self._may_start(no, step)]
        self.trial.of(ready if self.state == "running" else [], self.steps)

    def _check_trial(self, started: list[int]) -> None:
        """While suspects are to be tried only the next group starts, as far as there is room for it."""
        if self.state != "running" or self.is_closing or self.is_held:
            return
        if self.trial.goes_on(self.bodies, now=self.now):
            assert not started, f"{started} beside a trial"
            return
        fit = self.trial.next(self.steps, self._fitting, now=self.now)
        assert fit is None or sorted(started) == sorted(fit), f"{fit} are to be tried, not {started}"

    def _fitting(self, group: list[int]) -> list[int]:
        """Those that can start together with what runs."""
        beside = self.bodies | self.threads
        fit: list[int] = []
        for no in sorted(group):
            if no not in self.may_start() - beside or self._is_crowded():
                continue
            has_room = len(beside) + len(fit) < (self.parallelism or len(self.steps))
            if has_room and (not beside or not self.steps[no].needs_room):
                fit.append(no)
        return fit

    def _follow(self) -> None:
        """Skip what can never run, and find out whether it has come to rest."""
        if self.state in {"running", "pausing"}:
            self._skip()
        if not self.bodies and not self.is_held and self.state not in ENDS | {"paused", "idle"}:
            self._rest()
        if self.state not in {"pausing", "cancelling"}:
            self.waiters = 0

    def _rest(self) -> None:
        is_done = all(step.state in SETTLED for step in self.steps)
        if self.state == "cancelling":
            self._end("failed" if self.error else "cancelled")
        elif is_done or (self._is_blocked() and not any(step.is_cut for step in self.steps)):
            if is_done or not self.is_closing or self.state == "pausing":
                lost = any(step.state == "failed" and not step.is_optional for step in self.steps)
                self.error = self.error or ("step" if lost else None)
                self._end("failed" if lost else "completed")
        elif self.state == "pausing":
            self.state = "paused"
            if self.deadline is not None:
                self.deadline, self.remaining = None, max(0, self.deadline - self.now)

    def _end(self, state: str) -> None:
        self.state, self.deadline, self.remaining = state, None, None

    def _skip(self) -> None:
        if self._is_blocked():
            return
        for no in self.order:
            step = self.steps[no]
            if step.state == "pending" and self._is_turn(no) and not self._is_fit(step):
                step.settle("skipped")

    def _may_start(self, no: int, step: Step) -> bool:
        if step.state == "waiting":
            return step.due is not None and step.due <= self.now
        if step.state != "pending":
            return False
        if self._is_blocked():
            return step.has_begun
        return self._is_turn(no) and self._is_fit(step)

    def _is_turn(self, no: int) -> bool:
        """Whether everything that comes before it has settled."""
        if self.eager:
            return all(self.steps[need].state in SETTLED for need in self.steps[no].needs)
        level = self.levels[no]
        return all(
            step.state in SETTLED for step, of in zip(self.steps, self.levels, strict=True) if of < level
        )

    def _is_fit(self, step: Step) -> bool:
        return all(self.steps[need].is_met for need in step.needs)

    def _is_blocked(self) -> bool:
        """Whether a step has failed that may not fail: nothing new begins."""
        return not self.continue_on_error and any(
            step.state == "failed" and not step.is_optional for step in self.steps
        )

    def _is_crowded(self) -> bool:
        """Whether something runs that nothing may run beside."""
        return any(self.steps[no].needs_room for no in self.bodies) or any(
            not self.steps[no].is_parallel for no in self.threads
        )

    def _take_out(self, no: int) -> None:
        self.bodies.discard(no)
        self.asked_to_stop.discard(no)

    def _failed(self, step: Step) -> None:
        step.settle("failed")
        if self._is_blocked() and self.state != "cancelling":
            self.error = self.error or "step"

    def _interrupted(self, step: Step) -> None:
        if self.state == "cancelling":
            step.settle("cancelled")
        else:
            step.state = "pending"

    def _heed_deadline(self) -> None:
        if self.deadline is not None and self.deadline <= self.now and self.state in {"running", "pausing"}:
            self.error = "deadline"
            self._stop_for_good()

    def _stop_for_good(self) -> None:
        self.state = "cancelling"
        self.deadline = None
        self.asked_to_stop |= self.bodies
        for step in self.steps:
            if step.state == "waiting":
                step.settle("cancelled")
