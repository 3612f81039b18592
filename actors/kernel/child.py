"""One supervised child: its incarnations, one after the other, in the same slot.

The wrapper is where errors stop. Whatever an incarnation raises, `SystemExit` and
`KeyboardInterrupt` included, becomes a value that is judged; so the task group above sees no
errors and siblings never notice. Cancellation alone passes, and only when it was asked for: a
`CancelledError` nobody requested (an awaited future was cancelled elsewhere) is a crash like any
other.

The child's scope is shielded, so that only its supervisor cancels it, in an order of its own
choosing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from perdure.actors.kernel.actor import Cell
from perdure.actors.kernel.classify import classify
from perdure.actors.kernel.envelope import Envelope
from perdure.actors.kernel.errors import ActorRestarted, ActorStopped, MailIgnored, PoisonMessage
from perdure.actors.kernel.hooks import faults
from perdure.actors.kernel.mailbox import Mailbox
from perdure.actors.kernel.ref import Ref, Stop
from perdure.actors.kernel.reports import ChildExit, DeadLetter, Down, Reason, Stuck, notify
from perdure.actors.kernel.restart import Action, Crash, Restart, Verdict, decide
from perdure.actors.kernel.scope import cancel_scope
from perdure.actors.kernel.spec import ChildSpec, Listeners
from perdure.actors.kernel.stacks import format_stack

M = TypeVar("M")


class Child(Generic[M]):
    """A slot with a life in it; made and owned by a supervisor."""

    def __init__(
        self,
        spec: ChildSpec[M],
        *,
        mailbox: Mailbox[M] | None,
        random: Callable[[], float],
        listeners: Listeners,
        on_end: Callable[[Child[Any], Down], None],
    ) -> None:
        """`on_end` is called in the same instant in which the child stops to be one."""
        self.spec = spec
        mailbox = Mailbox() if mailbox is None else mailbox
        mailbox.name = mailbox.name or spec.name
        ref = Ref(name=spec.name, mailbox=mailbox, on_stop=self._stop_napping)
        self.cell: Cell[M] = Cell(name=spec.name, mailbox=mailbox, ref=ref)
        self._random = random
        self._listeners = listeners
        self._on_end = on_end
        self._scope = cancel_scope(shield=True)
        self._nap: anyio.CancelScope | None = None
        self._task: asyncio.Task[Any] | None = None

    async def live(self) -> None:
        """Run one incarnation after the other until the verdict is another one. Raises nothing."""
        self._task = asyncio.current_task()
        try:
            with self._scope:
                await self._run_incarnations()
        except asyncio.CancelledError:
            pass  # its task was cancelled by hand: it ends here, its siblings have no part in it
        finally:
            self.end(Reason.CANCELLED)

    async def halt(self) -> None:
        """Stop it: ask, then cancel, then report that it does not end, and wait on."""
        ref = self.cell.ref
        ref.stop()
        with anyio.move_on_after(self.spec.shutdown_s):
            await ref.wait_stopped()
        if self._task is None:
            self.end(Reason.CANCELLED)  # its task was cancelled by hand before it had begun
        if ref.down is not None:
            return
        self._scope.cancel()
        with anyio.move_on_after(self.spec.shutdown_s):
            await ref.wait_stopped()
        if ref.down is None:
            self._report_stuck()
            await ref.wait_stopped()

    def cancel(self) -> None:
        """End it without asking."""
        self._scope.cancel()

    def end(
        self, reason: Reason, *, error: BaseException | None = None, exit_: ChildExit | None = None
    ) -> None:
        """Close the slot: from here on there is no such actor. Without effect the second time.

        In one go, with no await in between: the mailbox closes, the supervisor forgets the name,
        whoever waits for an answer and whoever watches is told.
        """
        cell = self.cell
        if cell.ref.down is not None:
            return
        left = [envelope for envelope in cell.mailbox.close() if not isinstance(envelope.message, Stop)]
        down = Down(name=cell.name, reason=reason, error=error)
        self._on_end(self, down)
        owed = [envelope.reply for envelope in left if envelope.reply is not None]
        for reply in owed + cell.mailbox.abandoned(for_good=True):
            reply.fail(ActorStopped(cell.name, why=str(reason)))
        exit_ = exit_ or ChildExit(
            name=cell.name,
            incarnation=cell.incarnation,
            crash=None,
            error=error,
            verdict=Verdict(action=Action.STOP),
            crashes=cell.crashes,
        )
        notify(self._listeners.on_exit, msgspec.structs.replace(exit_, left_behind=len(left)))
        cell.ref.mark_down(down)

    async def _run_incarnations(self) -> None:
        """Run, judge, and go on as the verdict says."""
        cell = self.cell
        while True:
            cell.incarnation += 1
            before = cell.mailbox.statistics().acked, cell.achieved
            error = await self._run_incarnation()
            after = cell.mailbox.statistics().acked, cell.achieved
            exit_ = self._judge(error, did_nothing=after == before)
            if exit_.verdict.action is not Action.RESTART:
                self.end(self._reason(exit_), error=exit_.error, exit_=exit_)
                return
            notify(self._listeners.on_exit, exit_)
            for reply in cell.mailbox.abandoned(for_good=False):
                reply.fail(ActorRestarted(cell.name))
            await self._take_nap(exit_.verdict.delay_s)
            if cell.is_stopping:
                self.end(Reason.STOPPED, error=exit_.error)
                return

    async def _run_incarnation(self) -> BaseException | None:
        """Run one incarnation to its end and tell what it raised."""
        try:
            if faults.hit is not None:
                faults.hit("spawn:before")
            actor = self.spec.factory()
            actor.cell = self.cell
            if faults.hit is not None:
                faults.hit("spawn:after")
            await actor.run()
        except asyncio.CancelledError as error:
            if self._scope.cancel_called or (self._task is not None and self._task.cancelling()):
                raise
            return error
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 the supervision boundary: every end is judged
            return error
        return None

    def _judge(self, error: BaseException | None, *, did_nothing: bool) -> ChildExit:
        """Put the mailbox in order, count the crash and decide what follows."""
        cell, spec = self.cell, self.spec
        crash = None if error is None else classify(error, spec.classify)
        self._put_mail_back(error, blame=crash in {Crash.TRANSIENT, Crash.DETERMINISTIC})
        has_mail = len(cell.mailbox) > 0
        if cell.is_stopping:
            return self._exit(crash, error, Verdict(action=Action.STOP))
        if error is None and spec.restart is Restart.TRANSIENT and has_mail:
            if not did_nothing:
                return self._exit(None, None, Verdict(action=Action.RESTART))
            error, crash = MailIgnored(cell.name, waiting=len(cell.mailbox)), Crash.TRANSIENT
        if crash is Crash.OUTAGE:
            cell.outages += 1
        elif crash is not None or spec.restart is Restart.PERMANENT:
            cell.crashes += 1
        verdict = decide(
            spec.restart,
            crash,
            crashes=cell.outages if crash is Crash.OUTAGE else cell.crashes,
            intensity=spec.intensity,
            backoff=spec.backoff,
            random01=self._random(),
        )
        return self._exit(crash, error, verdict)

    def _exit(self, crash: Crash | None, error: BaseException | None, verdict: Verdict) -> ChildExit:
        """What is told of the incarnation that just ended."""
        return ChildExit(
            name=self.cell.name,
            incarnation=self.cell.incarnation,
            crash=crash,
            error=error,
            verdict=verdict,
            crashes=self.cell.crashes,
        )

    def _put_mail_back(self, error: BaseException | None, *, blame: bool) -> None:
        """Return what was in hand to the mailbox and bury what crashed too many incarnations."""
        dead = self.cell.mailbox.put_back(blame=blame)
        for envelope in dead:
            self._bury(envelope, error)
        if dead:
            self.cell.progress()  # the cause is out of the way; what comes next is a new story

    def _bury(self, envelope: Envelope[M], error: BaseException | None) -> None:
        """Tell the asker and the listener that a message is dead."""
        name = self.cell.name
        if envelope.reply is not None:
            poison = PoisonMessage(name, crashes=envelope.crashes)
            poison.__cause__ = error
            envelope.reply.fail(poison)
        notify(
            self._listeners.on_dead_letter,
            DeadLetter(
                name=name,
                message=envelope.message,
                control=envelope.control,
                crashes=envelope.crashes,
                error=error,
            ),
        )

    def _reason(self, exit_: ChildExit) -> Reason:
        """The word for a final end."""
        if self.cell.is_stopping:
            return Reason.STOPPED
        if exit_.verdict.action is Action.STOP:
            return Reason.FINISHED if exit_.error is None else Reason.CRASHED
        return _REASONS[exit_.verdict.action]

    async def _take_nap(self, delay_s: float) -> None:
        """Wait before the next incarnation; mail goes on arriving, a stop ends the wait."""
        if delay_s <= 0 or self.cell.is_stopping:
            await anyio.lowlevel.checkpoint()
            return
        with anyio.move_on_after(delay_s) as self._nap:
            await anyio.sleep_forever()
        self._nap = None

    def _stop_napping(self) -> None:
        """The child was asked to stop; it must not sleep through it."""
        if self._nap is not None:
            self._nap.cancel()

    def _report_stuck(self) -> None:
        """Tell where the child stands that does not end."""
        stack = "" if self._task is None else format_stack(self._task)
        stuck = Stuck(name=self.cell.name, waited_s=2 * self.spec.shutdown_s, stack=stack)
        notify(self._listeners.on_stuck, stuck)


_REASONS: Final = {
    Action.QUARANTINE: Reason.QUARANTINED,
    Action.ESCALATE: Reason.ESCALATED,
    Action.DROP: Reason.LOST,
}
