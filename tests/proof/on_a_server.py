"""Runs a program over a PostgreSQL server of its own: `python on_a_server.py PROGRAM [OPTION ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgres


def main() -> None:
    """Start a server, run the program with its address, and end as that does."""
    program, *options = sys.argv[1:]
    with postgres.Server() as server:
        command = [sys.executable, str(Path(__file__).with_name(program)), *options, "--server", server.url]
        ran = subprocess.run(command, check=False)
    sys.exit(ran.returncode)


if __name__ == "__main__":
    main()
