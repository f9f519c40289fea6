"""How many cores this process, and this thread, may use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_here = threading.local()


def cores() -> int:
    """Cores that this thread may use: all, or its share where others work beside it (`limited_to`).

    Examples
    --------
    >>> with limited_to(1):
    ...     cores()
    1
    """
    return min(all_cores(), getattr(_here, "share", all_cores()))


@cache
def all_cores() -> int:
    """Cores that this process may use; ``OMP_NUM_THREADS`` limits them as it limits those of torch and BLAS."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, max(1, int(limit))) if limit.isdigit() else allowed


@contextmanager
def limited_to(share: int) -> Iterator[None]:
    """Let this thread use so many cores, at most; no other thread is asked."""
    before = getattr(_here, "share", None)
    _here.share = share
    try:
        yield
    finally:
        if before is None:
            del _here.share
        else:
            _here.share = before
