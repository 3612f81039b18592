"""The places where a test can make the machine fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Faults:
    """One hook that is called at every fault point, with the name of the point.

    Points are named `operation:before` and `operation:after`. Those of the kernel are
    `mailbox.post`, `mailbox.take`, `mailbox.ack`, `spawn` (of an actor) and `timer`; above it come
    `commit`, `publish`, `body` (of a step), `doorbell.ring` and `lease.renew`. What the hook raises
    comes out of the operation: before it, nothing has happened yet; after it, it has. Unused, a point
    costs one check against None.
    """

    __slots__ = ("hit",)

    def __init__(self) -> None:
        """Nothing is installed."""
        self.hit: Callable[[str], None] | None = None

    @contextmanager
    def installed(self, hit: Callable[[str], None]) -> Iterator[None]:
        """Call `hit` at every point inside the block; not for two blocks at once."""
        assert self.hit is None, "another fault hook is installed"
        self.hit = hit
        try:
            yield
        finally:
            self.hit = None


faults = Faults()
