"""What `perdure COMMAND --help` prints: plain text drawn from the command's own signature."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, get_args, get_origin

from cyclopts import App, Argument

MARGIN: Final = 26  # where descriptions begin; a longer name has its description on the next line
WIDTH_MAX: Final = 100  # longer lines are hard to read, however wide the terminal is
METAVARS: Final = {int: "N", float: "SECONDS", str: "TEXT"}


def command_help(app: App, name: str) -> str:
    """The help of one command: usage, what it promises, its arguments and options."""
    command = _command_of(app, name)
    found = command.assemble_argument_collection(parse_docstring=True)
    arguments = [each for each in found if not each.children]
    positional = [each for each in arguments if not each.names[0].startswith("-")]
    options = [each for each in arguments if each.names[0].startswith("-")]
    about = inspect.getdoc(command.default_command) or ""
    usage = " ".join(["usage: perdure", name, *map(_positional_name, positional), "[options]"])
    parts = [usage, *map(_paragraph, about.split("Args:")[0].strip().split("\n\n"))]
    if positional:
        parts.append("\n".join(_entry(_positional_name(each), each) for each in positional))
    parts.append("\n".join(_entry(_option_name(each), each) for each in options))
    return "\n\n".join(parts) + "\n"


def group_help(app: App, group: str, names: Iterable[str]) -> str:
    """The help of a group: its commands, each with what it promises in a sentence."""
    entries = []
    for name in names:
        about = inspect.getdoc(_command_of(app, name).default_command) or ""
        entries.append(_beside(name.removeprefix(f"{group} "), about.partition("\n")[0]))
    return "\n".join(
        [
            f"usage: perdure {group} COMMAND …",
            "",
            *entries,
            "",
            f"perdure {group} COMMAND --help tells a command's options.\n",
        ]
    )


def _command_of(app: App, name: str) -> App:
    for word in name.split():
        app = app[word]
    return app


def _entry(name: str, argument: Argument) -> str:
    return _beside(name, _description(argument))


def _paragraph(text: str) -> str:
    """Prose as wide as the terminal; a command line stays as it is, to be copied."""
    is_command = text.startswith("perdure ")
    return text if is_command else "\n".join(textwrap.wrap(" ".join(text.split()), max(30, _width())))


def _width() -> int:
    return min(WIDTH_MAX, shutil.get_terminal_size().columns)


def _beside(name: str, text: str) -> str:
    """One name with its description beside or below it."""
    lines = textwrap.wrap(text, max(30, _width() - MARGIN)) or [""]
    first = f"  {name}"
    if len(first) > MARGIN - 2:
        return "\n".join([first, *(" " * MARGIN + line for line in lines)])
    return "\n".join([f"{first:<{MARGIN}}{lines[0]}", *(" " * MARGIN + line for line in lines[1:])]).rstrip()


def _description(argument: Argument) -> str:
    text = " ".join((argument.parameter.help or "").split())
    default = argument.field_info.default
    if default in (inspect.Parameter.empty, None, False, ()) or default == "":
        return text
    return f"{text} (default: {default})"


def _positional_name(argument: Argument) -> str:
    name = argument.names[0]
    if argument.field_info.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"[{name}...]"
    return name if argument.required else f"[{name}]"


def _option_name(argument: Argument) -> str:
    names = ", ".join(sorted(argument.names, key=len))
    return f"{names} {_metavar(argument)}".rstrip()


def _metavar(argument: Argument) -> str:
    kinds = list(_kinds(argument.hint))
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        return "|".join(choices)
    if bool in kinds:
        return ""
    if argument.names[0] == "--input":
        return "NAME=VALUE"
    return next((METAVARS[kind] for kind in kinds if kind in METAVARS), "TEXT")


def _kinds(hint: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    if get_origin(hint) in (None, Literal):
        yield hint
        return
    for part in get_args(hint):
        yield from _kinds(part)
