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

from collections.abc import Callable, Iterable, Iterator
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

COUNTED: Final = "SELECT block FROM workflow_tallies WHERE executions IS NOT NULL ORDER BY block"
# An import is as old as it says, and so in no order: a block is asked for its oldest. To add nothing to the
# number keeps a planner from walking through all numbers to the first that is recent.
RECENT: Final = "e.created_at >= ?"
FIRST: Final = f"SELECT min(e.no + 0) FROM workflow_executions e WHERE {RECENT}"
WHOLE: Final = f"""
SELECT t.block FROM workflow_tallies t
WHERE t.executions IS NOT NULL AND t.block >= ?
  AND NOT EXISTS (SELECT 1 FROM workflow_executions e
                  WHERE e.no >= t.block * {BLOCK} AND e.no < t.block * {BLOCK} + {BLOCK} AND e.created_at < ?)
ORDER BY t.block
"""
NO_MAX: Final = 2**62  # beyond all numbers of executions

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


class Parts(msgspec.Struct, frozen=True):
    """Executions in two parts: whole blocks, whose tallies tell, and all others, as conditions on `e`."""

    blocks: frozenset[int]
    others: list[tuple[str, tuple[int, ...]]]

    def tallied(self, column: str) -> Script[list[Row]]:
        """What the tallies say, as rows of the question they answer; the first column is the workflow."""
        sql = f"SELECT block, {column} FROM workflow_tallies WHERE {column} IS NOT NULL"
        found = (yield sql, ()).fetchall()
        return [row for block, text in found if block in self.blocks for row in _decoded(text)]


def parts(since: int | None) -> Script[Parts]:
    """All executions, or those created since then (ms)."""
    if since is None:
        blocks = [block for (block,) in (yield COUNTED, ()).fetchall()]
        return Parts(frozenset(blocks), _others(blocks, 0))
    [first] = (yield FIRST, (since,)).fetchone() or (None,)
    if first is None:
        return Parts(frozenset(), [])
    blocks = [block for (block,) in (yield WHOLE, (first // BLOCK, since)).fetchall()]
    others = _others(blocks, first)
    return Parts(frozenset(blocks), [(f"{where} AND {RECENT}", (*of, since)) for where, of in others])


def _others(blocks: Iterable[int], first: int) -> list[tuple[str, tuple[int, ...]]]:
    """The rests, also those of blocks that are counted row by row, and what else is in none of the blocks."""
    return [(REST, ()), *((f"{WITHIN} AND NOT {REST}", each) for each in _between(blocks, first))]


def _between(blocks: Iterable[int], first: int) -> Iterator[tuple[int, int]]:
    """The stretches of numbers from the first on that are in none of these blocks, which are in order."""
    low = first
    for block in blocks:
        if low < block * BLOCK:
            yield low, block * BLOCK
        low = block * BLOCK + BLOCK
    yield low, NO_MAX


def _encoded(rows: Iterable[Row]) -> str:
    return msgspec.json.encode([tuple(row) for row in rows]).decode()


_decoded: Final[Callable[[str], list[tuple[Any, ...]]]] = msgspec.json.Decoder(list[tuple[Any, ...]]).decode
