"""The standard streams, in whatever state the process was given them: closed, full, broken, or ASCII only."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Final

MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}

# What the command line draws with → what stands for it where an encoding has no room; each takes one column.
PLAIN: Final = str.maketrans("○·●◌‖⊘✔✘↷↶█░│├└─→←–…", "o.*~=/+x><#.|+`-><-~")


def open_streams() -> None:
    """Let each of them be there, and take any character.

    A descriptor that is closed would be given to the next file or socket, which uvloop aborts of. What an
    encoding has no room for is written as a plainer glyph, or as an escape.
    """
    codecs.register_error("perdure.plain", _plainly)
    opened = os.open(os.devnull, os.O_RDWR)
    while opened < len(MODES):
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    for name, mode in MODES.items():
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for the rest of the process
        elif mode == "w" and isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="perdure.plain")


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for characters that cannot be, and where to go on: a handler as `codecs` has them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def leave_stdout(error: OSError) -> int:
    """Write nothing more to stdout, which answers with that error, and return the exit code.

    Whoever has read our output and seen enough is told nothing; Python must not complain at exit either.
    """
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 0
    tell(f"perdure: what was to be printed cannot be written to stdout: {error.strerror}\n")
    return 1


def tell(text: str) -> None:
    """Write to stderr, where that can be written to: whoever no longer listens stops nothing."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        pass  # the disk is full, the terminal is gone, or a step has closed or replaced it
