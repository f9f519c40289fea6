"""Spectra as a few numbers each: projections on the components that stand out of the noise, the noise made even."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.exact_sum import ExactSum
from hs_deepatoms.spectra.noise import Noise, noise_of
from hs_deepatoms.spectra.rank import Rank, count_components
from hs_deepatoms.spectra.search import Looked, Search
from hs_deepatoms.spectra.spikes import Repairs, Spikes, learn_spikes

KEPT = 20  # projections that are kept
TOGETHER = 512  # spectra whose spikes are judged last, worked on together
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


def reduce_cube(survey: Survey) -> tuple[Cube, Reduced, Repairs]:
    """Two passes over the spectra, second moments and then projections.

    Returns
    -------
    cube : Cube
        With its spikes repaired.
    reduced : Reduced
    spikes : Repairs
        What was repaired.
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


def _moments(survey: Survey) -> tuple[Cube, Repairs, np.ndarray, np.ndarray, _Moments]:
    """One pass: spikes, which pixels count, their sums, and the second moments over the brightness of each."""
    cube, poisson = survey.cube, survey.noise.poisson
    f, top = cube.n_channels, np.maximum(survey.largest, 1e-9 * survey.largest.max() + 1e-100)
    square, level, mean = (ExactSum(cube.n * bound) for bound in (np.outer(top, top), top, top))
    places, totals = [], []
    search = None if survey.spikes is None else Search(survey.spikes, cube.scan)
    for found in _all_sums(survey, search):
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
    repairs = Repairs.none() if search is None else search.repairs()
    cube = replace(cube, repair=repairs.repair)
    moments = _Moments(n, mean.value() / n, level, square.value() / n)
    return cube, repairs, places[order], np.concatenate(totals)[order], moments


class _Sums(NamedTuple):
    """Of some spectra: places, the sum of each, and their part of the moments."""

    index: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    level: np.ndarray
    square: np.ndarray


def _all_sums(survey: Survey, search: Search | None) -> Iterator[_Sums]:
    """Of all spectra without spikes; last of those that could not be judged before their neighbours were seen."""
    index, rows = [], []
    for found, looked, left in survey.cube.worked("surveying", partial(_block_sums, survey, search)):
        if looked is not None:
            search.add(looked)
        if left.size:
            index.append(left)
            rows.append(looked.rows[looked.doubted])
        if found.index.size:
            yield found
    if not index:
        return
    index, rows = np.concatenate(index), np.concatenate(rows)
    order, doubts = np.argsort(index), search.doubts()
    for start in range(0, len(order), TOGETHER):
        some = order[start : start + TOGETHER]
        yield _sums(survey, index[some], doubts.repair(index[some], rows[some]))


def _block_sums(
    survey: Survey, search: Search | None, index: np.ndarray, rows: np.ndarray
) -> tuple[_Sums, Looked | None, np.ndarray]:
    """Of a block without the spectra that are in doubt, and the places of these."""
    if search is None:
        return _sums(survey, index, rows), None, index[:0]
    looked = search.look(index, rows)
    if not looked.doubted.any():
        return _sums(survey, index, looked.rows), looked._replace(rows=None), index[:0]
    sure, doubted = ~looked.doubted, looked.doubted
    kept = looked._replace(rows=looked.rows[doubted], doubted=np.ones(int(doubted.sum()), bool))
    return _sums(survey, index[sure], looked.rows[sure]), kept, index[doubted]


def _sums(survey: Survey, index: np.ndarray, rows: np.ndarray) -> _Sums:
    total = rows.sum(1, dtype=float)
    weight = 1 / np.sqrt(brightness_of(total, survey.typical if survey.noise.poisson else 0.0))
    scaled = rows * weight[:, None].astype(np.float32)
    return _Sums(index, total, rows.sum(0, dtype=float), (weight**2) @ rows, scaled.T @ scaled)


def find_repairs(survey: Survey) -> tuple[np.ndarray, Repairs]:
    """One pass for spikes alone: places of all spectra with numbers, rising, and what is repaired.

    Raises
    ------
    InvalidArgumentError
        If there is no such spectrum.
    """
    places, search = [], None if survey.spikes is None else Search(survey.spikes, survey.cube.scan)
    for index, looked in survey.cube.worked("surveying", partial(_looked, search)):
        places.append(index)
        if looked is not None:
            search.add(looked)
    if not places:
        got = "spectra that all have NaN"
        raise InvalidArgumentError(explain(got, "at least one of finite numbers", "Check how it was read."))
    return np.sort(np.concatenate(places)), Repairs.none() if search is None else search.repairs()


def _looked(search: Search | None, index: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Looked | None]:
    return index, None if search is None else search.look(index, rows)._replace(rows=None)


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
