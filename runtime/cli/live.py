"""Watching an execution from a terminal (a live tree) or from a pipe (one line for each event)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from perdure.runtime.cli.render import duration, since, value
from perdure.runtime.cli.text import Cell, clean
from perdure.runtime.cli.tree import Line, skipped_since, tree

if TYPE_CHECKING:
    from perdure.runtime import Execution
    from perdure.runtime.cli.session import Session
    from perdure.store.records import Event

REFRESH_S: Final = 0.2  # fast enough for durations to look alive, slow enough to cost nothing
FRAME_LINES: Final = 4  # head, foot and the cursor's line around the tree
STEP_ENDS: Final = frozenset(
    {"step_completed", "step_failed", "step_cancelled", "step_skipped", "step_interrupted"}
)


class View(Protocol):
    """Shows an execution while somebody waits for it."""

    async def follow(self, execution: Execution) -> None:
        """Show until cancelled."""
        ...

    async def finish(self, execution: Execution) -> None:
        """Show how things stand at last."""
        ...

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Own the terminal inside; leave it in order."""
        ...

    def say(self, text: str) -> None:
        """Tell the person something beside the picture; the latest counts."""
        ...


def make_view(session: Session) -> View:
    """The live tree where stderr is a terminal that can move its cursor, else lines."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return TreeView(session)
    return LineView(session)


class TreeView:
    """A tree of levels and steps, drawn again as things happen."""

    def __init__(self, session: Session) -> None:
        """Draw on stderr, with the session's clock."""
        self._session = session
        console = Console(stderr=True, no_color=not session.has_colour_errors, highlight=False)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._console = console
        self._ended_ms: dict[str, int] = {}
        self._note = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Hide the cursor inside; give it back whatever happens."""
        with self._live:
            yield

    def say(self, text: str) -> None:
        """Put a line under the tree."""
        self._note = text

    async def follow(self, execution: Execution) -> None:
        """Draw a few times a second; the log tells when steps ended."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, execution)
            never = anyio.Event()
            while True:
                await self._draw(execution)
                with anyio.move_on_after(REFRESH_S):
                    await never.wait()

    async def finish(self, execution: Execution) -> None:
        """Draw the last picture from the whole log."""
        async for event in execution.events(follow=False):
            self._take(event)
        await self._draw(execution)

    async def _listen(self, execution: Execution) -> None:
        async for event in execution.events(follow=True):
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.type == "workflow_resumed":
            self._note = ""
        if event.step is not None and event.type in STEP_ENDS:
            self._ended_ms[event.step] = int(event.at.timestamp() * 1_000)

    async def _draw(self, execution: Execution) -> None:
        query = await execution.query()
        summary = await execution.status()
        now = self._session.now()
        head = [
            Cell(f"{clean(query['workflow'])} {execution.id}  ", "bold"),
            self._session.out.word(query["state"]),
            Cell(f"  {since(summary.started_at, summary.finished_at, now=now)}"),
        ]
        lines = tree(
            query,
            ended_ms=self._ended_ms,
            now_ms=int(now.timestamp() * 1_000),
            lines_max=max(1, self._console.size.height - FRAME_LINES),
        )
        foot = [[Cell(self._note, "yellow")]] if self._note else []
        self._live.update(_text([head, *lines, *foot]), refresh=True)


class LineView:
    """One line for each event that matters, for pipes and logs."""

    def __init__(self, session: Session) -> None:
        """Print on stderr."""
        self._session = session
        self._started_ms: dict[str, int] = {}
        self._last_id = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Nothing to own: lines are lines."""
        yield

    def say(self, text: str) -> None:
        """Print a line."""
        self._session.note(text)

    async def follow(self, execution: Execution) -> None:
        """Print what happens from now on, until cancelled."""
        async for event in execution.events(after=self._last_id, follow=True):
            self._print(event)

    async def finish(self, execution: Execution) -> None:
        """Print what has not been printed yet."""
        async for event in execution.events(after=self._last_id, follow=False):
            self._print(event)

    def skip_to(self, event_id: int) -> None:
        """Leave out what happened before: it was told by whoever watched then."""
        self._last_id = event_id

    def _print(self, event: Event) -> None:
        self._last_id = event.id
        if isinstance(event.data, Mapping) and event.data.get("automatic"):
            return  # a checkpoint nobody asked for: one after every level
        at_ms = int(event.at.timestamp() * 1_000)
        if event.type == "step_started" and event.step is not None:
            self._started_ms[event.step] = at_ms
        took = ""
        if event.type in STEP_ENDS and event.step in self._started_ms:
            took = f" after {duration(at_ms - self._started_ms[event.step])}"
        self._session.note(describe(event) + took)


def describe(event: Event) -> str:
    """One event as a sentence without its time."""
    words = event.type.replace("_", " ")
    if event.step is not None:
        words = f"{event.step}: {words.removeprefix('step ').removeprefix('hook ')}"
    if event.attempt is not None and event.attempt > 1:
        words += f" (attempt {event.attempt})"
    error = event.data.get("error") if isinstance(event.data, Mapping) else None
    if isinstance(error, Mapping):
        words += f": {error.get('type')}: {value(error.get('message'), limit=200)}"
    if event.type == "step_skipped":
        words += f": {skipped_since(event.data)}"
    return words


def _text(lines: list[Line]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for cell in line:
            text.append(clean(cell.text), style=cell.colour)
    return text
