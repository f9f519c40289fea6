"""Work on blocks in threads, a few ahead of who takes the results, which come in the order of the blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from hs_deepatoms._core.cores import cores
from hs_deepatoms.engine.serial import one_core_blas

Result = TypeVar("Result")
AHEAD = 2  # blocks per thread that are held
MOST = 8  # threads, if it is not said how many: memory grows with them


def in_threads(
    work: Callable[..., Result], blocks: Iterable[tuple[Any, ...]], num_workers: int | None = None
) -> Iterator[Result]:
    """``work(*block)`` of all blocks, in their order.

    Parameters
    ----------
    work : callable
        Called in several threads at once.
    blocks : iterable of tuple
        Read in the thread of the caller, at most two for each thread ahead.
    num_workers : int, optional
        Threads; BLAS has none of its own, so that results do not depend on this. None: as many as there are cores, at
        most 8.

    Examples
    --------
    >>> list(in_threads(pow, [(2, 3), (3, 2)], 2))
    [8, 9]
    """
    workers = min(cores(), MOST) if num_workers is None else num_workers
    if workers == 1:
        with one_core_blas():  # or sums would be taken in another order than beside other threads
            yield from (work(*block) for block in blocks)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        with one_core_blas():
            for block in blocks:
                waiting.append(pool.submit(work, *block))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
