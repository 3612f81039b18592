"""Everything the actor library raises on purpose."""

from __future__ import annotations


class KernelError(Exception):
    """The root of every error of the actor library."""


class ActorStopped(KernelError):
    """The actor has ended; nobody will ever read the message."""

    def __init__(self, name: str, *, why: str = "") -> None:
        """`name` is the actor's, `why` what it ended of, where that is known."""
        super().__init__(
            f"actor {name!r} has ended" + (f" ({why})" if why else "") + ": start it again or ask another one"
        )
        self.name = name
        self.why = why


class ActorRestarted(KernelError):
    """The incarnation that took the question is gone; its successor knows nothing of it."""

    def __init__(self, name: str) -> None:
        """`name` is the actor's."""
        super().__init__(
            f"actor {name!r} took the message, then was restarted before it answered: "
            "whether it acted on it is unknown; look, then ask again"
        )
        self.name = name


class AskTimeout(KernelError, TimeoutError):
    """The answer did not come in time; should it still come, nobody will see it."""

    def __init__(self, name: str, *, timeout_s: float) -> None:
        """`timeout_s` is how long the asker was ready to wait."""
        super().__init__(
            f"actor {name!r} did not answer within {timeout_s:g} s: "
            "it may still act on the message; ask again with more time, or look at what it is doing"
        )
        self.name = name
        self.timeout_s = timeout_s


class AskFailed(KernelError):
    """The answer was an error that must not be raised in the asker (a cancellation, an exit)."""

    def __init__(self, error: BaseException) -> None:
        """`error` is what was given as the answer; it is also the `__cause__`."""
        super().__init__(f"the answer was {error!r}, which would be mistaken for the asker's own")
        self.__cause__ = error


class PoisonMessage(KernelError):
    """The message crashed whoever handled it, every time; it was taken out of the mailbox."""

    def __init__(self, name: str, *, crashes: int) -> None:
        """`crashes` is how many incarnations of `name` died with the message in hand."""
        super().__init__(
            f"the message crashed actor {name!r} {crashes} times and was taken out of its mailbox: "
            "the cause is the error below; correct it before sending the message again"
        )
        self.name = name
        self.crashes = crashes


class MailIgnored(KernelError):
    """An incarnation returned and left mail behind without having handled any."""

    def __init__(self, name: str, *, waiting: int) -> None:
        """`waiting` is the number of messages that were left."""
        super().__init__(
            f"actor {name!r} returned with {waiting} messages waiting and none acknowledged: "
            "run() must take and ack() what is in the mailbox before it returns"
        )
        self.name = name
        self.waiting = waiting


class NameTaken(KernelError):
    """A child of that name is running under this supervisor."""

    def __init__(self, name: str, *, supervisor: str) -> None:
        """`name` is the child's, `supervisor` the name of its supervisor."""
        super().__init__(
            f"supervisor {supervisor!r} already has a child {name!r}: find() it, or stop it first"
        )
        self.name = name
        self.supervisor = supervisor


class SupervisorClosed(KernelError):
    """The supervisor is not running: it was not entered yet, or it is being torn down."""

    def __init__(self, name: str) -> None:
        """`name` is the supervisor's."""
        super().__init__(f"supervisor {name!r} is not running: start children inside its `async with` block")
        self.name = name


class Escalated(KernelError):
    """A child that must run cannot be kept running; the supervisor gives up with it."""

    def __init__(self, *, supervisor: str, child: str, error: BaseException | None) -> None:
        """`error` is what the child ended of, also the `__cause__`; None if it kept returning."""
        super().__init__(
            f"supervisor {supervisor!r} gives up: its child {child!r} cannot be kept running"
            + (f" ({error!r})" if error is not None else "")
        )
        self.supervisor = supervisor
        self.child = child
        self.__cause__ = error
