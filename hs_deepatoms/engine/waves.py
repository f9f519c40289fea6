"""In which order blocks run so that every chunk is loaded once and few are alive: a plan over numbers only."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

Key = Hashable


@dataclass(frozen=True)
class Wave:
    """Blocks that run together, the inputs first needed by them, and those that nothing later needs."""

    blocks: tuple[int, ...]
    load: tuple[Key, ...]
    drop: tuple[Key, ...]


def order_blocks(needs: Sequence[Sequence[Key]], sizes: Mapping[Key, int]) -> list[int]:
    """Always the block with the fewest bytes still to load, the first among equals.

    Strips along y are walked along y, strips along x along x, tiles inside one chunk before the next chunk.
    """
    users = defaultdict(list)
    for block, keys in enumerate(needs):
        for key in keys:
            users[key].append(block)
    missing = [sum(sizes[key] for key in keys) for keys in needs]
    heap = [(cost, block) for block, cost in enumerate(missing)]
    heapq.heapify(heap)
    loaded: set[Key] = set()
    order, done = [], [False] * len(needs)
    while heap:
        cost, block = heapq.heappop(heap)
        if done[block] or cost != missing[block]:
            continue
        done[block] = True
        order.append(block)
        for key in needs[block]:
            if key in loaded:
                continue
            loaded.add(key)
            for user in users[key]:
                missing[user] -= sizes[key]
                if not done[user]:
                    heapq.heappush(heap, (missing[user], user))
    return order


def make_waves(
    order: Sequence[int], needs: Sequence[Sequence[Key]], sizes: Mapping[Key, int], *, most: int, most_bytes: int
) -> list[Wave]:
    """Cut an order into waves of at most ``most`` blocks and about ``most_bytes`` of new inputs."""
    groups: list[list[int]] = []
    seen: set[Key] = set()
    fresh = 0
    for block in order:
        new = [key for key in needs[block] if key not in seen]
        size = sum(sizes[key] for key in new)
        if not groups or len(groups[-1]) >= most or (size and fresh + size > most_bytes):
            groups.append([])
            fresh = 0
        groups[-1].append(block)
        seen.update(new)
        fresh += size
    return _with_lifetimes(groups, needs)


def _with_lifetimes(groups: Sequence[Sequence[int]], needs: Sequence[Sequence[Key]]) -> list[Wave]:
    first: dict[Key, int] = {}
    last: dict[Key, int] = {}
    for number, group in enumerate(groups):
        for key in (key for block in group for key in needs[block]):
            first.setdefault(key, number)
            last[key] = number
    load, drop = defaultdict(list), defaultdict(list)
    for key in first:
        load[first[key]].append(key)
        drop[last[key]].append(key)
    return [Wave(tuple(group), tuple(load[n]), tuple(drop[n])) for n, group in enumerate(groups)]


def peak_bytes(waves: Sequence[Wave], sizes: Mapping[Key, int]) -> int:
    """Most bytes of inputs alive at once, nothing being loaded ahead."""
    peak = alive = 0
    for wave in waves:
        alive += sum(sizes.get(key, 0) for key in wave.load)
        peak = max(peak, alive)
        alive -= sum(sizes.get(key, 0) for key in wave.drop)
    return peak
