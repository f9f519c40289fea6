"""Spikes of cosmic rays: one to three channels far above what the spectrum says beside them. The only rule for them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from hs_deepatoms.spectra.noise import Noise

BESIDE = 3  # channels to each side that the neighbours are away
SIGMA = 8.0  # above what is beside it: a spike
SHOWS = 4.0  # above it: enough for a pixel to show what its neighbour in the scan has
HALF = 0.5  # of what is beside it, more than that: there shapes of spectra differ
LEAST = 0.05  # of it: what differs less is no sign of anything
SPARSE = 0.5  # of the values are 0
SINGLE = 0.1  # of the others, the lowest: single counts
FEW_COUNTS = 3  # of these, at most, are half of the others
SHARE = 0.004  # of the spectra: a channel that stands out more often is a line of some phase, no spike
FEWEST = 3
HIGHEST = 5.0  # times what half of those have: higher ones are spikes again
STEP = 128  # spectra at a time: they stay in the cache


@dataclass(frozen=True, eq=False)
class Outstanding:
    """Channels that stand out of those beside them.

    Attributes
    ----------
    row, channel : numpy.ndarray, int, shape (k,)
    value : numpy.ndarray, float32, shape (k,)
        What the channels beside it say.
    excess : numpy.ndarray, float32, shape (k,)
        How far it is above them.
    spike : numpy.ndarray, bool, shape (k,)
        So far that it is a spike, if the neighbours in the scan do not show it; else it only shows what one has.
    """

    row: np.ndarray
    channel: np.ndarray
    value: np.ndarray
    excess: np.ndarray
    spike: np.ndarray

    def of(self, chosen: np.ndarray) -> Outstanding:
        """Those that are chosen."""
        return Outstanding(*(getattr(self, one.name)[chosen] for one in fields(self)))

    @classmethod
    def none(cls) -> Outstanding:
        """Nothing."""
        return cls(np.empty(0, int), np.empty(0, int), *(np.empty(0, np.float32) for _ in "ve"), np.empty(0, bool))

    @classmethod
    def joined(cls, parts: list[Outstanding]) -> Outstanding:
        """Several as one."""
        parts = parts or [cls.none()]
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True, eq=False)
class Spikes:
    """What is a spike.

    Attributes
    ----------
    mean : numpy.ndarray, shape (channels,)
        Typical spectrum: features that all spectra have are not mistaken.
    noise : Noise
    lines : numpy.ndarray, shape (channels,)
        How far above what is beside it a line may be: where so many stand out that these are lines; elsewhere 0.
    """

    mean: np.ndarray
    noise: Noise
    lines: np.ndarray

    def find(self, rows: np.ndarray) -> Outstanding:
        """What stands out of rows (m, channels), row by row, channels rising; none in what is NaN."""
        if not len(rows) or rows.shape[1] < 2 * BESIDE + 3:
            return Outstanding.none()
        parts = []
        for start in range(0, len(rows), STEP):
            found = _stand_out(rows[start : start + STEP], self.mean, self.noise)
            parts.append(replace(found, row=found.row + start))
        found = Outstanding.joined(parts)
        return replace(found, spike=found.spike & (found.excess > self.lines[found.channel]))

    def state(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        noise = np.array([self.noise.poisson, self.noise.factor], float)
        return {"mean": self.mean, "lines": self.lines, "noise": noise}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Spikes:
        """The rule of `state`."""
        poisson, factor = state["noise"]
        lines = np.where(state["kept"], np.inf, 0) if "kept" in state else state["lines"]  # of older files
        return cls(state["mean"], Noise(bool(poisson), float(factor), "kept"), lines.astype(float))


@dataclass(frozen=True, eq=False)
class Repairs:
    """Values that replace spikes: places in the scan (rising), channels, values."""

    places: np.ndarray
    channels: np.ndarray
    values: np.ndarray

    @classmethod
    def none(cls) -> Repairs:
        """Nothing is replaced."""
        return cls(np.empty(0, int), np.empty(0, int), np.empty(0, np.float32))

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
    n = rows.shape[1]
    mean = np.maximum(np.median(rows, axis=0), 0).astype(np.float32)
    spikes = Spikes(mean, _of_single_counts(rows, noise), np.zeros(n))
    found = spikes.find(rows)
    channel, excess = found.channel[found.spike], found.excess[found.spike]
    count, lines = np.bincount(channel, minlength=n), np.zeros(n + 2)
    for one in np.flatnonzero(count > max(FEWEST, SHARE * len(rows))):
        beside = lines[one : one + 3]  # the channel and those beside it
        beside[:] = np.maximum(beside, HIGHEST * np.median(excess[channel == one]))
    return replace(spikes, lines=lines[1:-1])


def _of_single_counts(rows: np.ndarray, noise: Noise) -> Noise:
    """Where most values are 0 and none is less, the rest are single counts, of which a variance says little."""
    rows = rows[rows.any(1)][:, rows.any(0)]  # rims of aligned scans and channels that were cut say nothing
    above = rows[rows > 0]
    if not above.size or above.size > (1 - SPARSE) * rows.size or (rows < 0).any():
        return noise
    unit = float(np.quantile(above, SINGLE))
    if np.median(above) > FEW_COUNTS * unit:
        return noise
    return Noise(True, max(noise.factor, unit) if noise.poisson else unit, noise.reason)


def _stand_out(rows: np.ndarray, mean: np.ndarray, noise: Noise) -> Outstanding:
    n = rows.shape[1]
    shape = np.maximum(mean, 1e-3 * max(float(mean.mean()), 1e-12))
    left, right = np.arange(n) - BESIDE, np.arange(n) + BESIDE
    left[:BESIDE], right[-BESIDE:] = right[:BESIDE], left[-BESIDE:]  # at the rim both are the inner one
    one, two = (rows[:, at] * (shape / shape[at]) for at in (left, right))
    beside = np.maximum(one, two)
    # both neighbours and the channel itself have noise; above half as much again there is no doubt
    level = 2 * noise.factor * (np.maximum(beside, shape) if noise.poisson else np.ones_like(shape))
    row, channel = np.nonzero(rows > beside + _limit(SHOWS, level, noise) + LEAST * np.abs(beside))
    base = beside[row, channel]
    excess = rows[row, channel] - base
    level = level[row, channel] if noise.poisson else level[channel]
    spike = excess > _limit(SIGMA, level, noise) + HALF * np.abs(base)
    return Outstanding(row, channel, 0.5 * (one[row, channel] + two[row, channel]), excess, spike)


def _limit(sigma: float, level: np.ndarray, noise: Noise) -> np.ndarray:
    """How far above its expectation a value of this variance is so rarely as one of a normal noise is beyond ``sigma``.

    Counts have longer tails, the fewer the longer: Bernstein's bound, exp(-t^2 / (2 level + 2 t / 3)) with the count
    as the unit, solved for t. Of counts that are 0 beside it, 21 are not enough to be a spike.
    """
    if not noise.poisson:
        return sigma * np.sqrt(level)
    few = np.float32(noise.factor * sigma**2 / 6)
    return few + np.sqrt(few * few + np.float32(sigma**2) * level)
