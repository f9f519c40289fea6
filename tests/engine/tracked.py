"""A dask source that counts how often each chunk is loaded and how many bytes of chunks are alive at once."""

from __future__ import annotations

import os
import signal
import threading
import uuid
import weakref
from collections import Counter
from pathlib import Path

import dask.array as da
import numpy as np

_sources = weakref.WeakValueDictionary()


def pixels(shape, start):
    """A number that tells every pixel of every frame from all others."""
    grid = np.ogrid[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))]
    value = sum(g.astype(np.float32) * w for g, w in zip(grid[::-1], (1, 0.125, 7, 31), strict=False))
    return np.asarray(value, dtype=np.float32)


class Tracked:
    """``array`` is the lazy source; ``loads`` counts per chunk; ``most`` is the peak of bytes alive."""

    def __init__(self, shape, chunks, delay=None):
        self.loads: Counter = Counter()
        self.alive = self.most = 0
        self._lock = threading.Lock()
        self._delay = delay
        chunks = da.core.normalize_chunks(chunks, shape, dtype=np.float32)
        # By name: a cluster inside this process pickles its graphs.
        self.name = uuid.uuid4().hex
        _sources[self.name] = self
        self.array = da.map_blocks(
            _load, self.name, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * len(shape), "f4")
        )

    def load(self, info):
        """One chunk."""
        if self._delay:
            self._delay()
        start = [a for a, _ in info["array-location"]]
        chunk = np.ascontiguousarray(np.broadcast_to(pixels(info["chunk-shape"], start), info["chunk-shape"]))
        with self._lock:
            self.loads[info["chunk-location"]] += 1
            self.alive += chunk.nbytes
            self.most = max(self.most, self.alive)
        weakref.finalize(chunk, self._dropped, chunk.nbytes)
        return chunk

    def _dropped(self, size):
        with self._lock:
            self.alive -= size


def _load(name, block_info=None):
    return _sources[name].load(block_info[None])


def total(array, block, *arguments):
    """A number that depends on every pixel of the padded array."""
    weights = np.arange(1, array.shape[-1] + 1, dtype=np.float64)
    return float((array.astype(np.float64) @ weights).sum()) + sum(arguments)


def doubled(array, block):
    """The core twice, as two classes."""
    core = array[:, *block.inner]
    return np.stack([core, -core])


def fails(array, block):
    """Raises on the second frame."""
    if block.frames[0] == 1:
        raise KeyError("no such column: 'height'")
    return 0


def dies_once(array, block, marker):
    """As `total`; the worker that is the first to reach the fourth frame is killed there."""
    if block.frames[0] == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return total(array, block)
