"""Where a suspended task stands, all the way down."""

from __future__ import annotations

import asyncio
import traceback
from types import FrameType
from typing import Any


def frames_of(task: asyncio.Task[Any]) -> list[FrameType]:
    """The frames of a suspended task, outermost first.

    `Task.get_stack` knows only the outermost; the rest hangs on what each coroutine awaits.
    """
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return frames


def format_stack(task: asyncio.Task[Any]) -> str:
    """The stack as a traceback shows it, most recent call last."""
    return "".join(
        traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames_of(task)).format()
    )


def format_whereabouts(task: asyncio.Task[Any]) -> str:
    """The stack in one line: the name, the calls, and the place of the last one."""
    frames = frames_of(task)
    if not frames:
        return f"{task.get_name()}: nowhere"
    calls = " → ".join(frame.f_code.co_name for frame in frames)
    return f"{task.get_name()}: {calls} at {frames[-1].f_code.co_filename}:{frames[-1].f_lineno}"
