"""The guards that guarded steps pass before their bodies run: slots, rates and circuits that runners share.

What is shared is in the store, and the store decides. A step that is not let through waits here in its
task for a moment, in the order of age; then it is held: its execution keeps a row and a time at which
it asks again, and nothing runs for it. When something here makes room before, the one that has been
held longest is told.

While the store cannot be read, a circuit counts as it was known to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio
import msgspec

from perdure.actors.attempt import circuit as machine
from perdure.actors.attempt.circuit import CLOSED, Circuit, CircuitState
from perdure.actors.attempt.held import HELD_MAX, Held, Here, Pass, Refused
from perdure.actors.cluster.membership import Membership
from perdure.actors.errors import AgentUnavailable
from perdure.actors.instructions.guard import OnOpen
from perdure.actors.log import get_logger
from perdure.actors.messages import Completed, Failed, Nudge
from perdure.actors.writer import Writer
from perdure.store.errors import Conflict, OutcomeUnknown, StoreError
from perdure.store.protocol import Answer, Store
from perdure.store.scripts.guards import Entered, LeaveGuard, MoveCircuit, PassGuard

PATIENCE_MS: Final = 1_000  # how long a step waits in its task before it is held as a row
HELD_MS_MAX: Final = 30_000  # how long one is held before it asks again, should nobody tell it
FRESH_MS: Final = 1_000  # how long a closed circuit is believed to be closed without looking
SWAPS_MAX: Final = 20  # tries to move a circuit that others move as well


Spawn = Callable[..., object]
Decide = Callable[[Circuit, int], tuple[Circuit, int | None]]

log = get_logger("perdure.guards")


class Guards:
    """What guards the agents of one runtime. It is connected while executions run."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        membership: Membership,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        """Nobody has come yet; `now_ms` is wall time."""
        self._store = store
        self._writer = writer
        self._membership = membership
        self.now_ms = now_ms
        self._spawn: Spawn | None = None
        self._nudge: Callable[[str, Nudge], None] | None = None
        self._here: dict[str, Here] = {}

    def connect(self, *, spawn: Spawn, nudge: Callable[[str, Nudge], None]) -> None:
        """`spawn` starts a task of the runtime, `nudge` tells an execution that a step may try again."""
        self._spawn, self._nudge = spawn, nudge

    def disconnect(self) -> None:
        """Tell nobody any more: the runtime closes."""
        self._spawn = self._nudge = None

    async def enter(self, entry: Pass) -> None:
        """Return when the step may run. Raises Refused, AgentUnavailable; whoever enters has to leave."""
        guard = entry.guard
        here = self._here.setdefault(guard.scope, Here())
        came_at = here.came_at(entry.holder, self.now_ms())
        here.inside.add(entry.holder)
        try:
            await self._pass_circuit(entry, here)
            if guard.concurrency is not None or guard.rate is not None:
                await self._pass_store(entry, here, came_at=came_at)
        except BaseException:
            self._go(entry, here)
            raise
        here.asked_at.pop(entry.holder, None)

    async def _pass_store(self, entry: Pass, here: Here, *, came_at: int) -> None:
        """Take a slot and one of the rate, in line for as long as patience lasts."""
        asked = Entered("rate" if here.shut_until > self.now_ms() else "concurrency")
        has_asked = is_in = False
        try:
            with anyio.move_on_after(0 if self._is_hopeless(here, came_at) else PATIENCE_MS / 1_000):
                async with here.turnstile:
                    while not (is_in or self._is_hopeless(here, came_at)):
                        here.room, has_asked = anyio.Event(), True
                        asked = await self._ask(entry, here)
                        is_in = asked.held_by is None
                        if not is_in:
                            await _room(here, asked.retry_at, now=self.now_ms())
        finally:
            if not is_in:
                self._report(entry, is_good=None)
        if not is_in:
            raise self._held(entry, here, asked, came_at=came_at, has_asked=has_asked)
        if entry.guard.rate is not None or here.has_passed_by:
            here.has_passed_by = False
            self._call(here)

    def _is_hopeless(self, here: Here, came_at: int) -> bool:
        """Whether others go first: somebody held has been asking for longer, or it is shut for long."""
        now = self.now_ms()
        return here.shut_until > now + PATIENCE_MS or here.has_older(came_at, now)

    def _held(self, entry: Pass, here: Here, refused: Entered, *, came_at: int, has_asked: bool) -> Refused:
        """Remember one that was not let in, and say when it asks again should nobody tell it before."""
        now = self.now_ms()
        here.shut_until = max(here.shut_until, refused.retry_at or 0)
        until = now + min(max(now - came_at, PATIENCE_MS), HELD_MS_MAX)
        if entry.guard.rate is not None and (refused.held_by == "rate" or entry.guard.concurrency is None):
            until = max(now, here.shut_until) + here.ahead * entry.guard.rate.interval_us // 1_000
        here.hold(Held(entry, came_at, until))
        oldest = here.oldest(now)
        is_for_another = oldest is not None and oldest.entry is not entry
        if here.room.is_set() and (has_asked or is_for_another):
            # Somebody has left. If it is for this one, its execution must know first that it is held.
            asyncio.get_running_loop().call_soon(self._call, here)
        elif here.room.is_set():
            here.has_passed_by = True  # one on its way goes first; there may be more room than it takes
        return Refused(refused.held_by or "", agent=entry.guard.scope, until=until)

    async def _ask(self, entry: Pass, here: Here) -> Entered:
        """Ask the store, again while nobody can tell what it has granted: the same holder has one slot."""
        guard = entry.guard

        async def ask(runner_no: int) -> Answer:
            here.slots[entry.holder] = runner_no
            wish = PassGuard(
                scope=guard.scope,
                holder=entry.holder,
                runner_no=runner_no,
                slots=guard.concurrency,
                rate=guard.rate,
                at=self.now_ms(),
            )
            while True:
                with suppress(OutcomeUnknown):
                    return await self._writer.write(wish, is_patient=True)

        entered = await self._membership.as_listed(ask)
        assert isinstance(entered, Entered)
        return entered

    def leave(self, entry: Pass, *, is_good: bool | None, took_ms: int) -> None:
        """The step has ended: well, badly, or (None) called off. What it held is given back."""
        self._go(entry, self._here[entry.guard.scope], makes_room=True)
        self._report(entry, is_good=is_good, took_ms=took_ms)

    def _go(self, entry: Pass, here: Here, *, makes_room: bool = False) -> None:
        """Give back the slot that it has, or may have: what was asked for last may still be granted."""
        here.inside.discard(entry.holder)
        runner_no = here.slots.pop(entry.holder, None)
        if entry.guard.concurrency is None or runner_no is None:
            return
        with suppress(StoreError):  # the writer is closed: the slot goes with the runner
            wish = LeaveGuard(scope=entry.guard.scope, holder=entry.holder, runner_no=runner_no)
            left = self._writer.submit(wish, is_patient=True)
            left.add_done_callback(
                lambda done: self._has_left(done, entry, here, runner_no=runner_no, makes_room=makes_room)
            )

    def _has_left(
        self, done: asyncio.Future[Answer], entry: Pass, here: Here, *, runner_no: int, makes_room: bool
    ) -> None:
        """Somebody else may have the slot now. Whoever may still hold it gives it back once more.

        One that has come again meanwhile does so when it goes, so as not to give away what it has then.
        """
        error = None if done.cancelled() else done.exception()
        if isinstance(error, OutcomeUnknown):
            here.slots.setdefault(entry.holder, runner_no)
            if entry.holder not in here.inside:
                self._go(entry, here, makes_room=makes_room)
        elif makes_room and error is None and not done.cancelled():
            self._call(here)

    def _call(self, here: Here) -> None:
        """There is room, or will be: for the first in line, else for the one that was held longest."""
        here.room.set()
        now = self.now_ms()
        is_shut = here.shut_until > now + PATIENCE_MS  # who came would be held again: its time tells it
        oldest = None if here.turnstile.locked() or is_shut else here.tell_oldest(now)
        if oldest is not None:
            self._tell(oldest.entry)

    def _tell(self, entry: Pass) -> None:
        if self._nudge is not None:
            self._nudge(entry.execution_id, entry.nudge)

    async def _pass_circuit(self, entry: Pass, here: Here) -> None:
        policy = entry.guard.circuit
        if policy is None:
            return
        now = self.now_ms()
        is_fresh = here.read_at is not None and now - here.read_at < FRESH_MS
        if not (is_fresh and here.circuit.state is CircuitState.CLOSED):
            await self._look(entry.guard.scope, here)
        retry_at = await self._swap(
            entry,
            here,
            lambda circuit, at: machine.enter(circuit, policy, holder=entry.holder, now=at),
        )
        if retry_at is None:
            return
        if policy.on_open is OnOpen.FAIL:
            raise AgentUnavailable(entry.guard.scope, why=here.circuit.reason or "")
        if len(here.held_by_circuit) < HELD_MAX:
            here.held_by_circuit[entry.holder] = entry
        raise Refused("circuit", agent=entry.guard.scope, until=retry_at)

    def _report(self, entry: Pass, *, is_good: bool | None, took_ms: int = 0) -> None:
        """Tell the circuit what became of a step; if that closes it, those that were held may go on."""
        policy = entry.guard.circuit
        if policy is None:
            return
        here = self._here[entry.guard.scope]

        def leave(circuit: Circuit, now: int) -> tuple[Circuit, None]:
            after = machine.leave(
                circuit, policy, holder=entry.holder, now=now, is_good=is_good, took_ms=took_ms
            )
            return after, None

        if self._spawn is not None and leave(here.circuit, self.now_ms())[0] != here.circuit:
            self._spawn(self._swap_quietly, entry, here, leave)

    async def _swap_quietly(self, entry: Pass, here: Here, decide: Decide) -> None:
        with suppress(StoreError):
            await self._swap(entry, here, decide)

    async def _swap(self, entry: Pass, here: Here, decide: Decide) -> int | None:
        """Move the circuit as `decide` says, by compare-and-swap; one that stays as it is is not written."""
        scope = entry.guard.scope
        answer: int | None = None
        unsure: tuple[Circuit, int] | None = None  # what was written, perhaps, and its version
        for _ in range(SWAPS_MAX):
            before, version = here.circuit, here.version
            if (before, version) == unsure:
                return answer
            after, answer = decide(before, self.now_ms())
            if after == before:
                return answer
            move = MoveCircuit(
                scope=scope, version=version, circuit=msgspec.json.encode(after), at=self.now_ms()
            )
            try:
                written = await self._writer.write(move, is_patient=True)
            except (Conflict, OutcomeUnknown) as error:
                if isinstance(error, OutcomeUnknown):
                    unsure = after, version + 1
                await self._look(scope, here)
                continue
            assert isinstance(written, int)
            if written > here.version:
                here.circuit, here.version, here.read_at = after, written, self.now_ms()
            self._note(scope, here, before, after)
            return answer
        return answer

    async def _look(self, scope: str, here: Here) -> None:
        """Read the circuit; what is known stays known while the store is down."""
        with suppress(StoreError):
            found = await self._store.guard(scope)
            here.read_at = self.now_ms()
            if found is not None and found.circuit_version >= here.version:
                here.version = found.circuit_version
                here.circuit = CLOSED if found.circuit is None else msgspec.convert(found.circuit, Circuit)

    def _note(self, scope: str, here: Here, before: Circuit, after: Circuit) -> None:
        """Say that a circuit has changed, and let everybody go on whom it held."""
        if before.state is after.state:
            return
        log.warning("circuit_changed", agent=scope, state=after.state.value, reason=after.reason)
        if after.state is CircuitState.CLOSED:
            held, here.held_by_circuit = here.held_by_circuit, {}
            for entry in held.values():
                self._tell(entry)


class Entrance:
    """The way of one attempt through the guard of its agent, in and out."""

    __slots__ = ("_began_at", "_entry", "_guards")

    def __init__(self, guards: Guards, entry: Pass) -> None:
        """Not entered yet."""
        self._guards = guards
        self._entry = entry
        self._began_at: int | None = None

    async def enter(self) -> None:
        """Return when the body may begin. Raises Refused, AgentUnavailable."""
        await self._guards.enter(self._entry)
        self._began_at = self._guards.now_ms()

    def begin(self) -> None:
        """The body begins only now: what it has waited for in its process is none of the agent's time."""
        self._began_at = self._guards.now_ms()

    def leave(self, outcome: object, *, has_begun: bool, has_timed_out: bool) -> None:
        """The attempt has ended; what kept its body from beginning says nothing of the agent."""
        if self._began_at is None:
            return
        is_good: bool | None = None
        if has_timed_out or (has_begun and isinstance(outcome, Failed)):
            is_good = False
        elif isinstance(outcome, Completed):
            is_good = True
        took_ms = self._guards.now_ms() - self._began_at
        self._guards.leave(self._entry, is_good=is_good, took_ms=took_ms)


async def _room(here: Here, at: int | None, *, now: int) -> None:
    """Wait until somebody leaves, or for that moment."""
    with anyio.move_on_after(None if at is None else max(1, at - now) / 1_000):
        await here.room.wait()
