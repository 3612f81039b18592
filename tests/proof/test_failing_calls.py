"""Any call to the disk may fail, once or from then on: typed errors, nothing lost, and all goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_calls import KINDS, MODES

DRIVER = Path(__file__).with_name("failing_calls.py")
MOST = 30  # calls of one kind that are failed, at scale 1, evenly spread; all of them where there are fewer

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_call_is_told_and_costs_nothing(
    mode: str, say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """Clients meet StoreError and nothing else; what they were told is kept; everything comes to its end."""
    options = [mode, "--most", str(max(1, int(MOST * scale))), "--seed", str(fresh_seed)]
    command = [sys.executable, str(DRIVER)]
    jobs = [subprocess.Popen([*command, kind, *options], stdout=subprocess.PIPE, text=True) for kind in KINDS]
    found = [json.loads(job.communicate()[0]) for job in jobs]
    assert [problem for each in found for problem in each["problems"]] == []
    for each in found:
        assert each["errors"] > 0, f"no client has noticed {each['kind']}: the fault is no fault"
    told = ", ".join(f"{each['kind']} {each['stories']} of {each['calls']}" for each in found)
    say(
        f"failing calls, {mode}",
        f"failing calls, {mode}: {told}; {sum(each['faults'] for each in found):,} faults",
    )


def test_a_full_or_locked_disk_makes_no_body_run_twice() -> None:
    """Nothing was written, so the outcome waits until there is room."""
    for kind in ("full", "busy"):
        done = subprocess.run(
            [sys.executable, str(DRIVER), kind, "outage", "--most", "12"], capture_output=True, check=True
        )
        assert json.loads(done.stdout)["repeated"] == 0
