"""Guards whose commits are of unknown outcome: no slot is lost, and none is given twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from perdure.actors.attempt.guards import PATIENCE_MS, Entrance, Guards
from perdure.actors.attempt.held import Pass, Refused
from perdure.actors.instructions.guard import CircuitPolicy, Guard
from perdure.actors.messages import Failed, Nudge
from perdure.runtime.testing.virtual import virtual_time
from perdure.store.errors import Conflict, OutcomeUnknown
from perdure.store.protocol import Answer
from perdure.store.records import Error, SharedGuard
from perdure.store.scripts.guards import Entered, LeaveGuard, MoveCircuit, PassGuard, Rate
from perdure.store.writes import Write

FAILED = Failed(Error(type="OSError", message="down"))
SEEDS = 60
PASSES = 12
ROOM = 2
SLOW_S = 0.3  # what an execution takes to come back that has to be taken up first


class SharedSlots:
    """A store and its writer in one: slots and a circuit in memory; commits take a while, in order."""

    def __init__(self, chance: random.Random | None = None) -> None:
        """With `chance` a third of the commits do not say whether they have been kept."""
        self.held: dict[str, int] = {}
        self.circuit: tuple[bytes | None, int] = None, 0
        self.shut_until = 0
        self._chance = chance
        self._unsure: list[bool] = []
        self._queue: deque[tuple[Write, asyncio.Future[Answer]]] = deque()

    def be_unsure(self, *, is_kept: bool) -> None:
        """Not to say what became of the next commit that gives a slot back."""
        self._unsure.append(is_kept)

    async def write(self, write: Write, *, is_patient: bool = False) -> Answer:
        """Commit, and wait for that."""
        return await self.submit(write, is_patient=is_patient)

    def submit(self, write: Write, *, is_patient: bool = False) -> asyncio.Future[Answer]:
        """Commit after those before it."""
        assert is_patient
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        self._queue.append((write, done))
        loop.call_later(0.001, self._commit)
        return done

    def _commit(self) -> None:
        write, done = self._queue.popleft()
        is_known = is_kept = True
        if self._chance is not None and self._chance.random() < 1 / 3:
            is_known, is_kept = False, self._chance.random() < 1 / 2
        elif self._unsure and isinstance(write, LeaveGuard):
            is_known, is_kept = False, self._unsure.pop()
        answer = self._apply(write) if is_kept else None
        if done.done():
            return
        if is_known and not isinstance(answer, Conflict):
            done.set_result(answer)
        else:
            done.set_exception(answer if is_known else OutcomeUnknown("the disk does not say"))

    def _apply(self, write: Write) -> Any:
        if isinstance(write, PassGuard):
            if len(self.held.keys() - {write.holder}) >= (write.slots or 0):
                return Entered("concurrency")
            if write.at < self.shut_until:
                return Entered("rate", self.shut_until)
            self.held[write.holder] = write.runner_no
            return Entered()
        if isinstance(write, LeaveGuard):
            if self.held.get(write.holder) == write.runner_no:
                del self.held[write.holder]
            return None
        assert isinstance(write, MoveCircuit)
        if write.version != self.circuit[1]:
            return Conflict(write.scope, expected=write.version, current=self.circuit[1])
        self.circuit = write.circuit, write.version + 1
        return write.version + 1

    async def guard(self, scope: str) -> SharedGuard:
        """How it stands."""
        await anyio.sleep(0.01)
        circuit, version = self.circuit
        found = None if circuit is None else json.loads(circuit)
        return SharedGuard(
            scope=scope, ready_at_us=0, circuit_version=version, circuit=found, slots_taken=len(self.held)
        )


class Listed:
    """A membership: the first runner of all."""

    no = 1

    async def as_listed(self, write: Callable[[int], Awaitable[Answer]]) -> Answer:
        """Nobody takes it off the list."""
        return await write(self.no)


def guards_of(slots: Any) -> Guards:
    """The guards of a runtime on that store."""
    return Guards(slots, slots, Listed(), now_ms=lambda: int(anyio.current_time() * 1_000))  # type: ignore[arg-type]


def entrance(guards: Guards, holder: str, guard: Guard) -> Entrance:
    """The way of an attempt."""
    return Entrance(guards, Pass(guard=guard, holder=holder, execution_id=holder, nudge=Nudge(0, 0, 1)))


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_the_slot_of_one_that_comes_again_and_is_refused_elsewhere_is_given_back(*, is_kept: bool):
    """Its return was of unknown outcome, and it did not get as far as the slots the next time."""

    @virtual_time
    async def scenario() -> None:
        slots = SharedSlots()
        guards = guards_of(slots)
        guard = Guard(scope="a", concurrency=2, circuit=CircuitPolicy(errors=1))
        own, other = (entrance(guards, name, guard) for name in ("own", "other"))
        async with anyio.create_task_group() as group:
            guards.connect(spawn=group.start_soon, nudge=lambda _id, _nudge: None)
            await own.enter()
            await other.enter()
            other.leave(FAILED, has_begun=True, has_timed_out=False)  # which opens the circuit
            await anyio.sleep(1)
            slots.be_unsure(is_kept=is_kept)
            own.leave(None, has_begun=True, has_timed_out=False)
            with pytest.raises(Refused, match="circuit"):
                await entrance(guards, "own", guard).enter()
            await anyio.sleep(1)
        assert slots.held == {}

    scenario()


@virtual_time
async def test_one_that_gives_up_just_as_room_comes_is_told_of_it_after_it_was_held():
    """Told before, its execution would not know yet that it waits, and nobody else would have the room."""
    told: list[str] = []
    guards = guards_of(SharedSlots())
    guard = Guard(scope="a", concurrency=2)
    first, second, late = (entrance(guards, name, guard) for name in ("first", "second", "late"))
    guards.connect(spawn=lambda *_: None, nudge=lambda id_, _: told.append(f"{id_} may come"))
    await first.enter()
    await second.enter()

    async def come() -> None:
        try:
            await late.enter()
        except Refused:
            told.append("late is held")

    async with anyio.create_task_group() as group:
        group.start_soon(come)
        await anyio.sleep(PATIENCE_MS / 1_000 - 0.0015)
        first.leave(None, has_begun=True, has_timed_out=False)  # it asks again, until its patience ends
        await anyio.sleep(0.0003)
        second.leave(None, has_begun=True, has_timed_out=False)
    await anyio.sleep(0.1)
    assert told == ["late is held", "late may come"]


@virtual_time
async def test_one_that_is_held_for_an_older_one_on_its_way_has_the_room_that_this_one_leaves():
    """It does not ask, as the other goes first; there may be room for both."""
    came: dict[str, float] = {}
    guards = guards_of(SharedSlots())
    guard = Guard(scope="a", concurrency=2)

    async def come(holder: str, after_s: float = 0) -> None:
        await anyio.sleep(after_s)
        with suppress(Refused):
            await entrance(guards, holder, guard).enter()
            came[holder] = anyio.current_time()

    async with anyio.create_task_group() as group:

        def call(id_: str, _: Nudge) -> None:
            group.start_soon(come, id_, SLOW_S if id_ == "older" else 0)

        guards.connect(spawn=group.start_soon, nudge=call)
        first, second = (entrance(guards, name, guard) for name in ("first", "second"))
        await first.enter()
        await second.enter()
        for name in ("older", "younger"):
            group.start_soon(come, name)
            await anyio.sleep(PATIENCE_MS / 1_000 + 1)
        for way in (first, second):
            way.leave(None, has_begun=True, has_timed_out=False)
            await anyio.sleep(0.01)
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    assert 0 < came["younger"] - came["older"] < SLOW_S


@virtual_time
async def test_while_the_rate_is_shut_for_long_whoever_comes_calls_nobody():
    """Who was held would start and be held again, each time; its own time tells it."""
    told: list[str] = []
    slots = SharedSlots()
    guards = guards_of(slots)
    guard = Guard(scope="a", concurrency=2, rate=Rate(count=1, period_ms=60_000))
    guards.connect(spawn=lambda *_: None, nudge=lambda id_, _: told.append(id_))

    async def come(holder: str) -> None:
        with pytest.raises(Refused):
            await entrance(guards, holder, guard).enter()

    first = entrance(guards, "first", guard)
    await first.enter()
    slots.shut_until = round(anyio.current_time() * 1_000) + 60_000
    await come("oldest")
    first.leave(None, has_begun=True, has_timed_out=False)
    await anyio.sleep(1)
    told.clear()
    for number in range(10):
        await come(f"n{number}")
        await anyio.sleep(0.1)
    assert told == []


def test_no_slot_is_lost_or_given_twice_whatever_becomes_of_commits():
    """Attempts come, are refused, are cut short and come again, and a third of the commits say nothing."""
    for seed in range(SEEDS):
        print(f"seed {seed}")
        _play(random.Random(seed))


def _play(chance: random.Random) -> None:
    guard = Guard(scope="a", concurrency=ROOM)
    inside: set[str] = set()

    async def pass_often(guards: Guards, slots: SharedSlots, holder: str) -> None:
        for _ in range(PASSES):
            way = entrance(guards, holder, guard)
            with anyio.move_on_after(chance.choice([0.0005, 0.002, 0.01, PATIENCE_MS])):
                try:
                    await way.enter()
                except Refused:
                    await anyio.sleep(chance.choice([0, 0.001, 0.5]))
                    continue
                assert holder in slots.held
                inside.add(holder)
                assert len(inside) <= ROOM
                try:
                    await anyio.sleep(chance.choice([0.0, 0.003, 0.7]))
                    assert holder in slots.held, "the slot was given to somebody else"
                finally:
                    inside.discard(holder)
                    way.leave(None, has_begun=True, has_timed_out=False)

    @virtual_time
    async def scenario() -> None:
        slots = SharedSlots(chance)
        guards = guards_of(slots)
        async with anyio.create_task_group() as group:
            for holder in "abcde":
                group.start_soon(pass_often, guards, slots, holder)
        await anyio.sleep(10)
        assert slots.held == {}

    scenario()
