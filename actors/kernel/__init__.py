"""A small actor library of its own: mailboxes, actors, supervisors, and a clock that can be virtual."""

from perdure.actors.kernel.actor import STOPPED_S_MAX, Actor, Cell
from perdure.actors.kernel.alarms import Alarm, Alarms
from perdure.actors.kernel.classify import classify, flatten
from perdure.actors.kernel.clock import Clock, LoopClock, SystemClock, outside
from perdure.actors.kernel.envelope import POISON_CRASHES, Envelope, MailboxStatistics
from perdure.actors.kernel.errors import (
    ActorRestarted,
    ActorStopped,
    AskFailed,
    AskTimeout,
    Escalated,
    KernelError,
    MailIgnored,
    NameTaken,
    PoisonMessage,
    SupervisorClosed,
)
from perdure.actors.kernel.hooks import Faults, faults
from perdure.actors.kernel.mailbox import BATCH_MAX, MAILBOX_MAX, Mailbox
from perdure.actors.kernel.ref import Ref, Stop
from perdure.actors.kernel.reply import Reply
from perdure.actors.kernel.reports import ChildExit, DeadLetter, Down, Reason, Stuck
from perdure.actors.kernel.restart import Action, Backoff, Crash, Restart, Verdict, decide
from perdure.actors.kernel.scope import cancel_scope, is_cancelled
from perdure.actors.kernel.shielding import see_through
from perdure.actors.kernel.spec import INTENSITY, SHUTDOWN_S, ChildSpec
from perdure.actors.kernel.supervisor import Supervisor, Teardown
from perdure.actors.kernel.wakeup import Wakeup

__all__ = [
    "BATCH_MAX",
    "INTENSITY",
    "MAILBOX_MAX",
    "POISON_CRASHES",
    "SHUTDOWN_S",
    "STOPPED_S_MAX",
    "Action",
    "Actor",
    "ActorRestarted",
    "ActorStopped",
    "Alarm",
    "Alarms",
    "AskFailed",
    "AskTimeout",
    "Backoff",
    "Cell",
    "ChildExit",
    "ChildSpec",
    "Clock",
    "Crash",
    "DeadLetter",
    "Down",
    "Envelope",
    "Escalated",
    "Faults",
    "KernelError",
    "LoopClock",
    "MailIgnored",
    "Mailbox",
    "MailboxStatistics",
    "NameTaken",
    "PoisonMessage",
    "Reason",
    "Ref",
    "Reply",
    "Restart",
    "Stop",
    "Stuck",
    "Supervisor",
    "SupervisorClosed",
    "SystemClock",
    "Teardown",
    "Verdict",
    "Wakeup",
    "cancel_scope",
    "classify",
    "decide",
    "faults",
    "flatten",
    "is_cancelled",
    "outside",
    "see_through",
]
