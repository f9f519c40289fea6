"""One network at a time on a device, few on a processor: other tasks go on loading and preparing meanwhile."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process

from hs_deepatoms._core.cores import all_cores, cores
from hs_deepatoms.engine.serial import torch_threads, usual_threads

NETWORKS = 2  # at once on the cores that blocks share: what more of them hold would be too much memory
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


def networks_at_once(device: str) -> int:
    """How many networks this process may run at once on a device: one, or `NETWORKS` where its blocks share a
    processor's cores. In one of several processes there is one block, which has its share.

    Examples
    --------
    >>> networks_at_once("cuda")
    1
    """
    shared = device == "cpu" and cores() < all_cores() and parent_process() is None
    return NETWORKS if shared else 1


@contextmanager
def turn_of_network(device: str) -> Iterator[None]:
    """Run a network in the body, alone on its device or with its part of all cores: blocks beside it prepare and fit,
    each on its own share of the cores, which one network would leave idle. Not re-entrant.

    Examples
    --------
    >>> with turn_of_network("cpu"):
    ...     pass
    """
    at_once = networks_at_once(device)
    if at_once == 1:
        with one_at_a_time(device):
            yield
        return
    part = max(cores(), all_cores() // at_once)
    with at_most(at_once, "networks"), torch_threads(min(part, usual_threads())):
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
