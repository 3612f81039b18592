"""The graph of a workflow, by step numbers: levels, order, dependents, circles. Pure and flat.

Nothing here recurses: a chain of 50,000 steps is as good as a wide graph.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

Needs = Sequence[Sequence[int]]

CYCLES_MAX: Final = 20  # circles reported; whoever has more begins with these
CHUNK: Final = 4_096  # targets looked for in one pass over the graph: 512 bytes for each step


def dependents_of(needs: Needs) -> list[list[int]]:
    """For each step, which steps need it, in order."""
    found: list[list[int]] = [[] for _ in needs]
    for no, each in enumerate(needs):
        for need in each:
            found[need].append(no)
    return found


def order_of(needs: Needs) -> list[int]:
    """Return the steps in an order that respects their needs, else as they are written.

    Steps in a circle, and those behind one, are left out.
    """
    dependents = dependents_of(needs)
    open_needs = [len(each) for each in needs]
    ready = [no for no, count in enumerate(open_needs) if not count]
    order = []
    while ready:
        no = heapq.heappop(ready)
        order.append(no)
        for dependent in dependents[no]:
            open_needs[dependent] -= 1
            if not open_needs[dependent]:
                heapq.heappush(ready, dependent)
    return order


def level_of(needs: Needs, order: Iterable[int]) -> list[int]:
    """For each step, the length of the longest path to it (0 has no needs)."""
    level = [0] * len(needs)
    for no in order:
        level[no] = max((level[need] + 1 for need in needs[no]), default=0)
    return level


def by_level(level: Sequence[int]) -> list[list[int]]:
    """Return the steps of each level, lowest level first."""
    levels: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for no, each in enumerate(level):
        levels[each].append(no)
    return levels


def not_ancestors(
    needs: Needs, order: Sequence[int], asked: Iterable[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Of the pairs (step, other), return those where `other` does not come before `step`.

    Each pass carries up to `CHUNK` targets through the graph as bits of one integer per step.
    """
    pairs = [(no, target) for no, target in asked if target not in needs[no]]
    targets = sorted({target for _, target in pairs})
    wrong: set[tuple[int, int]] = set()
    for start in range(0, len(targets), CHUNK):
        bit = {target: 1 << place for place, target in enumerate(targets[start : start + CHUNK])}
        above = [0] * len(needs)
        for no in order:
            seen = 0
            for need in needs[no]:
                seen |= above[need] | bit.get(need, 0)
            above[no] = seen
        wrong.update((no, target) for no, target in pairs if target in bit and not above[no] & bit[target])
    return wrong


def cycles_of(needs: Needs) -> list[list[int]]:
    """Return circles, each as short as its closing edge allows, `[a, b]` meaning a needs b needs a.

    A walk through the graph finds the edges that close a circle; at most `CYCLES_MAX` are followed.
    """
    inside = set(range(len(needs))) - set(order_of(needs))
    found: list[list[int]] = []
    seen: set[frozenset[int]] = set()
    for start, end in _closing_edges(needs, sorted(inside)):
        cycle = _shortest(needs, inside, start=end, end=start)
        if frozenset(cycle) not in seen:
            seen.add(frozenset(cycle))
            first = cycle.index(min(cycle))
            found.append(cycle[first:] + cycle[:first])
        if len(found) == CYCLES_MAX:
            break
    return sorted(found)


def _closing_edges(needs: Needs, starts: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Walk depth first; yield each edge that leads back to a step the walk is still in."""
    entered: set[int] = set()
    left: set[int] = set()
    for start in starts:
        if start in entered:
            continue
        entered.add(start)
        walk = [(start, iter(needs[start]))]
        while walk:
            no, rest = walk[-1]
            need = next(rest, None)
            if need is None:
                walk.pop()
                left.add(no)
            elif need not in entered:
                entered.add(need)
                walk.append((need, iter(needs[need])))
            elif need not in left:
                yield no, need


def _shortest(needs: Needs, inside: set[int], *, start: int, end: int) -> list[int]:
    """Return the shortest way from `start` to `end`, following needs."""
    came_from = {start: start}
    queue = deque([start])
    while queue and end not in came_from:
        no = queue.popleft()
        for need in needs[no]:
            if need in inside and need not in came_from:
                came_from[need] = no
                queue.append(need)
    way = [end]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
