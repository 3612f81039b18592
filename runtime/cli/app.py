"""The command tree, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError, UnknownCommandError, UnusedCliTokensError, ValidationError

from perdure.runtime.cli.exit_codes import Exit, code_of_error, explain
from perdure.runtime.cli.streams import leave_stdout, tell
from perdure.runtime.near import quoted

# command → where it is; imported when it is used. Two words: a command of a group.
COMMANDS: Final[dict[str, str]] = {
    "run": "run:run",
    "pick": "pick:pick",
    "worker": "worker:worker",
    "pause": "control:pause",
    "resume": "perform:resume",
    "cancel": "stop:cancel",
    "rollback": "stop:rollback",
    "retry": "perform:retry",
    "fork": "fork:fork",
    "signal": "control:signal",
    "approve": "approvals:approve",
    "reject": "approvals:reject",
    "checkpoint create": "control:checkpoint",
    "checkpoint show": "checkpoints:show",
    "checkpoint diff": "checkpoints:diff",
    "checkpoint prune": "checkpoints:prune",
    "list": "look:list_",
    "status": "detail:status",
    "approvals": "approvals:approvals",
    "history": "look:history",
    "stats": "stats:stats",
    "search": "search:search",
    "events": "detail:events",
    "items": "items:items",
    "checkpoints": "detail:checkpoints",
    "schedule add": "schedule:add",
    "schedule list": "timetable:list_",
    "schedule show": "timetable:show",
    "schedule next": "timetable:next_",
    "schedule history": "timetable:history",
    "schedule pause": "schedule:pause",
    "schedule resume": "schedule:resume",
    "schedule trigger": "schedule:trigger",
    "schedule backfill": "schedule:backfill",
    "schedule rm": "schedule:rm",
    "webhooks list": "webhooks:list_",
    "webhooks repeat": "webhooks:repeat",
    "publish": "publish:publish",
    "versions": "versions:versions",
    "activate": "versions:activate",
    "deactivate": "versions:deactivate",
    "diff": "versions:diff",
    "validate": "author:validate",
    "describe": "describe:describe",
    "graph": "author:graph",
    "plan": "plan:plan",
    "agents": "author:agents",
    "config": "author:config",
    "backup": "backup:backup",
    "restore-db": "backup:restore_db",
    "migrate": "migrate:migrate",
    "import": "imports:import_",
    "rekey": "rekey:rekey",
    "prune": "prune:prune",
    "doctor": "doctor:doctor",
    "runners": "runners:runners",
    "completion": "completion:completion",
}

# What the first word of a group means where no command of the group follows it.
IMPLIED: Final[dict[str, str]] = {"checkpoint": "create", "webhooks": "list"}

HELP_FLAGS: Final = frozenset({"--help", "-h"})


def make_app() -> App:
    """The tree of commands, nothing of it imported yet."""
    app = App(
        name="perdure",
        help="Durable workflows that survive a crash.",
        help_flags=(),
        version_flags=(),
    )
    groups: dict[str, App] = {"": app}
    for words, place in COMMANDS.items():
        group, _, name = words.rpartition(" ")
        if group not in groups:
            groups[group] = App(name=group, help_flags=(), version_flags=())
            app.command(groups[group])
        groups[group].command(f"perdure.runtime.cli.{place}", name=name)
    return app


def invoke(tokens: Sequence[str]) -> int:
    """Carry out a command line; an error becomes one screen on stderr and an exit code."""
    app = make_app()
    tokens = _spelt_out(tokens)
    try:
        if (text := _help(app, tokens)) is not None:
            sys.stdout.write(text)
            return Exit.DONE
        code = app(
            tokens, exit_on_error=False, print_error=False, result_action="return_value", verbose=False
        )
    except BrokenPipeError as error:
        return leave_stdout(error)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the border: recorded as text and code
        return _report(_first_of_ours(error), tokens)
    try:
        sys.stdout.flush()
    except OSError as error:
        unwritten = leave_stdout(error)
        return int(code or unwritten)
    return int(code or 0)


def _first_of_ours(error: BaseException) -> BaseException:
    """The error to tell, of those that task groups have wrapped, and of several at once."""
    from perdure.actors.kernel.classify import flatten, unwrapped
    from perdure.store.errors import PerdureError

    error = unwrapped(error)
    return next((each for each in flatten(error) if isinstance(each, PerdureError)), error)


def _spelt_out(tokens: Sequence[str]) -> Sequence[str]:
    """The command line with the command that a group's own word stands for: `checkpoint ID` makes one."""
    group, *rest = tokens
    if group not in IMPLIED or not (rest or IMPLIED[group] == "list"):
        return tokens
    if rest and (rest[0] in HELP_FLAGS or f"{group} {rest[0]}" in COMMANDS):
        return tokens
    return [group, IMPLIED[group], *rest]


def _help(app: App, tokens: Sequence[str]) -> str | None:
    """The help that is asked for; a group without a command asks, too."""
    is_asked = bool(HELP_FLAGS & set(tokens[: tokens.index("--") if "--" in tokens else None]))
    name, group = _command_in(tokens), _group_in(tokens)
    if name is not None and is_asked:
        from perdure.runtime.cli.help import command_help

        return command_help(app, name)
    if name is None and group and (is_asked or len(tokens) == 1):
        from perdure.runtime.cli.help import group_help

        return group_help(app, tokens[0], group)
    return None


def _command_in(tokens: Sequence[str]) -> str | None:
    """The command that is called, of one word or two."""
    return next((words for words in (" ".join(tokens[:2]), tokens[0]) if words in COMMANDS), None)


def _group_in(tokens: Sequence[str]) -> list[str]:
    """The commands of the group that the first word names."""
    return [words for words in COMMANDS if words.startswith(f"{tokens[0]} ")]


def _report(error: BaseException, tokens: Sequence[str]) -> int:
    code = code_of_error(error)
    if isinstance(error, KeyboardInterrupt):
        tell("\nperdure: interrupted\n")
        return code
    if "--debug" in tokens and not isinstance(error, CycloptsError):
        traceback.print_exception(error, file=sys.stderr)
    text = explain(error)
    if isinstance(error, UnknownCommandError):
        text = text.partition(" Available commands:")[0]  # the first few of many say little; the help has all
        if tokens[0].startswith("-"):
            text = f"perdure: {quoted(tokens[0])} stands before the command: options come after it"
    if isinstance(error, UnusedCliTokensError):
        text = f"perdure: nothing is known to do with {' '.join(map(quoted, error.unused_tokens or ()))}"
    if isinstance(error, ValidationError):
        text = text.replace(". the ", ": the ", 1)
    tell(text + "\n")
    if isinstance(error, CycloptsError):
        words = _command_in(tokens) or (tokens[0] if _group_in(tokens) else "")
        tell(f"try: {' '.join(['perdure', *words.split(), '--help'])}\n")
    return code
