"""How many cores this process may use."""

from __future__ import annotations

import os
from functools import cache


@cache
def cores() -> int:
    """Cores that this process may use; ``OMP_NUM_THREADS`` limits them as it limits those of torch and BLAS."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, max(1, int(limit))) if limit.isdigit() else allowed
