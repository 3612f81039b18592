"""A call that crosses into a worker process: by name, since functions themselves cannot travel."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from perdure.actors.wording import text_of, type_of
from perdure.runtime.agents.signature import Function

PIPES: Final = (0, 1)  # what a worker process is called, and answers, through
LOOK_S: Final = 0.2  # how often a worker process looks whether its program is alive


class ProcessCall:
    """Calls a function of a module; picklable, because only the function's name is kept."""

    __slots__ = ("_module", "_qualname")

    def __init__(self, function: Function) -> None:
        """Remember where `function` is defined."""
        self._module: str = function.__module__
        self._qualname: str = function.__qualname__
        _name_the_program()

    def __call__(self, _context: object, bound: dict[str, Any]) -> Any:
        """Import the function and call it. There is no StepContext on this side."""
        _end_with_the_parent()
        try:
            with _own_streams():
                found: Any = importlib.import_module(self._module)
                for part in self._qualname.split("."):
                    found = getattr(found, part)
                return found(**bound)
        except BaseException as error:  # noqa: BLE001 - it goes on in the other process
            raise _portable(error) from None


def _name_the_program() -> None:
    """Let what a worker process sends back of the program's own file be found here, too.

    It has loaded that file as `__mp_main__`; `multiprocessing` gives the program that second name as well.
    """
    program = sys.modules.get("__main__")
    if program is not None:
        sys.modules.setdefault("__mp_main__", program)


@contextmanager
def _own_streams() -> Iterator[None]:
    """Keep the pipes of this worker process out of the body's hands, and of programs that it starts.

    What those print would pass for the answer, and what they read would be the next call.
    """
    kept = [os.dup(number) for number in PIPES]
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        for number in PIPES:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, pipe in zip(PIPES, kept, strict=True):
            os.dup2(pipe, number, inheritable=False)
            os.close(pipe)
        os.close(nowhere)


def _portable(error: BaseException) -> BaseException:
    """The error itself where it can be made again in another process, else what it says.

    An exit would end this process after its answer, and with it the call that comes next.
    """
    import pickle  # noqa: PLC0415  what few need, few pay for

    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made the moment before
        is_portable = isinstance(error, Exception)
    except BaseException:  # noqa: BLE001 - its parts are other people's code
        is_portable = False
    return error if is_portable else RuntimeError(f"{type_of(error)}: {text_of(error)}")


@functools.cache
def _end_with_the_parent() -> None:
    """Let this worker process end soon after the program that uses it, however that ends.

    Else a killed program's body would go on beside the one that its next run starts.
    """
    parent = os.getppid()
    never = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            never.wait(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name="perdure-parent", daemon=True).start()
