"""How well spectra were predicted: sums over held-out pixels, block of rows by block of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hs_deepatoms.spectra.blocks import WIDE
from hs_deepatoms.spectra.peaks import MeasuredPeaks, measured_peaks

FEWEST = 4  # blocks whose scatter says anything


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Some measured pixels that were held out.

    Parameters
    ----------
    energy : numpy.ndarray, shape (n,)
    measured, noise : numpy.ndarray, shape (m, n)
        Normalised spectra, and the variance of their noise.
    block : numpy.ndarray of int, shape (m,)
    reference : numpy.ndarray, shape (n,)
        The mean spectrum of the training that these pixels were held out from: what R2 is against.
    every : int
        Peaks are looked for in every so many pixels.
    """

    energy: np.ndarray
    measured: np.ndarray
    noise: np.ndarray
    block: np.ndarray
    reference: np.ndarray
    every: int = 1

    @cached_property
    def peaks(self) -> MeasuredPeaks:
        """Where the peaks of the measured spectra may be, of every ``every``-th."""
        return measured_peaks(self.measured[:: self.every], self.noise[:: self.every], self.energy)


@dataclass(eq=False)
class SpectrumScores:
    """Scores of one prediction, gathered part by part.

    Parameters
    ----------
    n : int
        Channels.
    """

    n: int
    error: np.ndarray = field(init=False)
    variance: np.ndarray = field(init=False)
    noise: np.ndarray = field(init=False)
    blocks: dict = field(init=False, default_factory=dict)
    angles: list = field(init=False, default_factory=list)
    shifts: list = field(init=False, default_factory=list)
    count: int = field(init=False, default=0)

    def __post_init__(self):
        self.error, self.variance, self.noise = (np.zeros(self.n) for _ in range(3))

    def add(self, held: HeldOut, predicted: np.ndarray) -> None:
        """Predictions (m, n) of some pixels."""
        square = (held.measured - predicted) ** 2
        around = (held.measured - held.reference) ** 2
        self.error += square.sum(0, dtype=float)
        self.variance += around.sum(0, dtype=float)
        self.noise += held.noise.sum(0, dtype=float)
        self.count += len(predicted)
        for key in np.unique(held.block):
            mine = held.block == key
            sums = self.blocks.setdefault(int(key), np.zeros(2))
            sums += [square[mine].sum(dtype=float), held.noise[mine].sum(dtype=float)]
        self.angles.append(spectral_angle(held.measured, predicted))
        self.shifts.append(held.peaks.distance(predicted[:: held.every]))

    def result(self) -> dict[str, float]:
        """The scores; R2 also without the part of the error and of the variance that is the noise of the spectra."""
        error, variance, noise = self.error.sum(), self.variance.sum(), self.noise.sum()
        n = max(1, self.count * self.n)
        return {
            "r2": 1 - error / variance if variance > 0 else np.nan,
            "r2_noise_removed": 1 - (error - noise) / (variance - noise) if variance > noise else np.nan,
            "rmse": float(np.sqrt(error / n)),
            "spectral_angle": float(np.mean(np.concatenate(self.angles))) if self.angles else np.nan,
            "peak_error": self._peak_error(),
        }

    def _peak_error(self) -> float:
        """Mean over the spectra that have a peak; NaN if none has."""
        shifts = np.concatenate(self.shifts) if self.shifts else np.empty(0)
        shifts = shifts[np.isfinite(shifts)]
        return float(shifts.mean()) if shifts.size else np.nan

    def per_energy(self) -> np.ndarray:
        """R2 of every channel; NaN where nothing varies."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.variance > 0, 1 - self.error / self.variance, np.nan)


def spectral_angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle (m,) between spectra (m, n), rad."""
    size = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.arccos(np.clip((first * second).sum(1) / np.maximum(size, 1e-30), -1, 1))


def beats(own: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> tuple[float, float]:
    """By how much the squared error of a model is less than another's, over the other's, and one sigma of it.

    Parameters
    ----------
    own, other : dict of int to numpy.ndarray
        Small block -> sums of squared errors and of the variance of noise in them; noise is taken out. Of a prediction
        without any error nothing can be removed: 0.
    """
    keys = np.array(sorted(own))
    gain, spread = sum_over_blocks(np.array([other[key][0] - own[key][0] for key in keys]), keys)
    level = sum(one[0] - one[1] for one in other.values())
    level = level if level > 0 else sum(one[0] for one in other.values())
    return (float(gain / level), float(spread / level)) if level > 0 else (0.0, 0.0)


def sum_over_blocks(values: np.ndarray, block: np.ndarray) -> tuple[float, float]:
    """Sum of values (n,), and its standard deviation from their scatter over blocks of neighbours.

    Neighbouring blocks may be alike: blocks of twice, four times, ... the side are looked at as well, and the largest
    scatter counts (Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480).

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    block : numpy.ndarray of int, shape (n,)
        As `small_blocks` numbers them.
    """
    row, column = np.divmod(block, WIDE)
    rest, spread = values - values.mean(), 0.0
    for double in range(16):
        _, group = np.unique((row >> double) * WIDE + (column >> double), return_inverse=True)
        n = int(group.max()) + 1
        if n < 2 or (double and n < FEWEST):
            break
        spread = max(spread, float(np.sqrt((np.bincount(group, rest) ** 2).sum() * n / (n - 1))))
    return float(values.sum()), spread


def edge_strength(energy: np.ndarray, onset: float, width: float) -> Callable[[np.ndarray], np.ndarray] | None:
    """A function from spectra (m, n) to net counts (m,) above a power-law background in front of an edge.

    None where the energy axis does not reach far enough to both sides. The background is a line through the logarithms
    of the counts against the logarithm of the energy, fitted in a window as wide as the one that is summed.
    Egerton, EELS in the Electron Microscope (Springer 2011), chapter 4.4.
    """
    before = (energy >= onset - 1.2 * width) & (energy < onset - 0.1 * width)
    after = (energy >= onset) & (energy < onset + width)
    if before.sum() < 4 or after.sum() < 3 or energy[-1] < onset + 0.8 * width:
        return None
    x = np.log(energy)
    centre = x[before].mean()
    slope = (x[before] - centre) / ((x[before] - centre) ** 2).sum()

    def strength(spectra: np.ndarray) -> np.ndarray:
        log = np.log(np.maximum(spectra[:, before], 1e-12 * np.abs(spectra).max()))
        tilt = log @ slope
        back = np.exp(log.mean(1)[:, None] + tilt[:, None] * (x[after] - centre))
        return (spectra[:, after] - back).sum(1)

    return strength
