"""Reports a step that blocks the event loop, with the stack it blocks it in.

While bodies are in flight the loop beats a few times a second. A thread listens; when the beat
stays out it looks at what the loop's thread is doing and logs that once. At rest neither of them
does anything.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

from perdure.actors.log import get_logger

BEAT_S: Final = 0.2
SILENCE_S: Final = 0.7  # with a beat before and the listening in between, a block is told within 1 s

log = get_logger("perdure.step")


class Watchdog:
    """Made and used on the loop's thread; `wake` is called when the first body begins."""

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        """`is_busy` tells whether any body is in flight."""
        self._is_busy = is_busy
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beats = 0
        self._is_beating = False
        self._is_closed = False
        self._busy = threading.Event()
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="perdure-watchdog", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Listen from now on, as long as anything is in flight."""
        if not self._is_beating and not self._is_closed:
            self._is_beating = True
            self._busy.set()
            self._beat()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._busy.set()
        self._pause.set()
        self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        if self._is_closed or not self._is_busy():
            self._is_beating = False
            self._busy.clear()
            if self._is_closed:
                self._busy.set()
            return
        self._loop.call_later(BEAT_S, self._beat)

    def _listen(self) -> None:
        told = -1
        while True:
            self._busy.wait()
            if self._is_closed:
                return
            heard = self._beats
            if self._pause.wait(SILENCE_S):
                return
            if self._beats == heard and self._busy.is_set() and told != heard:
                told = heard
                self._tell()

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the only way to another thread's stack
        stack = "" if frame is None else "".join(traceback.format_stack(frame))
        log.warning("loop_blocked", silence_s=SILENCE_S, stack=stack)
