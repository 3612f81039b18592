"""What a parent and its children decide of each other, whatever comes first and wherever a crash falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.actors.decider import planner
from perdure.actors.decider.course import undoing
from perdure.actors.decider.kinds import children
from perdure.actors.effects.inbox import posted
from perdure.actors.instructions.budget import Budget
from perdure.actors.instructions.plan import RetryPolicy, Scheduling
from perdure.actors.instructions.waits import ForChild
from perdure.actors.messages import (
    Cancel,
    ChildEnded,
    ChildRefused,
    ChildRested,
    ChildStarted,
    ChildUndone,
    Pause,
    PauseMode,
    Resume,
    Retry,
    Rollback,
)
from perdure.store.records import Error, Message
from perdure.store.states import State, StepState
from perdure.store.usage import Limits, Usage

Make = Callable[..., Any]
RETRY = RetryPolicy(max_retries=1, delay_ms=100, jitter=False)
AT_ONCE = RetryPolicy(max_retries=1, delay_ms=0)


def calls(**options: Any) -> dict[str, Any]:
    """A step that starts a child."""
    wait = {"workflow": "other", "input": lambda _values: {"n": 1}, **options.pop("wait", {})}
    return {"wait": ForChild(**wait), **options}


@pytest.fixture
def bench(make_bench: Make) -> Any:
    """A child, then a body."""
    return make_bench([(), (0,)], steps={0: calls(retry=RETRY)}).start()


def started(bench: Any, **fields: Any) -> None:
    """The last child that was to be started is there."""
    order = bench.starts[-1]
    report = ChildStarted(step_no=order.step_no, child=order.child, **fields)
    bench.do(lambda turn: children.take_started(turn, report))


def ended(bench: Any, state: State = State.COMPLETED, *, child: str | None = None) -> Any:
    """It has ended."""
    outputs = msgspec.Raw(b'{"a":1}' if state is State.COMPLETED else b"null")
    error = Error(type="StepFailed", message="no") if state is State.FAILED else None
    message = ChildEnded(
        id=bench.id(),
        child=child or bench.starts[-1].child,
        step_no=0,
        state=state,
        outputs=outputs,
        error=error,
    )
    return bench.tell(message)


def said(bench: Any) -> list[str]:
    """The kinds of what was left for others."""
    return [post.kind for post in bench.rows.posts]


def test_the_wait_has_a_moment_until_the_child_is_known_to_be_there(bench: Any):
    """Whoever takes it up in between starts it again, under the same id; then it only waits."""
    first = bench.starts[-1]
    assert bench.rows.timers == {("wait", 0): bench.now}
    assert not planner.may_park(bench.turn, linger_ms=0, is_closing=False)
    bench.take_up(died=True)
    assert len(bench.starts) == 2
    assert (bench.starts[-1].child, bench.starts[-1].context) == (first.child, {"n": 1})
    started(bench)
    assert not bench.rows.timers
    assert planner.may_park(bench.turn, linger_ms=0, is_closing=False)
    bench.take_up()
    assert len(bench.starts) == 2
    ended(bench)
    assert (bench.states(), bench.state.output(0)) == (["completed", "running"], {"a": 1})


def test_an_end_that_comes_before_the_news_of_the_start_counts(bench: Any):
    """The news says nothing any more."""
    ended(bench)
    assert bench.states() == ["completed", "running"]
    version = bench.state.version
    started(bench)
    assert bench.state.version == version


def test_a_failed_child_is_a_failed_attempt_and_the_next_one_has_another(bench: Any):
    """After the delay of the policy; what the first one says then is about nobody."""
    started(bench)
    first = bench.starts[-1].child
    ended(bench, State.FAILED)
    assert bench.states() == ["waiting", "pending"]
    bench.advance(99)
    assert len(bench.starts) == 1
    bench.advance(1)
    assert bench.starts[-1].child != first
    ended(bench, child=first)
    assert bench.states() == ["waiting", "pending"]
    ended(bench, State.CANCELLED)
    assert bench.state.state is State.FAILED
    assert "ended cancelled" in bench.state.steps[0].error.message


def test_a_step_that_waits_for_another_child_shows_why_it_has_to(bench: Any):
    """To whoever has seen the first one fail, and to whoever takes it up."""
    ended(bench, State.FAILED)
    bench.advance(100)
    started(bench)
    assert bench.state.steps[0].error.type == "ChildFailed"


def refused(bench: Any) -> None:
    """The last child that was to be started cannot be."""
    error = Error(type="ChildNotStarted", message="no")
    report = ChildRefused(step_no=0, child=bench.starts[-1].child, error=error, names=("ChildNotStarted",))
    bench.do(lambda turn: children.take_refused(turn, report))


def test_what_cannot_be_started_is_a_failed_attempt(bench: Any):
    """Typed, by the names a policy may have."""
    refused(bench)
    assert bench.states() == ["waiting", "pending"]
    assert bench.events()[-2:] == ["step_failed", "step_waiting"]


def test_a_parent_rests_when_its_child_does(bench: Any):
    """An answer to an earlier pause, called off since, is none."""
    started(bench)
    bench.tell(Pause(id="p1"))
    first = bench.rows.posts[-1]
    assert (bench.state.state, first.kind) == (State.PAUSING, "Pause")
    bench.tell(Resume(id="r1"))
    bench.tell(Pause(id="p2", mode=PauseMode.INTERRUPT))
    assert said(bench) == ["Pause", "Resume", "Pause"]
    rested = {"child": bench.starts[-1].child, "step_no": 0}
    bench.tell(ChildRested(id="a1", ask=first.command_id, **rested))
    assert bench.state.state is State.PAUSING
    bench.tell(ChildRested(id="a2", ask=bench.rows.posts[-1].command_id, **rested))
    assert bench.state.state is State.PAUSED
    bench.tell(Resume(id="r2"))
    assert (said(bench)[-1], bench.state.state) == ("Resume", State.AWAITING_COMPLETION)


def test_whoever_takes_up_a_parent_that_comes_to_rest_asks_again(bench: Any):
    """Of a rest that was told to the one before it knows nothing."""
    started(bench)
    bench.tell(Pause(id="p1"))
    bench.take_up(died=True)
    assert said(bench) == ["Pause", "Pause"]
    assert len({post.command_id for post in bench.rows.posts}) == 2


@pytest.mark.parametrize("is_taken_up", [False, True])
def test_a_parent_that_pauses_again_at_once_rests_with_the_child_that_rests(
    make_bench: Make, *, is_taken_up: bool
):
    """The child was not told to go on and has nothing to tell, also to whoever takes the parent up."""
    budget = Budget(limits=Limits(cost=1.0))
    graph = [(), (), (0,)]
    bench = make_bench(graph, steps={1: calls()}, scheduling=Scheduling.EAGER, budget=budget).start()
    started(bench)
    bench.complete(0, used=Usage(cost=1.0))
    ask = bench.rows.posts[-1].command_id
    bench.tell(ChildRested(id="a1", child=bench.starts[-1].child, step_no=1, ask=ask))
    assert bench.state.state is State.PAUSED
    if is_taken_up:
        bench.take_up(died=True)
    bench.tell(Resume(id="r1"))
    assert (said(bench), bench.state.state) == (["Pause"], State.PAUSED)
    bench.tell(Resume(id="r2", budget=Limits(cost=2.0)))
    assert said(bench) == ["Pause", "Resume"]


def test_a_parent_that_is_to_end_looks_for_the_child_it_may_have(bench: Any):
    """It is there: it is cancelled first. It is not: nothing is started any more."""
    bench.tell(Cancel(id="cancel"))
    assert bench.state.state is State.CANCELLING
    bench.take_up(died=True)
    started(bench)
    assert (said(bench), bench.state.state) == (["Cancel"], State.CANCELLING)
    ended(bench, State.CANCELLED)
    assert (bench.states()[0], bench.state.state) == ("cancelled", State.CANCELLED)


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_parent_that_is_to_end_waits_for_the_start_of_a_next_attempt(make_bench: Make, *, is_refused: bool):
    """Whatever is heard of the attempt before."""
    bench = make_bench([()], steps={0: calls(retry=AT_ONCE)}).start()
    first = bench.starts[-1]
    if is_refused:
        refused(bench)
    else:
        ended(bench, State.FAILED)
        news = ChildStarted(step_no=0, child=first.child)
        bench.do(lambda turn: children.take_started(turn, news))
    bench.tell(Cancel(id="cancel"))
    assert bench.state.state is State.CANCELLING
    started(bench)
    assert said(bench) == ["Cancel"]
    ended(bench, State.CANCELLED)
    assert bench.state.state is State.CANCELLED


def test_a_parent_that_is_to_end_without_a_child_ends(bench: Any):
    """Also when it rests instead, and goes on: then the child is started."""
    bench.tell(Cancel(id="cancel"))
    started(bench, exists=False)
    assert (bench.states()[0], bench.state.state) == ("cancelled", State.CANCELLED)


def test_a_pause_before_the_start_leaves_the_start_for_later(bench: Any):
    """Nothing is there that could rest."""
    bench.tell(Pause(id="p1"))
    bench.take_up(died=True)
    started(bench, exists=False)
    assert (said(bench), bench.state.state) == ([], State.PAUSED)
    bench.tell(Resume(id="r1"))
    started(bench)
    ended(bench)
    assert bench.states() == ["completed", "running"]


def test_a_completion_that_races_with_a_cancel_is_kept(bench: Any):
    """The step has completed; the execution is cancelled all the same."""
    started(bench)
    bench.tell(Cancel(id="cancel"))
    ended(bench)
    assert (bench.states()[0], bench.state.state) == ("completed", State.CANCELLED)


def test_an_abandoned_child_holds_nobody_up(make_bench: Make):
    """Nothing is said to it."""
    bench = make_bench([()], steps={0: calls(wait={"follows": False})}).start()
    started(bench)
    bench.tell(Pause(id="p1"))
    assert bench.state.state is State.PAUSED
    bench.tell(Cancel(id="cancel"))
    assert (said(bench), bench.state.state) == ([], State.CANCELLED)


def test_an_abandoned_child_that_is_started_during_a_cancel_leaves_no_step_behind(make_bench: Make):
    """Its step ends with its parent: else a retry would wait for news that has long been told."""
    abandoned = calls(wait={"follows": False})
    bench = make_bench([(), (0,)], steps={0: abandoned}).start()
    bench.tell(Cancel(id=bench.id()))
    started(bench)
    assert bench.state.state is State.CANCELLED
    assert bench.state.steps[0].state is StepState.CANCELLED
    assert not bench.state.waiting


def test_an_input_that_cannot_be_put_together_fails_the_step(make_bench: Make):
    """Nothing is started."""
    bench = make_bench([()], steps={0: calls(wait={"input": lambda _values: 1 / 0})}).start()
    assert (bench.starts, bench.state.state) == ([], State.FAILED)
    assert "ZeroDivisionError" in bench.state.steps[0].error.message


class World:
    """A parent with one child, and everything that is on its way between them."""

    def __init__(self, bench: Any) -> None:
        """The parent has just begun."""
        self.bench = bench
        self.is_there = False
        self.state = State.EXECUTING
        self.asks: list[str] = []
        self.read = 0  # of what was left for the child
        self.mail: list[Any] = []  # for the parent

    def start(self) -> None:
        """The last order to start the child is carried out."""
        bench = self.bench
        if not bench.state.family.starting:
            return
        order = bench.starts[-1]
        self.is_there |= bench.state.state not in (State.PAUSING, State.CANCELLING)
        report = ChildStarted(step_no=0, child=order.child, exists=self.is_there)
        bench.do(lambda turn: children.take_started(turn, report))

    def hear(self) -> None:
        """The child reads its next message."""
        if self.read == len(self.bench.rows.posts):
            return
        post = self.bench.rows.posts[self.read]
        self.read += 1
        assert self.is_there, "told before it was there"
        if self.state in (State.COMPLETED, State.CANCELLED):
            return
        if post.kind == "Pause":
            self.asks.append(post.command_id)
            self.state = State.PAUSING if self.state is State.EXECUTING else self.state
        elif post.kind == "Resume":
            self.state = State.EXECUTING
        else:
            self._end(State.CANCELLED)

    def rest(self) -> None:
        """A child that is to rest does."""
        if self.state in (State.PAUSING, State.PAUSED):
            self.state = State.PAUSED
            order = self.bench.starts[-1]
            for ask in self.asks:
                self.mail.append(ChildRested(id=f"{ask}.rested", child=order.child, step_no=0, ask=ask))
            self.asks.clear()

    def finish(self) -> None:
        """A child that runs comes to its end."""
        if self.is_there and self.state in (State.EXECUTING, State.PAUSING):
            self._end(State.COMPLETED)

    def deliver(self) -> None:
        """The parent reads its next message."""
        if self.mail:
            self.bench.tell(self.mail.pop(0))

    def tell(self, kind: type) -> None:
        """Somebody gives the parent a command."""
        self.bench.tell(kind(id=self.bench.id()))

    def crash(self) -> None:
        """The parent's owner dies; another one takes it up."""
        self.bench.take_up(died=True)

    def come_to_rest(self) -> None:
        """Everything that is on its way arrives."""
        for _ in range(20):
            self.start()
            self.hear()
            self.rest()
            self.deliver()

    def _end(self, state: State) -> None:
        self.state = state
        child = self.bench.starts[-1].child
        self.mail.append(
            ChildEnded(id=f"{child}.ended", child=child, step_no=0, state=state, outputs=msgspec.Raw(b"1"))
        )


EVENTS = {
    "start": World.start,
    "hear": World.hear,
    "rest": World.rest,
    "finish": World.finish,
    "deliver": World.deliver,
    "pause": lambda world: world.tell(Pause),
    "resume": lambda world: world.tell(Resume),
    "cancel": lambda world: world.tell(Cancel),
    "crash": World.crash,
}


@settings(max_examples=300, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(EVENTS)), max_size=14))
def test_in_whatever_order_things_happen_the_two_agree_in_the_end(make_bench: Make, names: list[str]):
    """A parent that rests has no child that runs; one that goes on comes to its end."""
    world = World(make_bench([()], steps={0: calls()}).start())
    for name in names:
        EVENTS[name](world)
    world.come_to_rest()
    state = world.bench.state.state
    assert state in (State.AWAITING_COMPLETION, State.PAUSED, State.COMPLETED, State.CANCELLED)
    if state is State.PAUSED:
        assert not world.is_there or world.state is not State.EXECUTING
    if state is State.AWAITING_COMPLETION:
        assert world.state is State.EXECUTING
    if state is State.CANCELLED:
        assert not world.is_there or world.state in (State.COMPLETED, State.CANCELLED)
    world.tell(Resume)
    world.come_to_rest()
    world.finish()
    world.come_to_rest()
    assert world.bench.state.state in (State.COMPLETED, State.CANCELLED)


def test_messages_of_children_are_read_back_from_the_inbox():
    """As whoever performs the parent finds them."""
    message = ChildEnded(id="m", child="c", step_no=0, state=State.COMPLETED, outputs=msgspec.Raw(b'{"a":1}'))
    row = Message(
        no=1,
        execution_no=1,
        command_id="m",
        kind="ChildEnded",
        payload=msgspec.json.encode(message),
        sender="c",
        created_at=None,  # type: ignore[arg-type]
        applied_version=None,
        answer=None,
    )
    assert posted(row).command == message


def being_undone(make_bench: Make) -> Any:
    """A step with a compensation, then a child that has completed, then a body; it is rolled back."""
    bench = make_bench([(), (0,), (1,)], steps={1: calls()}, undo={0: {}}).start()
    bench.complete(0)
    report = ChildStarted(step_no=1, child=bench.starts[-1].child)
    bench.do(lambda turn: children.take_started(turn, report))
    ended(bench)
    bench.tell(Rollback(id=bench.id(), reason="rain"))
    bench.unwind()
    return bench


def test_a_child_is_asked_to_undo_itself_before_what_its_step_was_built_upon(make_bench: Make):
    """Nothing else happens until it has; its end undoes the step."""
    bench = being_undone(make_bench)
    bench.tell(Rollback(id=bench.id(), reason="rain"))
    bench.advance(100)
    assert [order.child for order in bench.undone] == [bench.starts[-1].child]
    assert not bench.bodies
    ended(bench, State.ROLLED_BACK)
    assert bench.states()[:2] == ["completed", "compensated"]
    assert list(bench.bodies) == [3]
    bench.complete(3)
    assert bench.state.state is State.ROLLED_BACK


@pytest.mark.parametrize("waits", [False, True])
def test_what_a_later_attempt_has_done_is_undone(make_bench: Make, *, waits: bool):
    """Although it has come to its end with the first that is heard of its child."""
    steps = {0: calls(retry=AT_ONCE, wait={"waits": waits})}
    bench = make_bench([(), (0,)], steps=steps, undo={0: {}}).start()
    refused(bench)
    if waits:
        ended(bench)
    else:
        started(bench)
    assert bench.states()[:2] == ["completed", "running"]
    bench.tell(Rollback(id=bench.id(), reason="rain"))
    bench.unwind()
    assert list(bench.bodies) == [2]


def test_whoever_takes_up_a_parent_asks_the_child_once_more_under_another_id(make_bench: Make):
    """The first asking may have been heard or not; the end of the child counts once."""
    bench = being_undone(make_bench)
    bench.take_up(died=True)
    first, second = bench.undone
    assert (first.child, first.id) != (second.child, second.id)
    assert first.child == second.child
    ended(bench, State.ROLLED_BACK)
    ended(bench, State.ROLLED_BACK)
    assert bench.events().count("step_compensated") == 1


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_child_that_could_not_be_undone_is_asked_again_by_a_retry(make_bench: Make, *, is_cut: bool):
    """Or after a crash: that it could not is no row of its parent."""
    bench = being_undone(make_bench)
    ended(bench, State.FAILED)
    assert bench.state.state is State.FAILED
    assert bench.state.error is not None
    assert "could not be undone: s1 (ChildNotUndone: " in bench.state.error.message
    assert "left as they are: s0" in bench.state.error.message
    if is_cut:
        bench.take_up()
    bench.tell(Retry(id=bench.id()))
    assert len(bench.undone) == 2
    report = ChildUndone(child=bench.undone[-1].child)
    bench.do(lambda turn: undoing.take_undone(turn, report.child, report.error))
    bench.complete(3)
    assert bench.state.state is State.ROLLED_BACK


def test_what_is_heard_of_a_child_after_the_undoing_was_called_off_says_nothing(make_bench: Make):
    """Where it stands is found out by the retry."""
    bench = being_undone(make_bench)
    bench.tell(Cancel(id=bench.id()))
    assert bench.state.state is State.FAILED
    child = bench.undone[-1].child
    bench.do(lambda turn: undoing.take_undone(turn, child, None))
    assert bench.states()[1] == "completed"
    bench.tell(Retry(id=bench.id()))
    assert len(bench.undone) == 2
