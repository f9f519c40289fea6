"""Spikes of cosmic rays: one to three channels far above what the spectrum says beside them. The only rule for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.spectra.noise import Noise

BESIDE = 3  # channels to each side that the neighbours are away
SIGMA = 8.0
SHARE = 0.004  # of the spectra: a channel that stands out more often is a line of some phase, no spike
FEWEST = 3
STEP = 128  # spectra at a time: they stay in the cache


@dataclass(frozen=True, eq=False)
class Spikes:
    """What is a spike.

    Attributes
    ----------
    mean : numpy.ndarray, shape (channels,)
        Typical spectrum: features that all spectra have are not mistaken.
    noise : Noise
    kept : numpy.ndarray, bool, shape (channels,)
        Channels in which so many stand out that these are lines.
    """

    mean: np.ndarray
    noise: Noise
    kept: np.ndarray

    def mend(self, rows: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows (m, channels) without spikes, the same array where there are none; and what `find` found."""
        row, channel, value = found = self.find(rows)
        if row.size:
            rows = rows.copy()
            rows[row, channel] = value
        return rows, found

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, channel and repaired value of the spikes in rows (m, channels); none in what is NaN."""
        n = rows.shape[1]
        if n < 2 * BESIDE + 3:
            return np.empty(0, int), np.empty(0, int), np.empty(0, np.float32)
        parts = []
        for start in range(0, len(rows), STEP):
            row, channel, value = _stand_out(rows[start : start + STEP], self.mean, self.noise)
            parts.append((row + start, channel, value))
        row, channel, value = (np.concatenate(one) for one in zip(*parts, strict=True))
        spike = ~self.kept[channel]
        return row[spike], channel[spike], value[spike]

    def state(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        return {"mean": self.mean, "kept": self.kept, "noise": np.array([self.noise.poisson, self.noise.factor], float)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Spikes:
        """The rule of `state`."""
        poisson, factor = state["noise"]
        return cls(state["mean"], Noise(bool(poisson), float(factor), "kept"), state["kept"].astype(bool))


@dataclass(frozen=True, eq=False)
class Repairs:
    """Values that replace spikes: places in the scan (rising), channels, values."""

    places: np.ndarray
    channels: np.ndarray
    values: np.ndarray

    def repair(self, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows (m, channels) of the places ``index`` without spikes; the same array where there is none."""
        if not self.places.size:
            return rows
        order = np.argsort(index)
        at = np.searchsorted(index, self.places, sorter=order).clip(max=len(index) - 1)
        here = index[order[at]] == self.places
        if not here.any():
            return rows
        rows = rows.copy()
        rows[order[at[here]], self.channels[here]] = self.values[here]
        return rows


def learn_spikes(rows: np.ndarray, noise: Noise) -> Spikes:
    """From spectra (m, channels) of all over the scan."""
    mean = np.maximum(np.median(rows, axis=0), 0).astype(np.float32)
    spikes = Spikes(mean, noise, np.zeros(rows.shape[1], bool))
    count = np.bincount(spikes.find(rows)[1], minlength=rows.shape[1])
    kept = count > max(FEWEST, SHARE * len(rows))
    return Spikes(mean, noise, np.convolve(kept, np.ones(3), mode="same") > 0)


def _stand_out(rows: np.ndarray, mean: np.ndarray, noise: Noise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = rows.shape[1]
    shape = np.maximum(mean, 1e-3 * max(float(mean.mean()), 1e-12))
    left, right = np.arange(n) - BESIDE, np.arange(n) + BESIDE
    left[:BESIDE], right[-BESIDE:] = right[:BESIDE], left[-BESIDE:]  # at the rim both are the inner one
    one, two = (rows[:, at] * (shape / shape[at]) for at in (left, right))
    beside = np.maximum(one, two)
    # both neighbours and the channel itself have noise; above half as much again there is no doubt
    level = 2 * noise.factor * (np.maximum(beside, shape) if noise.poisson else np.ones_like(shape))
    row, channel = np.nonzero(rows > beside + SIGMA * np.sqrt(level) + 0.5 * np.abs(beside))
    return row, channel, 0.5 * (one[row, channel] + two[row, channel])
