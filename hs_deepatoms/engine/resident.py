"""One network at a time on a device: other tasks go on loading and preparing meanwhile."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

_making = threading.Lock()
_locks: dict[str, threading.RLock] = defaultdict(threading.RLock)
_places: dict[str, threading.Semaphore] = {}


@contextmanager
def one_at_a_time(device: str = "any") -> Iterator[None]:
    """Hold the lock of ``device`` in this process while the body runs.

    A lock cannot be pickled, so it is never an argument of a task: tasks call this function, which every
    process looks up by name. The same thread may enter twice.

    Examples
    --------
    >>> with one_at_a_time("cpu"):
    ...     pass
    """
    with _making:
        lock = _locks[str(device)]
    with lock:
        yield


@contextmanager
def at_most(n: int, what: str = "any") -> Iterator[None]:
    """Let ``n`` threads of this process into the body at a time, so that memory does not grow with the cores.

    Looked up by name, as in `one_at_a_time`; the first caller's ``n`` counts. Not re-entrant.

    Examples
    --------
    >>> with at_most(2, "preparing"):
    ...     pass
    """
    with _making:
        places = _places.setdefault(what, threading.Semaphore(n))
    with places:
        yield
