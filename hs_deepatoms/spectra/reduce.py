"""Spectra as a few numbers each: projections on the components that stand out of the noise, the noise made even."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.exact_sum import ExactSum
from hs_deepatoms.spectra.noise import Noise, noise_of
from hs_deepatoms.spectra.rank import Rank, count_components
from hs_deepatoms.spectra.spikes import Repairs, Spikes, learn_spikes

KEPT = 20  # projections that are kept
FAINT = 0.05  # of the mean: fainter spectra and channels are not weighed up further


@dataclass(frozen=True, eq=False)
class Reduced:
    """A cube in the space of its leading components.

    Attributes
    ----------
    places : numpy.ndarray, int, shape (m,)
        Pixels that are finite and not masked, rising.
    points : numpy.ndarray, float64, shape (m, r)
        ``spectra @ down``.
    total : numpy.ndarray, shape (m,)
        Sum of each spectrum.
    square : numpy.ndarray, shape (m,)
        Sum of the squares of each spectrum over ``level``.
    down, up : numpy.ndarray, shapes (channels, r), (r, channels)
        ``points @ up`` are spectra again.
    level : numpy.ndarray, shape (channels,)
        Variance of the noise of a mean pixel by channel, but for the factor of ``noise``.
    mean : numpy.ndarray, shape (channels,)
    values : numpy.ndarray
        Eigenvalues of the second moments, falling.
    rank : Rank
    noise : Noise
    """

    places: np.ndarray
    points: np.ndarray
    total: np.ndarray
    square: np.ndarray
    down: np.ndarray
    up: np.ndarray
    level: np.ndarray
    mean: np.ndarray
    values: np.ndarray
    rank: Rank
    noise: Noise

    @property
    def brightness(self) -> np.ndarray:
        """Sum of each spectrum over the mean one (m,), not below 0.05."""
        return brightness_of(self.total, self.total.mean())


@dataclass(frozen=True, eq=False)
class _Moments:
    n: int
    mean: np.ndarray
    level: np.ndarray
    square: np.ndarray  # (channels, channels), not scaled by level


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known before the spectra are read: channels without numbers are left out."""

    cube: Cube
    noise: Noise
    spikes: Spikes | None
    typical: float  # sum of a spectrum
    largest: np.ndarray  # of each channel


def look_over(cube: Cube, poisson: bool | None, spikes: bool) -> Survey:
    """Channels that are never finite, the noise, and what is a spike, from some of the spectra.

    Raises
    ------
    InvalidArgumentError
        If no spectrum is finite.
    """
    some = cube.some()
    channels = cube.channels & np.isfinite(some).any(0) if len(some) else cube.channels
    some = some[:, channels]
    some = some[np.isfinite(some).all(1)] if some.size else some
    if not some.size:
        got = "a cube without a spectrum of finite numbers"
        raise InvalidArgumentError(explain(got, "spectra of finite numbers", "Check how it was read, and the masks."))
    noise = noise_of(some, poisson)
    if poisson and some.mean() <= 0:
        got = "poisson=True for spectra whose mean is not above zero"
        todo = "Leave poisson out, or decompose before the background is subtracted."
        raise InvalidArgumentError(explain(got, "counts", todo))
    known = learn_spikes(some, noise) if spikes else None
    typical = float(some.sum(1, dtype=float).mean())
    return Survey(replace(cube, channels=channels), noise, known, typical, np.abs(some).max(0).astype(float))


def reduce_cube(survey: Survey) -> tuple[Cube, Reduced, int]:
    """Two passes over the spectra, second moments and then projections.

    Returns
    -------
    cube : Cube
        With its spikes repaired.
    reduced : Reduced
    spikes : int
        How many.
    """
    cube, spikes, places, total, moments = _moments(survey)
    values, axes = _axes(moments)
    rank = count_components(values, moments.n)
    scale = np.sqrt(moments.level)
    down, up = axes / scale[:, None], (axes * scale[:, None]).T
    points, square = np.empty((moments.n, axes.shape[1])), np.empty(moments.n)
    thin, level = down.astype(np.float32), (1 / scale).astype(np.float32)
    for index, found, size in cube.worked("projecting", partial(_projected, thin, level)):
        here = np.searchsorted(places, index)
        points[here], square[here] = found, size
    left = values[rank.number :].sum() / max(1, values.size - rank.number) / max(0.1, 1 - rank.number / moments.n)
    noise = survey.noise._replace(factor=max(float(left), 1e-12 * float(values[0]), 1e-300))
    return (
        cube,
        Reduced(places, points, total, square, down, up, moments.level, moments.mean, values, rank, noise),
        spikes,
    )


def _projected(
    down: np.ndarray, level: np.ndarray, index: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, projections (m, r), and sums of squares (m,) of scaled spectra."""
    scaled = rows * level
    return index, rows @ down, np.einsum("ij,ij->i", scaled, scaled)


def brightness_of(total: np.ndarray, mean: float) -> np.ndarray:
    """How much brighter (m,) than the mean a pixel is; 1 where the mean is not above zero."""
    if not mean > 0:
        return np.ones_like(total)
    return np.maximum(total / mean, FAINT)


def _moments(survey: Survey) -> tuple[Cube, int, np.ndarray, np.ndarray, _Moments]:
    """One pass: spikes, which pixels count, their sums, and the second moments over the brightness of each."""
    cube, poisson = survey.cube, survey.noise.poisson
    f, top = cube.n_channels, np.maximum(survey.largest, 1e-9 * survey.largest.max() + 1e-100)
    square, level, mean = (ExactSum(cube.n * bound) for bound in (np.outer(top, top), top, top))
    places, totals, spikes = [], [], []
    for found in cube.worked("surveying", partial(_sums, survey)):
        spikes.append(found.spikes)
        mean.add(found.mean)
        level.add(found.level)
        square.add(found.square)
        places.append(found.index)
        totals.append(found.total)
    if not places:
        got = "spectra that all have NaN"
        raise InvalidArgumentError(explain(got, "at least one of finite numbers", "Check how it was read."))
    places = np.concatenate(places)
    n, order = len(places), np.argsort(places)
    level = level.value() / n
    level = np.maximum(level, 1e-3 * level[level > 0].mean()) if poisson else np.ones(f)
    repairs = joined(spikes)
    cube = replace(cube, repair=repairs.repair)
    moments = _Moments(n, mean.value() / n, level, square.value() / n)
    return cube, len(repairs.places), places[order], np.concatenate(totals)[order], moments


class _Sums(NamedTuple):
    """Of a block: places, what was repaired, the sum of each spectrum, and the block's part of the moments."""

    index: np.ndarray
    spikes: Repairs
    total: np.ndarray
    mean: np.ndarray
    level: np.ndarray
    square: np.ndarray


def _sums(survey: Survey, index: np.ndarray, rows: np.ndarray) -> _Sums:
    index, rows, spikes = without_spikes(survey, index, rows)
    total = rows.sum(1, dtype=float)
    weight = 1 / np.sqrt(brightness_of(total, survey.typical if survey.noise.poisson else 0.0))
    scaled = rows * weight[:, None].astype(np.float32)
    return _Sums(index, spikes, total, rows.sum(0, dtype=float), (weight**2) @ rows, scaled.T @ scaled)


def without_spikes(survey: Survey, index: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, Repairs]:
    """The places again, rows without spikes, and what was repaired."""
    if survey.spikes is None:
        return index, rows, Repairs(np.empty(0, int), np.empty(0, int), np.empty(0, np.float32))
    rows, (row, channel, value) = survey.spikes.mend(rows)
    return index, rows, Repairs(index[row], channel, value)


def joined(parts: list[Repairs]) -> Repairs:
    """The repairs of several blocks as one."""
    names = ("places", "channels", "values")
    return Repairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _axes(moments: _Moments) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues, falling, and the leading axes (channels, r) in the scaled space."""
    from scipy.linalg import eigh

    scale = 1 / np.sqrt(moments.level)
    matrix = moments.square * scale * scale[:, None]
    f = len(matrix)
    r = int(min(KEPT, f, max(1, moments.n)))
    values = eigh(matrix, eigvals_only=True)[::-1]
    _, axes = eigh(matrix, subset_by_index=(f - r, f - 1), overwrite_a=True)
    axes = axes[:, ::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0)
    return np.maximum(values, 0), np.where(largest < 0, -axes, axes)
