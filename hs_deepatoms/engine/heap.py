"""Give freed memory back to the system: glibc keeps what many threads allocate and free, hundreds of megabytes."""

from __future__ import annotations

import ctypes
import sys
from functools import cache


def trim_heap() -> None:
    """Let the C library return what is free; does nothing where it has no such call (macOS, Windows, musl).

    The same call is what dask's documentation advises between tasks that allocate much.

    Examples
    --------
    >>> trim_heap()
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim():
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
