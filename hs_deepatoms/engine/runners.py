"""How waves of blocks run under the scheduler that is current: a local dask scheduler, or a cluster."""

from __future__ import annotations

import contextvars
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import dask
import dask.multiprocessing
import dask.threaded
import numpy as np
from dask.callbacks import Callback
from dask.system import CPU_COUNT

from hs_deepatoms._core.cores import cores
from hs_deepatoms.engine.boxes import Assembly

#: What runs on the array of one block.
Call = Callable[[np.ndarray], Any]
BLOCK = "deepatoms-block"
THREADS = "deepatoms-blocks"
SIDE_BY_SIDE = 2  # waves: workers that are done with one begin with the next while others are still busy
LOSSES = 3  # how often blocks are sent again whose arrays died with a worker; dask itself gives a task up after three


def current_runner(num_workers: int | None):
    """A runner (context manager) for the scheduler in dask's configuration or the current cluster."""
    from dask.base import get_scheduler

    get = get_scheduler() or dask.threaded.get
    client = getattr(get, "__self__", None)
    if hasattr(client, "scheduler_info"):
        return ClusterRunner(client)
    return LocalRunner(get, num_workers)


class LocalRunner:
    """Blocks run as tasks of a local scheduler; the next inputs load in threads or processes beside them."""

    n_memories = 1
    holds_arrays = True

    def __init__(self, get: Callable, num_workers: int | None):
        self.get = get
        self.processes = get is dask.multiprocessing.get
        self.threads = get is dask.threaded.get
        self.ahead = self.threads or self.processes
        # the callbacks of others see one wave at a time, as they see one computation of dask
        self.side_by_side = SIDE_BY_SIDE if self.ahead and not Callback.active else 1
        # A scheduler of somebody else's may take no options.
        self.known = self.ahead or get is dask.get
        self.num_workers = num_workers
        self.n_workers = 1 if get is dask.get else _local_workers(num_workers)
        # Slices cost nothing inside one process, so eager data needs no waves there.
        self.whole_eager = self.known and not self.processes
        self._stack = ExitStack()
        self._pool: Executor | None = None
        self._load_pool: Executor | None = None
        self._loader: ThreadPoolExecutor | None = None
        self._waves: ThreadPoolExecutor | None = None

    def __enter__(self):
        if self.processes and not dask.config.get("pool", None):
            # dask would start new processes for every wave.
            self._pool = self._load_pool = self._stack.enter_context(_process_pool(self.n_workers))
        elif self.threads and not dask.config.get("pool", None):
            # One for all waves, or waves side by side would have twice as many workers.
            self._pool = self._threads()
        if self.ahead:
            self._loader = self._stack.enter_context(ThreadPoolExecutor(1))
            self._waves = self._stack.enter_context(ThreadPoolExecutor(SIDE_BY_SIDE))
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _threads(self) -> Executor:
        """Threads that stay for the next job: networks keep memory for every thread that has ever used them."""
        if threading.current_thread().name.startswith(THREADS):  # inside a block: all may be waiting for this one
            return self._stack.enter_context(ThreadPoolExecutor(self.n_workers))
        return _lasting_threads(os.getpid(), self.n_workers)

    def cores_each(self, blocks: int) -> int | None:
        """Cores for each of some blocks, of which as many run at once as there are workers; None: as it is."""
        share = max(1, cores() // max(1, min(blocks, self.n_workers)))
        return share if share < cores() else None

    def load(self, graph: dict, keys: Sequence, at_once: int) -> Future:
        """Start loading, at most some tasks at once; a future of ``{key: array}``."""
        if keys and self.threads and self._load_pool is None and not dask.config.get("pool", None):
            self._load_pool = self._stack.enter_context(ThreadPoolExecutor(min(at_once, self.n_workers)))
        if keys and self._loader is not None:
            return self._loader.submit(self._load, graph, keys)
        return finished(self._load(graph, keys) if keys else {})

    def start(
        self, parts: Sequence[tuple[Assembly, list]], calls: Sequence[Call], tick: Callable[[], None], alone: bool
    ) -> Future:
        """Begin with one task per block; a future of the results in order. What runs ``alone`` runs in this thread,
        where it can be interrupted."""
        # Passed on, not registered: dask's registry of callbacks is not safe while another thread loads.
        callbacks = [*Callback.active, Callback(posttask=partial(_tick, tick))._callback]
        if alone or self.side_by_side == 1:
            return finished(self._run(parts, calls, callbacks))
        return self._waves.submit(contextvars.copy_context().run, self._run, parts, calls, callbacks)

    def _run(self, parts: Sequence[tuple[Assembly, list]], calls: Sequence[Call], callbacks: list) -> list:
        graph = {
            (BLOCK, i): (partial(_joined, call, assembly, assembly.cut(inputs)),)
            for i, (call, (assembly, inputs)) in enumerate(zip(calls, parts, strict=True))
        }
        return list(self._get(graph, list(graph), self._pool, callbacks))

    def _load(self, graph, keys):
        return dict(zip(keys, self._get(graph, list(keys), self._load_pool, []), strict=True))

    def _get(self, graph, keys, pool, callbacks):
        from dask.multiprocessing import RemoteException

        options: dict[str, Any] = {"callbacks": callbacks} if self.known else {}
        if pool is not None:
            options["pool"] = pool
        elif self.num_workers and self.ahead:
            options["num_workers"] = self.num_workers
        try:
            return self.get(graph, keys, **options)
        except RemoteException as error:
            # dask adds the remote traceback to the message; the user gets the error that was raised.
            raise error.exception from error


class ClusterRunner:
    """Chunks stay on the workers as futures; only results come back."""

    ahead = True
    side_by_side = 1
    holds_arrays = False
    whole_eager = False

    def __init__(self, client):
        self.client = client
        threads = client.nthreads()
        self.n_workers = max(1, sum(threads.values()))
        self.n_memories = max(1, len(threads))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def cores_each(self, blocks: int) -> None:
        """As its workers were set up: dask gives them one core per thread."""

    def load(self, graph: dict, keys: Sequence, at_once: int) -> Future:
        """Start loading on the cluster; a finished future of ``{key: distributed future}``."""
        from dask.highlevelgraph import HighLevelGraph

        # As one layer, by name: a bare graph would be hashed, which HDF5 files of .hspy and others refuse.
        layer = HighLevelGraph.from_collections(f"deepatoms-load-{uuid.uuid4().hex}", graph)
        # Below the priority of the blocks, so that loading ahead never delays them.
        futures = self.client.get(layer, list(keys), sync=False, priority=-1) if keys else []
        return finished(dict(zip(keys, futures, strict=True)))

    def start(
        self, parts: Sequence[tuple[Assembly, list]], calls: Sequence[Call], tick: Callable[[], None], alone: bool
    ) -> Future:
        """Run one task per block, whatever workers are lost meanwhile; a future of the results in order."""
        return finished(self._run(parts, calls, tick))

    def _run(self, parts: Sequence[tuple[Assembly, list]], calls: Sequence[Call], tick: Callable[[], None]) -> list:
        values: dict[int, Any] = {}
        for last in (False,) * LOSSES + (True,):
            todo = [i for i in range(len(calls)) if i not in values]
            if not todo:
                break
            futures = self._submit([parts[i] for i in todo], [calls[i] for i in todo])
            try:
                self._collect(dict(zip(futures, todo, strict=True)), values, tick, last)
            except BaseException:
                self.client.cancel(futures)
                raise
        return [values[i] for i in range(len(calls))]

    @staticmethod
    def _collect(numbers: dict, values: dict[int, Any], tick: Callable[[], None], strict: bool) -> None:
        """Take each result as it comes: once here, no worker can lose it.

        The scheduler makes lost chunks of lazy data again, but of an array that was sent to a worker it has no second
        one, and cancels the tasks that need it: these are left out.
        """
        from distributed import CancelledError, as_completed

        for future in as_completed(numbers):
            try:
                values[numbers[future]] = future.result()
            except CancelledError:
                if strict:
                    raise
                continue
            tick()

    def _submit(self, parts, calls):
        eager = isinstance(parts[0][1][0], np.ndarray)
        if eager:
            arrays = self.client.scatter([a.join(a.cut(inputs)) for a, inputs in parts], hash=False)
            tasks = [(call, array) for call, array in zip(calls, arrays, strict=True)]
        else:
            tasks = [
                (partial(_cut_and_joined, call, assembly), *inputs)
                for call, (assembly, inputs) in zip(calls, parts, strict=True)
            ]
        return [
            self.client.submit(*task, pure=False, **where)
            for task, where in zip(tasks, self._shared_out(len(tasks)), strict=True)
        ]

    def _shared_out(self, count: int) -> list[dict]:
        """Options that send each of some tasks to a worker, by threads, neighbours together.

        Left alone the scheduler runs blocks where their chunks are, and the chunks, quickly loaded, are on one worker.
        """
        threads = [address for address, number in self.client.nthreads().items() for _ in range(number)]
        if not threads:  # all are gone: whoever comes
            return [{}] * count
        chosen = (threads[i * len(threads) // count] for i in range(count))
        return [{"workers": [address], "allow_other_workers": True} for address in chosen]


def finished(result: Any) -> Future:
    """A future that has its result."""
    future: Future = Future()
    future.set_result(result)
    return future


def _joined(call: Call, assembly: Assembly, cuts: Sequence[np.ndarray]):
    return call(assembly.join(cuts))


def _cut_and_joined(call: Call, assembly: Assembly, *inputs: np.ndarray):
    return call(assembly.join(assembly.cut(inputs)))


def _tick(tick: Callable[[], None], key, result, graph, state, worker) -> None:
    if isinstance(key, tuple) and key[0] == BLOCK:
        tick()


def _local_workers(num_workers: int | None) -> int:
    pool = dask.config.get("pool", None)
    return num_workers or getattr(pool, "_max_workers", None) or dask.config.get("num_workers", None) or CPU_COUNT


@cache
def _lasting_threads(process: int, num_workers: int) -> ThreadPoolExecutor:
    """A forked process has none of the threads of its parent."""
    return ThreadPoolExecutor(num_workers, thread_name_prefix=THREADS)


def _process_pool(num_workers: int) -> ProcessPoolExecutor:
    from dask.multiprocessing import get_context, initialize_worker_process

    start = partial(initialize_worker_process, user_initializer=dask.config.get("multiprocessing.initializer", None))
    return ProcessPoolExecutor(num_workers, mp_context=get_context(), initializer=start)
