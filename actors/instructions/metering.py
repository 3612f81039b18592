"""Where a test learns what steps report to have used, and can keep further ones from beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from perdure.store.usage import Usage


class Meter(Protocol):
    """Reads what is used; either method may raise, which fails the attempt."""

    def take(self, usage: Usage) -> None:
        """An attempt has reported this."""
        ...

    def check(self) -> None:
        """A body is about to begin."""
        ...


class Metering:
    """`meter` is None but in tests that asked for one."""

    def __init__(self) -> None:
        """Nothing is metered."""
        self.meter: Meter | None = None

    @contextmanager
    def by(self, meter: Meter) -> Iterator[None]:
        """Let it read everything that is used inside the block, in this process."""
        before, self.meter = self.meter, meter
        try:
            yield
        finally:
            self.meter = before


metering = Metering()
