"""Spectra of a spectrum image, block by block, with spikes taken out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from hs_deepatoms.spectra.spikes import FEWEST, SHARE

BATCH = 32 * 2**20  # bytes of float32 spectra that are read together
SPIKE = 8.0  # standard deviations of the noise that a spike stands out


@dataclass(eq=False)
class SpectrumRows:
    """The spectra of a map.

    Parameters
    ----------
    data : numpy or dask array, shape (ny, nx, n)
    channels : numpy.ndarray of int, optional
        Those that are used; None: all.
    typical : numpy.ndarray, optional
        A spectrum of typical shape, with which sharp lines of all spectra are told from spikes; None: spikes stay.
    kept : numpy.ndarray of bool, optional
        Channels that stand out of so many spectra that they are a line of some phase; see :meth:`learn_lines`.
    num_workers : int, optional
        Threads that dask uses.

    Attributes
    ----------
    spikes : int
        Channels that were repaired, counted in the last pass over all spectra.
    """

    data: Any
    channels: np.ndarray | None = None
    typical: np.ndarray | None = None
    num_workers: int | None = None
    kept: np.ndarray | None = None
    spikes: int = field(default=0, init=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return tuple(self.data.shape[:2])

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum that are used."""
        return self.data.shape[2] if self.channels is None else len(self.channels)

    def blocks(self, wanted: np.ndarray | None = None) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Parts of the map as (place, float32 spectra of shape (h, w, n)), of those with a wanted pixel (ny, nx)."""
        self.spikes = 0
        for place in self._places():
            if wanted is None or wanted[place].any():
                yield place, self.read(place)

    def read(self, place: tuple[slice, slice]) -> np.ndarray:
        """Spectra of a part of the map, float32, shape (h, w, n)."""
        part = self.data[place]
        if hasattr(part, "dask"):
            part = part.compute(**({} if self.num_workers is None else {"num_workers": self.num_workers}))
        part = np.asarray(part) if self.channels is None else np.asarray(part)[..., self.channels]
        part = part.astype(np.float32)
        if self.typical is not None:
            part, found = without_spikes(part, self.typical, self.kept)
            self.spikes += found
        return part

    def learn_lines(self, spectra: np.ndarray) -> None:
        """Tell from a sample (k, n) which channels are lines that only some spectra have, and stay."""
        self.kept = None
        found = np.bincount(standing_out(spectra, self.typical)[1], minlength=self.n_channels)
        often = found > max(FEWEST, SHARE * len(spectra))
        self.kept = np.convolve(often, np.ones(3), mode="same") > 0

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


def without_spikes(spectra: np.ndarray, typical: np.ndarray, kept=None) -> tuple[np.ndarray, int]:
    """Spectra with single or double channels that stand out replaced by the median of their neighbours.

    Parameters
    ----------
    spectra : numpy.ndarray, shape (..., n)
    typical : numpy.ndarray, shape (n,)
        Lines that all spectra have are no spikes.
    kept : numpy.ndarray of bool, shape (n,), optional
        Channels that stay.

    Returns
    -------
    numpy.ndarray, int
        The spectra (the same array where there is nothing to do) and the number of channels replaced.
    """
    flat = spectra.reshape(-1, spectra.shape[-1])
    row, channel, excess = standing_out(flat, typical)
    if kept is not None:
        spike = ~kept[channel]
        row, channel, excess = row[spike], channel[spike], excess[spike]
    if not len(row):
        return spectra, 0
    flat = flat.copy()
    flat[row, channel] -= excess
    return flat.reshape(spectra.shape), len(row)


def standing_out(flat: np.ndarray, typical: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, channel and excess of what stands out of spectra (k, n): `SPIKE` standard deviations of counting noise above
    the median of five channels, after the typical spectrum, scaled to the same total, has been taken away."""
    with np.errstate(invalid="ignore"):
        usual = typical / max(typical.sum(), 1e-30) * np.maximum(flat.sum(-1, keepdims=True), 0)
        left = flat - usual
        rows = np.flatnonzero((left > SPIKE / 2 * np.sqrt(np.maximum(usual, 1.0))).any(-1))
    left = left[rows]
    middle = running_median(left)
    base = np.maximum(usual[rows] + middle, 1.0)
    spread = 1.4826 * np.median(np.abs(left - middle), -1, keepdims=True)
    row, channel = np.nonzero(left - middle > SPIKE * np.maximum(np.sqrt(base), spread))
    return rows[row], channel, (left - middle)[row, channel]


def running_median(rows: np.ndarray) -> np.ndarray:
    """Median of five neighbouring columns, (k, n) -> (k, n); the ends are repeated."""
    wide = np.pad(rows, ((0, 0), (2, 2)), mode="edge")
    a, b, c, d, e = (wide[:, i : i + rows.shape[1]] for i in range(5))
    # the median of five by six comparisons: drop the smallest and the largest of two pairs
    low, high = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    small, large = np.minimum(low, high), np.maximum(low, high)
    return np.maximum(small, np.minimum(large, e))


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
