"""The reference workflows: small lives, each with one thing that a crash may fall into.

A life is a workflow and a client that plays it. The client is a program like any other: it keeps a
journal of what it was told, and after a crash says again, under the same ids, whatever it was not
told the answer to. Where a life came to its end is independent of time and order, so that the same
life with crashes in it has to come to the same end.
"""

from __future__ import annotations

from collections.abc import Callable

from client import Journal, Life

from lives import attempts, beyond, families, graphs, people, undoing, waiting

LIVES: dict[str, Callable[[Journal], Life]] = {
    life.__name__: life
    for life in (
        graphs.chain,
        graphs.diamond,
        graphs.wide,
        attempts.retries_at_once,
        attempts.retries_later,
        attempts.timeouts,
        attempts.deadline,
        graphs.optional_failure,
        graphs.skipping,
        graphs.conditions,
        waiting.waits,
        waiting.repeats,
        waiting.items,
        waiting.items_again,
        waiting.approvals,
        families.family,
        families.family_cancel,
        families.family_undone,
        waiting.gates,
        attempts.failure,
        attempts.anew,
        people.later,
        people.pause,
        people.interrupt,
        people.restore,
        graphs.blocking,
        people.cancel,
        people.elsewhere,
        attempts.transaction,
        people.spending,
        people.limited,
        undoing.rollback,
        undoing.undoing_again,
        undoing.hooks,
        beyond.forked,
        beyond.migrated,
        beyond.webhooks,
        beyond.slots,
        beyond.circuit,
    )
}
