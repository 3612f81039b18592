"""Power lost at any moment: what was acknowledged is there, and whatever is found opens and goes on."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import Disk, Platter

DRIVER = Path(__file__).with_name("power_loss.py")
IMAGES = 5_000  # at scale 1; four fifths from fixed seeds
IMAGES_OF_PROCESS = 600
JOBS = 2

pytestmark = pytest.mark.integration


def drive(seed: object, count: int, *, durability: str) -> subprocess.Popen[str]:
    """Let a process look at so many images."""
    options = ["--seed", str(seed), "--count", str(count), "--durability", durability]
    return subprocess.Popen([sys.executable, str(DRIVER), *options], stdout=subprocess.PIPE, text=True)


def finish(jobs: list[subprocess.Popen[str]]) -> dict[str, Any]:
    """What all of them found, together."""
    found = [json.loads(job.communicate()[0]) for job in jobs]
    assert [problem for each in found for problem in each["problems"]] == []
    return {name: sum(each[name] for each in found) for name in found[0] if name != "problems"}


def test_no_acknowledged_row_is_missing_after_a_power_loss(
    say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """With durability="power" every image holds exactly what was answered, or one whole batch more."""
    share = int(IMAGES * scale / JOBS)
    found = finish([drive(seed, int(share * 0.8), durability="power") for seed in range(JOBS)])
    fresh = finish(
        [drive(fresh_seed + no, share - int(share * 0.8), durability="power") for no in range(JOBS)]
    )
    total = {name: found[name] + fresh[name] for name in found}
    say(
        "images, FULL",
        f"power-loss images, FULL: {total['images']:,} of {total['stories']} stories with "
        f"{total['commits']:,} commits, {total['with_unanswered']} with an unanswered batch whole, "
        f"{total['taken_up']} taken up to the end, after {total['failed_syncs']} failed syncs among others, "
        "0 lost acknowledgements",
    )
    assert total["images"] >= share * JOBS
    assert total["older"] == 0
    assert total["with_unanswered"] > 0


def test_without_syncs_an_image_is_older_and_never_torn(
    say: Callable[[str, str], None], scale: float
) -> None:
    """With durability="process" the last moments may be missing; the rest is whole. The disk does bite."""
    found = finish([drive(0, int(IMAGES_OF_PROCESS * scale), durability="process")])
    told = f"{found['images']:,}, of which {found['older']:,} lack the last commits"
    say("images, NORMAL", f"power-loss images, NORMAL: {told}")
    assert found["older"] > 0


def platter(*ops: tuple[Any, ...]) -> Platter:
    """A disk to which that has happened."""
    made = Platter()
    for op in (("link", 1, "a", None), ("folder", None, None, None), *ops):
        made.apply((*op, *[None] * (4 - len(op))))
    return made


def images(made: Platter) -> set[bytes | None]:
    """What may be found in the file."""
    return {made.image(random.Random(seed)).get("a") for seed in range(300)}


def test_what_a_sync_has_covered_is_always_there() -> None:
    """And nothing else is sure."""
    made = platter(("write", 1, 0, b"x" * 1_024), ("sync", 1), ("write", 1, 0, b"y" * 1_024))
    halves = {(found or b"")[0:1] + (found or b"")[512:513] for found in images(made)}
    assert halves == {b"xx", b"xy", b"yx", b"yy"}


def test_a_sector_is_written_whole_or_not_at_all() -> None:
    """Whatever sizes the sectors have."""
    made = platter(("write", 1, 0, b"x" * 512), ("sync", 1), ("write", 1, 100, b"y" * 300))
    assert {len(set((found or b"")[100:400])) for found in images(made)} == {1}


def test_a_truncation_that_was_not_synced_may_be_undone() -> None:
    """So may one that a later write seems to rest on."""
    made = platter(("write", 1, 0, b"x" * 512), ("sync", 1), ("truncate", 1, 0))
    assert images(made) == {b"", b"x" * 512}


def test_a_file_that_was_made_or_removed_may_be_there_until_the_folder_is_synced() -> None:
    """Names are data, too."""
    made = platter(("write", 1, 0, b"x"), ("sync", 1), ("unlink", None, "a"))
    assert images(made) == {None, b"x"}
    made.apply(("folder", None, None, None))
    assert images(made) == {None}


def test_the_disk_writes_down_what_sqlite_does(tmp_path: Path) -> None:
    """A transaction with a log ends with a sync of the log."""
    import apsw

    disk = Disk("watched", tmp_path)
    try:
        connection = apsw.Connection(str(tmp_path / "a.db"), vfs="watched")
        for sql in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (x)"):
            list(connection.execute(sql))
        assert disk.ops[-1][0] in {"sync", "folder"}
        connection.close()
    finally:
        disk.unregister()


def test_a_later_sync_says_nothing_of_what_a_failed_one_should_have_covered() -> None:
    """The system has given it up: it may be there in part, and never more."""
    write, more = ("write", 1, 0, b"x" * 512), ("write", 1, 512, b"y" * 512)
    found = set()
    for seed in range(30):
        made = Platter(random.Random(seed))
        for op in (
            ("link", 1, "a"),
            ("folder", None, None),
            write,
            ("forget", 1, None),
            more,
            ("sync", 1, None),
        ):
            made.apply((*op, *[None] * (4 - len(op))))
        found.add((made.image(random.Random(0))["a"])[:512])
    assert found == {bytes(512), b"x" * 512}
