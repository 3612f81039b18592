"""The runtime under virtual time: a year passes in a second, and the same seed is the same run.

`run_virtual(main, seed=…)` runs a program on an event loop whose clock only moves when nothing
else can; `VirtualRuntime` is a `Runtime` with its store inline, its chance and ids from a seed. The
SQL is the real store's; only the thread between is missing.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

from perdure.actors.kernel.testing import VIRTUAL_EPOCH, VirtualLoop, run_virtual, virtual_clock
from perdure.runtime.keys import keys_of
from perdure.runtime.runtime import Runtime
from perdure.runtime.seams import Seams
from perdure.store import SQLiteStore
from perdure.store.protocol import Store
from perdure.store.scripts.sealing import Keys

__all__ = [
    "VIRTUAL_EPOCH",
    "VirtualRuntime",
    "run_virtual",
    "virtual_backend",
    "virtual_seams",
    "virtual_time",
]

P = ParamSpec("P")
T = TypeVar("T")


@overload
def virtual_time(test: Callable[P, Coroutine[Any, Any, T]], /) -> Callable[P, T]: ...


@overload
def virtual_time(
    *, seed: int | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, T]]: ...


def virtual_time(
    test: Callable[..., Coroutine[Any, Any, Any]] | None = None, /, *, seed: int | None = None
) -> Callable[..., Any]:
    """Make a plain function of an async one, which runs on a loop with virtual time of its own.

    `@virtual_time` or `@virtual_time(seed=7)` above an `async def test_…`: any test runner can call
    it, without a plugin for async tests. With a seed, tasks that are ready together take turns in an
    order drawn from it.
    """

    def decorate(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            return run_virtual(lambda: function(*args, **kwargs), seed=seed)

        return run

    return decorate if test is None else decorate(test)


def virtual_backend(seed: int | None = None) -> tuple[str, dict[str, Any]]:
    """What an `anyio_backend` fixture returns so that anyio's async tests run in virtual time."""
    return "asyncio", {"loop_factory": lambda: VirtualLoop(seed)}


class VirtualRuntime(Runtime):
    """A `Runtime` for use inside `run_virtual`; takes the same options and a `seed`."""

    def __init__(
        self,
        location: str | Path = ":memory:",
        *,
        seed: object = 0,
        keys: Keys | str | None = None,
        store: Store | None = None,
        seams: Seams | None = None,
        **options: Any,
    ) -> None:
        """`location` may be a file, to be opened again after a simulated crash."""
        if store is None:
            store, keys = SQLiteStore(str(location), inline=True, keys=keys_of(keys)), None
        options.setdefault("retention", None)  # a test looks at all it has done, a year later, too
        super().__init__(location, store=store, keys=keys, seams=seams or virtual_seams(seed), **options)


def virtual_seams(seed: object = 0) -> Seams:
    """The clock of the running virtual loop; chance and ids drawn from the text of `seed`."""
    source = random.Random(f"perdure {seed}")
    return Seams(clock=virtual_clock(), chance=source.random, new_id=_ids(source))


def _ids(source: random.Random) -> Callable[[], str]:
    """Ids that look like UUIDv7 and keep the order in which they were made."""
    count = 0

    def new_id() -> str:
        nonlocal count
        count += 1
        noise = source.getrandbits(60)
        return f"{count:08x}-0000-7000-8{noise >> 48:03x}-{noise & (2**48 - 1):012x}"

    return new_id
