"""What one command has in hand: its settings, its output, and the way to a runtime."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeVar

from perdure.actors.kernel.clock import SystemClock
from perdure.runtime.cli.logs import leave_out, show_logs
from perdure.runtime.cli.options import Common, UsageError
from perdure.runtime.cli.render import Format, Output
from perdure.runtime.cli.streams import tell
from perdure.runtime.cli.text import clean
from perdure.runtime.config import Config, resolve
from perdure.runtime.keys import keys_of
from perdure.store.errors import StoreError
from perdure.store.sqlite.migrate import has_schema
from perdure.store.urls import without_password

if TYPE_CHECKING:  # the runtime is imported when a command opens one
    from perdure.runtime import Agents, Runtime, Workflow
    from perdure.store.protocol import Store
    from perdure.store.scripts.questions import Questions

T = TypeVar("T")
Kind = Literal["run", "worker", "client"]
GARBAGE: Final = (50_000, 20, 100)  # new objects, then collections, before one looks: 10 MB at most lie about
TOLD_AS_ERRORS: Final = ("store_unavailable",)  # a client's one call ends with the same sentence


class NoDatabase(StoreError):
    """There is no database where one was expected; looking must not make an empty one."""

    def __init__(self, path: str) -> None:
        """`path` is where the database should be."""
        super().__init__(
            f"no database at {path}: `perdure run FILE` makes one; name another with --db or PERDURE_DB"
        )
        self.path = path


class Session:
    """One command's settings, output and messages."""

    def __init__(
        self, options: Common, *, config: Config, out: Output, has_colour_errors: bool = False
    ) -> None:
        """Made by `open_session`; tests may give an output of their own."""
        self.options = options
        self.config = config
        self.settings = config.settings
        self.out = out
        self.has_colour_errors = has_colour_errors

    def note(self, text: str) -> None:
        """Say something to whoever is watching; never data. That nobody does any more stops nothing."""
        tell(clean(text) + "\n")

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.fromtimestamp(SystemClock().now(), UTC)

    def runtime(
        self,
        kind: Kind,
        *,
        agents: Agents | None = None,
        workflows: Iterable[Workflow] = (),
        must_exist: bool = True,
    ) -> Runtime:
        """A runtime on the database in force, to be entered with `async with`. Raises NoDatabase."""
        from perdure.runtime import Runtime
        from perdure.store import store_at

        if must_exist:
            self.check_database()
        if kind != "client":
            make_folder_importable()
        leave_out(*(TOLD_AS_ERRORS if kind == "client" else ()))
        store = store_at(
            self.settings.db,
            durability=self.settings.durability,
            client=kind == "client",
            keys=keys_of(self.settings.keys),
            must_exist=must_exist,
        )
        return Runtime(
            self.settings.db,
            store=store,
            workflows=tuple(workflows),
            agents=agents,
            kind=kind,
            recover=kind == "worker",
            max_active=self.settings.max_active,
            max_active_steps=self.settings.max_active_steps,
            lease_s=self.settings.lease_s,
            crash_budget=self.settings.crash_budget,
            retention=self.settings.retention,
            webhooks=self.settings.webhooks,
        )

    def looking(self) -> AbstractAsyncContextManager[Questions | Store]:
        """The store of the database in force, only to be looked at. Raises NoDatabase."""
        from perdure.runtime.looking import looking_at

        self.check_database()
        return looking_at(self.settings.db, keys=keys_of(self.settings.keys))

    def store(self, *, must_exist: bool = False) -> Store:
        """The store of the database in force, not yet opened, for what needs no runtime."""
        from perdure.store import store_at

        keys = keys_of(self.settings.keys)
        return store_at(self.settings.db, client=True, keys=keys, must_exist=must_exist)

    def check_database(self) -> None:
        """Refuse to look into a file that is missing, or is not a database of ours. Raises NoDatabase."""
        path = self.settings.db
        if "://" not in path and not (Path(path).exists() and has_schema(path)):
            raise NoDatabase(path)

    def agents(self, spec: str | None = None) -> Agents | None:
        """The registry that `spec` or else the settings name, loaded; None where nothing is named."""
        spec = spec or self.settings.agents
        if spec is None:
            return None
        from perdure.runtime import load_agents

        return load_agents(spec)

    @property
    def agents_argument(self) -> str | None:
        """Where agents come from, if the command line itself says so."""
        return self.settings.agents if self.config.sources["agents"] == "argument" else None

    def command(self, *words: str) -> str:
        """A command line that can be pasted, on the same database; a password is not shown."""
        is_argument = self.config.sources["db"] == "argument"
        db = ["--db", without_password(self.settings.db)] if is_argument else []
        return shlex.join(["perdure", *words, *db])


def open_session(options: Common, *, agents: str | None = None, log_level: str | None = None) -> Session:
    """Find out what is in force for one command, and let its logs be seen.

    `agents` is the command's own option; `log_level` its own default, behind whatever is set.
    """
    config = resolve({"db": options.db, "agents": getattr(options, "agents", agents)})
    is_level_set = config.sources["log_level"] != "default"
    level = config.settings.log_level if is_level_set else log_level or config.settings.log_level
    show_logs(level=level, format=config.settings.log_format)
    if options.db == "":
        raise UsageError("--db: must not be empty")
    format_: Format = getattr(options, "format", "table")
    out = Output(sys.stdout, format=format_, in_colour=wants_colour(options.color, sys.stdout))
    return Session(options, config=config, out=out, has_colour_errors=wants_colour(options.color, sys.stderr))


def make_folder_importable() -> None:
    """Let steps written in Python be found as `python -m` finds modules: in the current folder first."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def wants_colour(choice: str, stream: IO[str]) -> bool:
    """Whether to colour what goes to that stream: the option, then NO_COLOR, FORCE_COLOR, the terminal."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def run_async(main: Callable[[], Coroutine[Any, Any, T]], *, is_fast: bool = False) -> T:
    """Run a coroutine; `is_fast` asks for uvloop where it is installed, and for patient garbage."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if is_fast:
        try:
            import uvloop
        except ModuleNotFoundError:
            pass
        else:
            factory = uvloop.new_event_loop
    with patient_garbage() if is_fast else nullcontext(), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


@contextmanager
def patient_garbage() -> Iterator[None]:
    """Look for garbage less often: what is alive in a process that performs thousands is walked each time.

    An execution in flight is a hundred objects, and none of them ends in a cycle.
    """
    before = gc.get_threshold()
    gc.set_threshold(*GARBAGE)
    try:
        yield
    finally:
        gc.set_threshold(*before)
