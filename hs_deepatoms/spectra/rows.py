"""Spectra of a spectrum image, block by block, with spikes taken out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from hs_deepatoms.spectra.search import Search
from hs_deepatoms.spectra.spikes import Repairs, Spikes

BATCH = 32 * 2**20  # bytes of float32 spectra that are read together


@dataclass(eq=False)
class SpectrumRows:
    """The spectra of a map.

    Parameters
    ----------
    data : numpy or dask array, shape (ny, nx, n)
    channels : numpy.ndarray of int, optional
        Those that are used; None: all.
    spikes : Spikes, optional
        What stands out; where no neighbour in the scan shows it, too, it is replaced by what the channels beside it
        say. None: spikes stay.
    num_workers : int, optional
        Threads that dask uses.

    Attributes
    ----------
    repairs : Repairs or None
        What is replaced; None: no pass over all spectra has looked for it yet.
    """

    data: Any
    channels: np.ndarray | None = None
    spikes: Spikes | None = None
    num_workers: int | None = None
    repairs: Repairs | None = field(default=None, init=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return tuple(self.data.shape[:2])

    @property
    def repaired(self) -> int:
        """How many values are replaced."""
        return 0 if self.repairs is None else len(self.repairs.places)

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum that are used."""
        return self.data.shape[2] if self.channels is None else len(self.channels)

    def blocks(self, wanted: np.ndarray | None = None) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Parts of the map as (place, float32 spectra of shape (h, w, n)), of those with a wanted pixel (ny, nx)."""
        self.find_spikes()
        for place in self._places():
            if wanted is None or wanted[place].any():
                yield place, self.read(place)

    def first_blocks(self) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """As `blocks` of everything, spikes found on the way, so that nothing is read twice.

        Last come single spectra that were given before, without the spikes that only neighbours in other parts tell.
        """
        if self.spikes is None or self.repairs is not None:
            yield from self.blocks()
            return
        search, (ny, nx), kept = Search(self.spikes, self.shape), self.shape, []
        places = np.arange(ny * nx).reshape(ny, nx)
        for place in self._places():
            part = self._raw(place)
            index = places[place].ravel()
            looked = search.look(index, part.reshape(len(index), -1))
            kept += zip(index[looked.doubted], looked.rows[looked.doubted], strict=True)
            search.add(looked)
            yield place, looked.rows.reshape(part.shape)
        self.repairs = search.repairs()
        doubts = search.doubts()
        spoiled = set(doubts.places.tolist())
        for at, row in kept:
            y, x = divmod(int(at), nx)
            if int(at) in spoiled:
                yield (slice(y, y + 1), slice(x, x + 1)), doubts.repair(np.array([at]), row[None])[None]

    def find_spikes(self) -> None:
        """A pass over all spectra for what is replaced, where that is not known yet."""
        if self.spikes is not None and self.repairs is None:
            for _ in self.first_blocks():
                pass

    def read(self, place: tuple[slice, slice]) -> np.ndarray:
        """Spectra of a part of the map, float32, shape (h, w, n)."""
        self.find_spikes()
        part = self._raw(place)
        if self.repairs is None or not self.repairs.places.size:
            return part
        y, x = (np.arange(size)[one] for size, one in zip(self.shape, place, strict=True))
        index = (y[:, None] * self.shape[1] + x).ravel()
        return self.repairs.repair(index, part.reshape(len(index), -1)).reshape(part.shape)

    def _raw(self, place: tuple[slice, slice]) -> np.ndarray:
        part = self.data[place]
        if hasattr(part, "dask"):
            part = part.compute(**({} if self.num_workers is None else {"num_workers": self.num_workers}))
        part = np.asarray(part) if self.channels is None else np.asarray(part)[..., self.channels]
        return part.astype(np.float32)

    def some(self, most: int, rng: np.random.Generator) -> np.ndarray:
        """At most so many spectra (k, n) from random blocks of neighbours."""
        ny, nx = self.shape
        side = max(1, min(ny, nx, int(np.sqrt(most / 8))))
        places = list(product(range(0, ny, side), range(0, nx, side)))
        chosen = rng.permutation(len(places))[: max(1, most // side**2)]
        parts = [self.read((slice(places[i][0], places[i][0] + side), slice(places[i][1], places[i][1] + side)))
                 for i in np.sort(chosen)]  # fmt: skip
        return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])[:most]

    def _places(self) -> list[tuple[slice, slice]]:
        ny, nx, n = self.data.shape
        most = max(1, BATCH // (4 * n))
        if hasattr(self.data, "chunks"):
            spans = [_joined(chunks, most) for chunks in self.data.chunks[:2]]
            return [part for y, x in product(*spans) for part in _cut(y, x, most)]
        step = max(1, most // nx)
        return [(slice(y, min(y + step, ny)), slice(0, nx)) for y in range(0, ny, step)]


def _cut(y: tuple[int, int], x: tuple[int, int], most: int) -> list[tuple[slice, slice]]:
    """A box as it is, or in strips where it has far too many spectra: its chunks are then read more than once."""
    rows, columns = y[1] - y[0], x[1] - x[0]
    step = rows if rows * columns <= 4 * most else max(1, most // columns)
    return [(slice(a, min(a + step, y[1])), slice(*x)) for a in range(y[0], y[1], step)]


def _joined(chunks: tuple[int, ...], limit: int) -> list[tuple[int, int]]:
    """Spans of whole chunks, neighbours joined up to a side of about sqrt(limit)."""
    side, spans, start = max(1, int(limit**0.5)), [], 0
    for chunk in chunks:
        if spans and spans[-1][1] - spans[-1][0] + chunk <= side:
            spans[-1] = (spans[-1][0], start + chunk)
        else:
            spans.append((start, start + chunk))
        start += chunk
    return spans
