"""A spectrum image, read block by block: float32 spectra with their places, without spikes and dead channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np

from hs_deepatoms._core.progress import progress
from hs_deepatoms.engine.ahead import in_threads
from hs_deepatoms.engine.boxes import frame_boxes

BLOCK = 32 * 2**20  # bytes of float32 spectra that are read together
CACHED = 4 * 2**20  # bytes of them that are worked on together
SOME = 2048  # spectra that stand for all of them
LOOKS = 8  # places in the scan that these are taken from
FARTHEST = 16  # times as many pixels, where most are masked

Box = tuple[slice, ...]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Cube:
    """Spectra (n, channels) of a scan of any number of dimensions.

    Attributes
    ----------
    data : numpy or dask array, shape (*scan, energies)
    used : numpy.ndarray, bool, shape (n,)
        Pixels that are not masked, scan flattened in C order.
    channels : numpy.ndarray, bool, shape (energies,)
        Energies that are not masked.
    repair : callable, optional
        ``repair(places, rows)`` gives rows without spikes.
    show_progressbar : bool or None
        Of each pass.
    num_workers : int, optional
        Threads in which blocks are worked on. None: as many as there are cores, at most 8.
    """

    data: Any
    used: np.ndarray
    channels: np.ndarray
    repair: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    show_progressbar: bool | None = False
    num_workers: int | None = None

    @property
    def scan(self) -> tuple[int, ...]:
        """Shape of the scan."""
        return tuple(self.data.shape[:-1])

    @property
    def n(self) -> int:
        """Number of pixels, masked ones included."""
        return self.used.size

    @property
    def n_channels(self) -> int:
        """Number of energies that are used."""
        return int(self.channels.sum())

    def blocks(self, what: str = "spectra") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places (m,) in the flattened scan, rising, and spectra (m, channels) with only finite numbers, float32.

        Which spectra come together does not depend on the chunks of the data; which block comes first does.
        """
        whole = bool(self.channels.all())
        with progress(self.n, what, self.show_progressbar, unit="spectrum") as bar:
            for index, rows in self._tiles(bar):
                rows = rows if whole else rows[:, self.channels]
                good = np.isfinite(rows).all(1)
                if not good.any():
                    continue
                if not good.all():
                    index, rows = index[good], rows[good]
                yield index, rows if self.repair is None else self.repair(index, rows)

    def worked(self, what: str, work: Callable[[np.ndarray, np.ndarray], Result]) -> Iterator[Result]:
        """``work(places, spectra)`` of all `blocks`, in threads, in their order."""
        return in_threads(work, self.blocks(what), self.num_workers)

    def _tiles(self, bar: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places and spectra of the unmasked pixels of tiles, each as soon as it has been read."""
        tile = tile_shape(self.scan, max(1, CACHED // (4 * self.n_channels)))
        number = _tile_numbers(self.scan, tile)
        left = np.bincount(number[self.used], minlength=int(number.max(initial=0)) + 1)
        edges = getattr(self.data, "chunks", None) or _grid(self.scan, tile)
        places = np.arange(self.n).reshape(self.scan)
        begun: dict[int, list] = {}
        for box in scan_boxes(self.scan, self.data.shape[-1], edges):
            index = np.atleast_1d(places[box]).ravel()
            bar.update(index.size)
            keep = self.used[index]
            if not keep.any():
                continue
            rows = self._read(box)
            index, rows = (index, rows) if keep.all() else (index[keep], rows[keep])
            for one in np.unique(number[index]):
                mine = number[index] == one
                begun.setdefault(one, []).append((index, rows) if mine.all() else (index[mine], rows[mine]))
                left[one] -= int(mine.sum())
                if not left[one]:
                    yield _by_place(begun.pop(one))

    def some(self, n: int = SOME) -> np.ndarray:
        """Spectra (m, energies) of unmasked pixels from all over the scan, as they are, masked energies included.

        Which ones does not depend on the chunks: some runs of neighbours, so that few chunks are read.
        """
        used = np.flatnonzero(self.used)
        if used.size <= n:
            starts, length = [0] if used.size else [], used.size
        else:
            length = n // LOOKS
            starts = np.linspace(0, used.size - length, LOOKS).astype(int)
        parts = [np.empty((0, self.data.shape[-1]), np.float32)]
        for start in starts:
            run = used[start : start + length]
            run = run[run < run[0] + FARTHEST * length]
            parts += [self._read(box)[self.used[first:stop]] for first, stop, box in self._runs(run[0], run[-1] + 1)]
        return np.concatenate(parts)

    def _runs(self, first: int, stop: int) -> Iterator[tuple[int, int, Box]]:
        for box in frame_boxes(int(first), int(stop), self.scan):
            size = math.prod(one.stop - one.start for one in box)
            yield first, first + size, box
            first += size

    def _read(self, box: Box) -> np.ndarray:
        part = self.data[box]
        part = part.compute() if hasattr(part, "dask") else part
        return np.asarray(part).reshape(-1, self.data.shape[-1]).astype(np.float32)


def tile_shape(scan: tuple[int, ...], pixels: int) -> tuple[int, ...]:
    """Sides of tiles of at most so many pixels, powers of two where they are not those of the scan.

    Examples
    --------
    >>> tile_shape((3, 200, 300), 1024), tile_shape((200, 7), 1024), tile_shape((5000,), 1024)
    ((1, 16, 64), (128, 7), (1024,))
    """
    if not scan:
        return ()
    wide = scan[-1] if len(scan) > 1 and scan[-1] ** 2 <= 4 * pixels else _power_of_two(2 * math.sqrt(pixels))
    wide = min(scan[-1], _power_of_two(pixels) if len(scan) == 1 else wide)
    high = (min(scan[-2], _power_of_two(pixels / wide)),) if len(scan) > 1 else ()
    return (*(1 for _ in scan[:-2]), *high, wide)


def _power_of_two(size: float) -> int:
    """The largest one that is not above ``size``, at least 1."""
    return 2 ** max(0, int(math.log2(max(size, 1))))


def _grid(scan: tuple[int, ...], tile: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Sides of the tiles along every axis, as dask gives those of chunks."""
    return tuple(tuple(min(side, size - start) for start in range(0, size, side))
                 for size, side in zip(scan, tile, strict=True))  # fmt: skip


def _tile_numbers(scan: tuple[int, ...], tile: tuple[int, ...]) -> np.ndarray:
    """The tile (n,) of every pixel."""
    number = np.zeros(scan, np.int32)
    for axis, (size, side) in enumerate(zip(scan, tile, strict=True)):
        along = np.arange(size, dtype=np.int32) // side
        number = number * (int(along[-1]) + 1) + along.reshape([-1 if k == axis else 1 for k in range(len(scan))])
    return number.ravel()


def _by_place(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Parts of a tile as one, in the order of the scan."""
    if len(parts) == 1:
        return parts[0]
    index, rows = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = np.argsort(index)
    return index[order], rows[order]


def scan_boxes(scan: tuple[int, ...], width: int, chunks: tuple | None = None, most: int = BLOCK) -> list[Box]:
    """Boxes that cover a scan, each of at most ``most`` bytes of float32, inside the chunks of dask data.

    Examples
    --------
    >>> scan_boxes((4, 5), 2, most=80)
    [(slice(0, 2, None), slice(0, 5, None)), (slice(2, 4, None), slice(0, 5, None))]
    """
    if not scan:
        return [()]
    edges = chunks[: len(scan)] if chunks else tuple((size,) for size in scan)
    spans = []
    for sizes in edges:
        stops = np.cumsum(sizes)
        spans.append([(int(stop - size), int(stop)) for size, stop in zip(sizes, stops, strict=True)])
    pixels = max(1, most // (4 * width))
    return [box for whole in product(*spans) for box in _split(whole, pixels)]


def _split(spans: tuple[tuple[int, int], ...], pixels: int) -> list[Box]:
    """A box cut along its first axes until no part has more pixels."""
    if math.prod(stop - start for start, stop in spans) <= pixels:
        return [tuple(slice(*span) for span in spans)]
    (start, stop), rest = spans[0], spans[1:]
    step = max(1, pixels // max(1, math.prod(b - a for a, b in rest)))
    parts = []
    for first in range(start, stop, step):
        one = (first, min(first + step, stop))
        if rest and step == 1:
            parts += [(slice(*one), *box) for box in _split(rest, pixels)]
        else:
            parts.append((slice(*one), *(slice(*span) for span in rest)))
    return parts
