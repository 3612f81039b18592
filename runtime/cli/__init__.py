"""`perdure`, the command line; what answers without the runtime is answered here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

_HELP = ("--help", "-h", "help")
_LIBRARIES = ("cyclopts", "rich")


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Carry out one command line (this process's own by default) and leave with its exit code."""
    from perdure.runtime.cli.streams import open_streams

    open_streams()
    sys.exit(run_command(sys.argv[1:] if tokens is None else tokens))


def run_command(tokens: Sequence[str]) -> int:
    """Carry out one command line and return its exit code; prints, never raises."""
    if not tokens or tuple(tokens) in {(word,) for word in _HELP}:
        from perdure.runtime.cli.page import PAGE

        return _print(PAGE)
    if tuple(tokens) == ("--version",):
        from importlib.metadata import version

        return _print(f"perdure {version('perdure')}\n")
    if not all(map(_is_installed, _LIBRARIES)):
        sys.stderr.write('perdure: the command line is an extra: pip install "perdure[cli]"\n')
        return 2
    from perdure.runtime.cli.app import invoke

    return invoke(tokens)


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        from perdure.runtime.cli.streams import leave_stdout

        return leave_stdout(error)
    return 0


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except ValueError:  # its place in sys.modules is blocked
        return False
