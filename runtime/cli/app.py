"""The command tree, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from perdure.runtime.cli.exit_codes import Exit, code_of_error, explain

# command → where it is; imported when it is used.
COMMANDS: Final[dict[str, str]] = {
    "run": "run:run",
    "worker": "worker:worker",
    "pause": "control:pause",
    "resume": "perform:resume",
    "cancel": "control:cancel",
    "retry": "perform:retry",
    "signal": "control:signal",
    "checkpoint": "control:checkpoint",
    "list": "look:list_",
    "status": "detail:status",
    "history": "look:history",
    "events": "detail:events",
    "checkpoints": "detail:checkpoints",
    "validate": "author:validate",
    "graph": "author:graph",
    "agents": "author:agents",
    "config": "author:config",
    "backup": "backup:backup",
    "restore-db": "backup:restore_db",
    "doctor": "doctor:doctor",
    "runners": "runners:runners",
    "completion": "completion:completion",
}

HELP_FLAGS: Final = frozenset({"--help", "-h"})


def make_app() -> App:
    """The tree of commands, nothing of it imported yet."""
    app = App(
        name="perdure",
        help="Durable workflows that survive a crash.",
        help_flags=(),
        version_flags=(),
    )
    for name, place in COMMANDS.items():
        app.command(f"perdure.runtime.cli.{place}", name=name)
    return app


def invoke(tokens: Sequence[str]) -> int:
    """Carry out a command line; an error becomes one screen on stderr and an exit code."""
    app = make_app()
    try:
        if tokens[0] in COMMANDS and HELP_FLAGS & set(
            tokens[: tokens.index("--") if "--" in tokens else None]
        ):
            from perdure.runtime.cli.help import command_help

            sys.stdout.write(command_help(app, tokens[0]))
            return Exit.DONE
        code = app(
            tokens, exit_on_error=False, print_error=False, result_action="return_value", verbose=False
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the border: recorded as text and code
        return _report(_the_one(error), is_debugging="--debug" in tokens)
    return int(code or 0)


def _the_one(error: BaseException) -> BaseException:
    """The error inside task groups' wrappings, where there is just one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _report(error: BaseException, *, is_debugging: bool) -> int:
    code = code_of_error(error)
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("\nperdure: interrupted\n")
        return code
    if is_debugging and not isinstance(error, CycloptsError):
        traceback.print_exception(error, file=sys.stderr)
    sys.stderr.write(explain(error) + "\n")
    if isinstance(error, CycloptsError):
        sys.stderr.write("try: perdure --help\n")
    return code
