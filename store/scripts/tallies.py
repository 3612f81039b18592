"""Counts what has ended once, in blocks: statistics of everything read the tallies and count the rest.

A block is a thousand executions, in the order of their numbers. Its tally counts those of them that had
ended; the others are its rests, and counted by whoever asks. What has ended changes no more, unless it
is reopened, moved to another version, touched (a failure that tells no time has that of the last touch)
or deleted: each of these takes the tally of its block away, in its own transaction, and the block is
counted live until upkeep tallies it again. So what statistics say never hangs on how far the tallying
has come.

The row of a block is held by whoever tallies it and by whoever takes its tally away, so one of them waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from perdure.store.script import Script
from perdure.store.scripts.counting import DURATIONS, EXECUTIONS, FAILURES, STEPS, listed
from perdure.store.scripts.rows import Row
from perdure.store.writes import Write

BLOCK: Final = 1_000  # executions: some ten milliseconds of the writer, and a row of some kilobytes
RESTS_MAX: Final = 100  # of a block that is tallied; where more have not ended it is too early

UNFINISHED: Final = (  # as the index has it
    "e.state <> 'completed' AND e.state <> 'failed' AND e.state <> 'cancelled' AND e.state <> 'rolled_back'"
)
WITHIN: Final = "e.no >= ? AND e.no < ?"

# From the first block that has executions to the last; one between them may be empty, and is tallied as that.
WITHOUT_TALLY: Final = f"""
SELECT b.block FROM (
    WITH RECURSIVE blocks (block) AS (
        SELECT min(e.no) / {BLOCK} FROM workflow_executions e
        UNION ALL
        SELECT block + 1 FROM blocks WHERE block < (SELECT max(e.no) / {BLOCK} FROM workflow_executions e)
    ) SELECT block FROM blocks
) b
WHERE b.block IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM workflow_tallies t WHERE t.block = b.block AND t.executions IS NOT NULL)
"""
# Something that comes after a block was written long ago: nobody is about to commit a start in it. When it
# was created says nothing of that, for an import may have brought it a moment ago.
DUE: Final = f"""
SELECT c.block FROM ({WITHOUT_TALLY}) c
WHERE EXISTS (SELECT 1 FROM (SELECT e.updated_at FROM workflow_executions e
                            WHERE e.no >= c.block * {BLOCK} + {BLOCK} ORDER BY e.no LIMIT {BLOCK}) f
              WHERE f.updated_at < ?)
  AND (SELECT count(*) FROM workflow_executions e
       WHERE e.no >= c.block * {BLOCK} AND e.no < c.block * {BLOCK} + {BLOCK} AND {UNFINISHED}) <= {RESTS_MAX}
ORDER BY c.block
"""

REST: Final = "e.no IN (SELECT r.execution_no FROM workflow_tally_rests r)"

TAKE_AWAY: Final = """
INSERT INTO workflow_tallies (block) VALUES (?)
ON CONFLICT (block) DO UPDATE SET executions = NULL, steps = NULL, errors = NULL, durations = NULL
"""
CLEAR_RESTS: Final = "DELETE FROM workflow_tally_rests WHERE execution_no >= ? AND execution_no < ?"
SET_RESTS: Final = (
    "INSERT INTO workflow_tally_rests (execution_no) "
    f"SELECT e.no FROM workflow_executions e WHERE {WITHIN} AND {UNFINISHED}"
)
KEEP: Final = (
    "UPDATE workflow_tallies SET executions = ?, steps = ?, errors = ?, durations = ? WHERE block = ?"
)
DROP_EMPTY: Final = (
    f"DELETE FROM workflow_tallies WHERE block < (SELECT min(e.no) / {BLOCK} FROM workflow_executions e)"
)
# A rest may have ended since it was made one, and is still none of what is tallied.
TALLIED: Final = {
    "chosen": "workflow_executions e",
    "where": f"{WITHIN} AND NOT {REST}",
}


class Tally(Write, frozen=True, kw_only=True):
    """Count what has ended of a block, for statistics to be told of it without a look at its rows."""

    block: int


def tally(write: Tally) -> Script[None]:
    """Hold the block, part its rests from what has ended, and keep what that comes to."""
    numbers = (write.block * BLOCK, write.block * BLOCK + BLOCK)
    yield from take_away([numbers[0]])
    yield SET_RESTS, numbers
    executions = (yield EXECUTIONS.format(**TALLIED), numbers).fetchall()
    steps = (yield STEPS.format(**TALLIED), numbers).fetchall()
    errors: list[Row] = []
    for counted in FAILURES:
        errors += (yield counted.format(**TALLIED), numbers).fetchall()
    durations = listed((yield DURATIONS.format(**TALLIED), numbers).fetchall()).items()
    yield KEEP, (*map(_encoded, (executions, steps, errors, durations)), write.block)
    yield DROP_EMPTY, ()


def take_away(execution_nos: Iterable[int]) -> Script[None]:
    """Let the blocks of these be counted live; called before any of them changes what it tells."""
    for block in sorted({no // BLOCK for no in execution_nos}):
        yield TAKE_AWAY, (block,)
        yield CLEAR_RESTS, (block * BLOCK, block * BLOCK + BLOCK)


def due(before: int) -> Script[list[int]]:
    """The blocks to be tallied: full, older than that, and as good as ended."""
    return [block for (block,) in (yield DUE, (before,)).fetchall()]  # a row need not be a tuple


def live() -> Script[list[tuple[str, tuple[int, ...]]]]:
    """What is in no tally, as conditions on `e`: the rests, and the stretches between tallied blocks."""
    stretches: list[tuple[int, int]] = []
    for (block,) in (yield f"{WITHOUT_TALLY} ORDER BY b.block", ()).fetchall():
        low = block * BLOCK
        if stretches and stretches[-1][1] == low:
            low, _ = stretches.pop()
        stretches.append((low, block * BLOCK + BLOCK))
    return [(REST, ()), *((WITHIN, stretch) for stretch in stretches)]


def tallied(column: str) -> Script[list[Row]]:
    """What the tallies say, as rows of the question they answer; the first column is the workflow."""
    found = (yield f"SELECT {column} FROM workflow_tallies WHERE {column} IS NOT NULL", ()).fetchall()
    return [row for (text,) in found for row in _decoded(text)]


def _encoded(rows: Iterable[Row]) -> str:
    return msgspec.json.encode([tuple(row) for row in rows]).decode()


_decoded: Final[Callable[[str], list[tuple[Any, ...]]]] = msgspec.json.Decoder(list[tuple[Any, ...]]).decode
