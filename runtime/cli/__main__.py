"""`python -m perdure.runtime.cli`: the command line where no script is installed."""

from __future__ import annotations

from perdure.runtime.cli import main

main()
