"""`perdure completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import sys
from typing import Literal

from perdure.runtime.cli.app import make_app
from perdure.runtime.cli.exit_codes import Exit


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of a shell; put `eval "$(perdure completion bash)"` into its startup file.

    For fish: `perdure completion fish > ~/.config/fish/completions/perdure.fish`.

    Args:
        shell: Which one: bash, zsh or fish.
    """
    sys.stdout.write(make_app().generate_completion(shell=shell))
    return Exit.DONE
