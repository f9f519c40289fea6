"""What a network is to say of each of several spectra, and where that is among its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Targets:
    """Numbers of one spectrum, or of one image.

    Attributes
    ----------
    values : numpy.ndarray, float32, shape (k, ny, nx)
    noise : numpy.ndarray, float32, shape (k, ny, nx)
        Variance of the values from noise, in all of them in the same proportion from pixel to pixel.
    weights : numpy.ndarray, shape (k,)
        What the squared error of each, over its variance, counts; the sum is 1.
    spectra : callable, optional
        ``spectra(y0, y1, x0, x1)``: whole spectra (h, w, n) of a tile, to be decoded as well.
    length : int
        n; 0: none.
    spread : numpy.ndarray, shape (n,), optional
        Variance of the noise of each channel of these; None: counts.
    start : numpy.ndarray, shape (n,), optional
        What their decoder says at first: the mean spectrum, or its logarithm.
    tied : int
        How many values, the first ones, follow from these spectra.
    channel_noise : numpy.ndarray, float32, shape (ny, nx), optional
        Variance, relative to its mean, of the noise of a single channel, if the last value is the logarithm of the
        total: its intervals are for channels.
    """

    values: np.ndarray
    noise: np.ndarray
    weights: np.ndarray
    spectra: Any = None
    length: int = 0
    spread: np.ndarray | None = None
    start: np.ndarray | None = None
    tied: int = 0
    channel_noise: np.ndarray | None = None


@dataclass(frozen=True)
class Slot:
    """Where the numbers of one spectrum are among the outputs of a network.

    Attributes
    ----------
    first, count : int
        Its targets.
    outputs : int
        Targets of all spectra.
    begin, length : int
        Its channels among those of all spectra that are decoded whole.
    """

    first: int
    count: int
    outputs: int
    begin: int = 0
    length: int = 0

    def of(self, out: np.ndarray) -> np.ndarray:
        """Means, deviations and channels (2 * count + length, ...) among those of all."""
        if self.count == self.outputs:
            return out
        k, own = self.outputs, slice(self.first, self.first + self.count)
        return np.concatenate([out[own], out[k : 2 * k][own], self._channels(out[2 * k :])])

    def of_decoded(self, out: np.ndarray) -> np.ndarray:
        """Means and channels (count + length, ...) among those of all, as a decoder gives them."""
        if self.count == self.outputs:
            return out
        return np.concatenate([out[self.first : self.first + self.count], self._channels(out[self.outputs :])])

    def root(self, root: np.ndarray) -> np.ndarray:
        """Square root (count, count) of the correlation of its errors, from that of all."""
        if self.count == self.outputs:
            return root
        own = root[self.first : self.first + self.count].astype(float)
        return np.linalg.cholesky(own @ own.T)

    def _channels(self, channels: np.ndarray) -> np.ndarray:
        return channels[self.begin : self.begin + self.length]


def slots(counts: Sequence[int], lengths: Sequence[int]) -> list[Slot]:
    """Slots of spectra with so many targets, and so many channels that are decoded whole.

    Examples
    --------
    >>> slots([3, 2], [0, 0])[1]
    Slot(first=3, count=2, outputs=5, begin=0, length=0)
    """
    firsts, begins = ([0, *accumulate(one)] for one in (counts, lengths))
    return [Slot(first, count, sum(counts), begin, length)
            for first, count, begin, length in zip(firsts, counts, begins, lengths, strict=False)]  # fmt: skip
