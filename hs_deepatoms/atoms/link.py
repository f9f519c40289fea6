"""Atoms over the frames of a movie: how the whole picture drifted, and which detections are the same atom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.optional import require
from hs_deepatoms.tables.neighbours import nearest

STEP_OF_SPACING = (0.45, 0.65)
"""Longest step of an atom, in distances to its nearest neighbour: at least and at most. That distance is measured on
atoms that move, where it comes out up to 15 % shorter than the lattice's own."""
STEP_IN_SIGMA = 4.3
"""In between, this many times the scatter of the steps per axis: one normal step in 10,000 is longer."""
SEARCH_OF_SPACING = 1.5
BIN_OF_SPACING = 0.1
MATCH_OF_SPACING = 0.3
EXPECTED_OF_SPACING = 0.35
"""One sigma of how far the drift from one frame to the next is from the drift before."""
FEWEST = 3
"""Atoms that must agree: with fewer, a drift cannot be told from their own movement."""
EDGE_SHARE = 0.02
"""Share of the atoms that movement alone may carry across the edge of the field of view."""
_ONE_AT_A_TIME = threading.Lock()  # trackpy counts its points in class attributes


class Drift(NamedTuple):
    """Of every frame against the first one that holds atoms, each (n_frames,), in the units of the positions."""

    y: np.ndarray
    x: np.ndarray
    y_std: np.ndarray
    x_std: np.ndarray


class Shift(NamedTuple):
    """From one frame to another."""

    y: float
    x: float
    y_std: float
    x_std: float


def neighbour_spacing(frame: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Median distance to the nearest atom of the same frame; NaN where no frame holds two.

    Examples
    --------
    >>> neighbour_spacing(np.array([0, 0, 1]), np.array([0.0, 3.0, 0.0]), np.array([0.0, 4.0, 1.0]))
    5.0
    """
    distance = nearest(y, x, frame)[0][:, 0]
    distance = distance[np.isfinite(distance) & (distance > 0)]
    return float(np.median(distance)) if distance.size else np.nan


def drift(
    frame: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    *,
    n_frames: int | None = None,
    spacing: float | None = None,
    extent: tuple[float, float, float, float] | None = None,
) -> Drift:
    """How far all atoms together moved, from their positions alone.

    The shift between two frames is the difference that most pairs of their atoms share. A lattice looks the same after
    a shift by one of its vectors: where the atoms that are missing do not tell such shifts apart, the one nearest to
    the drift so far is taken, in the beginning the shortest.

    Parameters
    ----------
    frame
        Shape (n_atoms,): whole numbers from 0.
    y, x
        Shape (n_atoms,), in the same units.
    n_frames
        Number of frames. None: up to the last one with atoms.
    spacing
        Distance of nearest neighbours. None: measured.
    extent
        Field of view (y from, y to, x from, x to): atoms that a shift carries out of it are not missed.

    Returns
    -------
    Drift
        ``y - drift.y[frame]`` is free of drift. Frames without atoms lie on the line between their neighbours. Errors
        are one sigma of the sum of all shifts so far, NaN from the first shift that could not be measured on: less than
        three atoms or no likeness, where the drift is taken to go on as before.

    Examples
    --------
    >>> y, x = (g.ravel() for g in np.mgrid[:5, :5] * 1.0)
    >>> frame = np.repeat([0, 1], 25)
    >>> drift(frame, np.append(y, y + 0.2), np.append(x, x - 0.1)).y.round(6).tolist()
    [0.0, 0.2]
    """
    frame, y, x = np.asarray(frame), np.asarray(y, float), np.asarray(x, float)
    n_frames = int(frame.max(initial=-1)) + 1 if n_frames is None else n_frames
    spacing = neighbour_spacing(frame, y, x) if spacing is None else spacing
    places = [np.stack([y[rows], x[rows]], axis=1) for rows in _rows_of_frames(frame, n_frames)]
    held = [number for number, place in enumerate(places) if len(place)]
    found, variance = np.zeros((len(held), 2)), np.zeros((len(held), 2))
    rates: list[np.ndarray] = []
    for k in range(1, len(held)):
        frames_passed = held[k] - held[k - 1]
        guess = _expected_rate(rates) * frames_passed
        step = _shift(places[held[k - 1]], places[held[k]], guess, spacing, extent)
        if step is None:
            found[k], variance[k] = guess, np.nan
            continue
        found[k], variance[k] = (step.y, step.x), (step.y_std**2, step.x_std**2)
        rates.append(found[k] / frames_passed)
    return _all_frames(np.cumsum(found, axis=0), np.sqrt(np.cumsum(variance, axis=0)), held, n_frames)


def longest_step(frame: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """How far an atom may step from one detection to the next, from how far they mostly do.

    Parameters
    ----------
    frame
        Shape (n_atoms,): whole numbers from 0.
    y, x
        Shape (n_atoms,), free of drift and in the same units.

    Returns
    -------
    float
        4.3 times the scatter of the steps per axis, within 0.45 to 0.65 of the median distance to the nearest atom; NaN
        where no frame holds two atoms.

    Examples
    --------
    >>> y, x = (g.ravel() for g in np.mgrid[:5, :5] * 1.0)
    >>> longest_step(np.repeat([0, 1], 25), np.append(y, y + 0.1), np.append(x, x))
    0.45
    """
    from scipy.spatial import cKDTree

    spacing = neighbour_spacing(frame, y, x)
    n_frames = int(np.max(frame, initial=-1)) + 1
    pairs = [pair for pair in pairwise(_rows_of_frames(np.asarray(frame), n_frames)) if min(map(len, pair))]
    picked = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, 20).astype(int))] if pairs else []
    places = np.stack([y, x], axis=1)
    steps = [cKDTree(places[after]).query(places[before])[0] for before, after in picked]
    steps = np.concatenate(steps) if steps else np.empty(0)
    steps = steps[steps < 0.5 * spacing]  # others are atoms that are gone
    sigma = np.sqrt(np.median(steps**2) / (2 * np.log(2))) if steps.size else 0.0
    return float(np.clip(STEP_IN_SIGMA * sigma, *(part * spacing for part in STEP_OF_SPACING)))


def link(
    frame: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    *,
    n_frames: int | None = None,
    max_step: float | None = None,
    memory: int = 2,
) -> np.ndarray:
    """Number the atoms so that the same atom has the same number in all frames.

    The linker of trackpy [2]_, the algorithm of Crocker and Grier [1]_: the one-to-one assignment between two frames
    with the smallest sum of squared steps, an atom that is lost counting as the longest step allowed.

    Parameters
    ----------
    frame
        Shape (n_atoms,): whole numbers from 0.
    y, x
        Shape (n_atoms,), free of drift and in the same units.
    n_frames
        Number of frames. None: up to the last one with atoms.
    max_step
        Longest step from one detection to the next. None: see `longest_step`.
    memory
        Frames an atom may be missing before it counts as gone.

    Returns
    -------
    numpy.ndarray
        Shape (n_atoms,), int64: number of the track, in the order of their first atoms.

    Raises
    ------
    MissingExtraError
        If trackpy is not installed.
    InvalidArgumentError
        If ``max_step`` is so long that too many assignments are possible.

    References
    ----------
    .. [1] J. C. Crocker and D. G. Grier, "Methods of digital video microscopy for colloidal studies", Journal of
       Colloid and Interface Science 179 (1996) 298-310, https://doi.org/10.1006/jcis.1996.0217
    .. [2] D. B. Allan et al., trackpy, https://doi.org/10.5281/zenodo.1213240

    Examples
    --------
    >>> frame = np.array([0, 0, 1, 1])
    >>> link(frame, np.array([0.0, 5.0, 0.1, 5.1]), np.array([0.0, 5.0, 0.0, 5.0]), max_step=1.0).tolist()
    [0, 1, 0, 1]
    """
    frame, y, x = np.asarray(frame), np.asarray(y, float), np.asarray(x, float)
    n_frames = int(frame.max(initial=-1)) + 1 if n_frames is None else n_frames
    max_step = longest_step(frame, y, x) if max_step is None else max_step
    if y.size < 2 or not max_step > 0:
        return np.arange(y.size, dtype=np.int64)
    rows = _rows_of_frames(frame, n_frames)
    made = _linked([np.stack([y[one], x[one]], axis=1) for one in rows], max_step, memory)
    track = np.empty(y.size, np.int64)
    track[np.concatenate(rows)] = np.concatenate(made)
    return _numbered_by_appearance(track)


def _linked(places: list[np.ndarray], max_step: float, memory: int) -> list[np.ndarray]:
    trackpy = require("trackpy", purpose="linking atoms over frames")
    # where the atoms are too crowded for all assignments to be tried, trackpy looks less far there
    options = {"memory": memory, "adaptive_stop": max_step / 10, "adaptive_step": 0.9, "link_strategy": "recursive"}
    try:
        with _ONE_AT_A_TIME, _quiet(trackpy.logger):
            made = [np.array(ids, np.int64) for _, ids in trackpy.link_iter(iter(places), max_step, **options)]
    except trackpy.SubnetOversizeException as error:
        todo = "Give a shorter max_step."
        message = explain(f"max_step={max_step:.3g} in the units of the positions", "shorter steps", todo)
        raise InvalidArgumentError(f"{message} (too many atoms are near to each other: {error})") from error
    # atoms that wait to come back are in the lists of the frame they were last seen in, behind its own
    return [ids[: len(place)] for ids, place in zip(made, places, strict=True)]


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def _rows_of_frames(frame: np.ndarray, n_frames: int) -> list[np.ndarray]:
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.searchsorted(frame[order], np.arange(1, max(n_frames, 1))))


def _numbered_by_appearance(label: np.ndarray) -> np.ndarray:
    _, first, which = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[which]


def _expected_rate(rates: list[np.ndarray]) -> np.ndarray:
    """Drift per frame to be expected: the median of the last ones, the less the more it changed from frame to frame."""
    if len(rates) < 3:
        return np.zeros(2)  # two that agree may do so by chance
    last = np.median(rates[-3:], axis=0)  # medians, as a shift may be wrong by a lattice vector
    change = np.median((np.diff(rates[-10:], axis=0) ** 2).sum(axis=1))
    length = float((last**2).sum())
    return last * (length / (length + change) if length > 0 else 0.0)


def _shift(before: np.ndarray, after: np.ndarray, guess: np.ndarray, spacing: float, extent) -> Shift | None:
    """From one frame to another, or None where it cannot be told."""
    if min(len(before), len(after)) < FEWEST or not spacing > 0:
        return None
    coarse = _coarse_shift(before, after, guess, spacing, extent)
    if coarse is None:
        return None
    return _fine_shift(_well_inside(before, coarse, after, spacing, extent), after, coarse, spacing)


def _coarse_shift(before, after, guess, spacing, extent) -> np.ndarray | None:
    differences = _differences(before + guess, after, SEARCH_OF_SPACING * spacing)
    candidates = _peaks(differences, spacing)
    if not len(candidates):
        return None
    near = [_has_partner(differences - one, MATCH_OF_SPACING * spacing) for one in candidates]
    matched = np.array([one.sum() for one in near])
    possible = np.maximum([_inside(before + guess + one, extent).sum() for one in candidates], matched)
    # as from one more atom with a partner and one without: three of three say less than thirty of thirty
    share = (matched + 1) / (possible + 2)
    variance = share * (1 - share) / (possible + 3)
    best = (share - np.sqrt(variance)).argmax()
    if matched[best] < max(_lowest_share(differences, spacing) * possible[best], FEWEST):
        return None
    unlikely = np.maximum(share[best] - share, 0) ** 2 / (variance + variance[best] + EDGE_SHARE**2)
    unexpected = (candidates**2).sum(axis=1) / (EXPECTED_OF_SPACING * spacing) ** 2
    return guess + candidates[(unlikely + unexpected).argmin()]


def _lowest_share(differences: np.ndarray, spacing: float) -> float:
    """Share of atoms with a partner that frames without any likeness do not reach, from how crowded they are."""
    n_before = differences.shape[1]
    in_reach = np.isfinite(differences[..., 0]).sum() / n_before
    by_chance = -np.expm1(-in_reach * (MATCH_OF_SPACING / SEARCH_OF_SPACING) ** 2)
    return min(1.5 * by_chance + 4 * np.sqrt(by_chance * (1 - by_chance) / n_before), 0.75)


def _has_partner(offsets: np.ndarray, reach: float) -> np.ndarray:
    return ((offsets**2).sum(axis=-1) < reach**2).any(axis=0)


def _differences(before: np.ndarray, after: np.ndarray, reach: float) -> np.ndarray:
    """Shape (n_neighbours, n_before, 2): to the atoms of the other frame in reach, NaN where there are no more."""
    from scipy.spatial import cKDTree

    number = min(16, len(after))
    row = cKDTree(after).query(before, k=np.arange(1, number + 1), distance_upper_bound=reach)[1]
    padded = np.append(after, [[np.nan, np.nan]], axis=0)
    return np.moveaxis(padded[row] - before[:, None], 1, 0)


def _peaks(differences: np.ndarray, spacing: float) -> np.ndarray:
    """The differences (n_peaks, 2) that are more frequent than those around them."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    pairs = differences[np.isfinite(differences[..., 0])]
    width = BIN_OF_SPACING * spacing
    half = int(np.ceil(SEARCH_OF_SPACING / BIN_OF_SPACING)) + 1
    edges = (np.arange(-half, half + 2) - 0.5) * width
    counts = gaussian_filter(np.histogram2d(pairs[:, 0], pairs[:, 1], bins=(edges, edges))[0], 1.5, mode="constant")
    top = (counts == maximum_filter(counts, 5, mode="constant")) & (counts > 0.3 * counts.max(initial=0))
    return (np.argwhere(top) - half) * width


def _inside(places: np.ndarray, extent: tuple[float, float, float, float] | None) -> np.ndarray:
    if extent is None:
        return np.ones(len(places), bool)
    y, x = places.T
    return (y >= extent[0]) & (y <= extent[1]) & (x >= extent[2]) & (x <= extent[3])


def _well_inside(before: np.ndarray, shift: np.ndarray, after: np.ndarray, spacing: float, extent) -> np.ndarray:
    """The atoms that movement does not carry out of view: of those at the edge, only some that stay would be seen."""
    if extent is None:
        extent = np.stack([after.min(axis=0), after.max(axis=0)]).T.ravel()
    margin = MATCH_OF_SPACING * spacing * np.array([1, -1, 1, -1])
    inside = _inside(before + shift, tuple(np.asarray(extent) + margin))
    return before[inside] if inside.sum() >= max(len(before) / 2, 10) else before


def _fine_shift(before: np.ndarray, after: np.ndarray, shift: np.ndarray, spacing: float) -> Shift | None:
    from scipy.spatial import cKDTree

    tree, padded = cKDTree(after), np.append(after, [[np.nan, np.nan]], axis=0)

    def pairs_around(centre: np.ndarray) -> np.ndarray:
        row = tree.query(before + centre, distance_upper_bound=0.5 * spacing)[1]
        return (padded[row] - before)[row < len(after)]

    for _ in range(20):
        pairs = pairs_around(shift)
        if len(pairs) < FEWEST:
            return None
        old, shift = shift, np.median(pairs, axis=0)
        if np.abs(shift - old).max() < 1e-4 * spacing:
            break
    kept = _without_tails(pairs, spacing)
    error = kept.std(axis=0, ddof=1) / np.sqrt(len(kept))
    # partners are looked for around the shift itself, which makes it follow its own errors
    aside = [_without_tails(pairs_around(shift + way * 0.05 * spacing), spacing) for way in (-1, 1)]
    if min(map(len, aside)) >= FEWEST:
        follows = (aside[1].mean(axis=0) - aside[0].mean(axis=0)) / (0.1 * spacing)
        error = error / (1 - np.clip(follows, 0.0, 0.8))
    return Shift(*map(float, (*kept.mean(axis=0), *error)))


def _without_tails(pairs: np.ndarray, spacing: float) -> np.ndarray:
    if len(pairs) < FEWEST:
        return pairs
    middle = np.median(pairs, axis=0)
    spread = 1.4826 * np.median(np.abs(pairs - middle), axis=0)
    kept = pairs[(np.abs(pairs - middle) <= 3 * spread + 1e-12 * spacing).all(axis=1)]
    return kept if len(kept) >= FEWEST else pairs


def _all_frames(found: np.ndarray, errors: np.ndarray, held: list[int], n_frames: int) -> Drift:
    if not held:
        return Drift(*np.zeros((2, n_frames)), *np.full((2, n_frames), np.nan))
    number = np.arange(n_frames)
    values = [np.interp(number, held, found[:, axis]) for axis in (0, 1)]
    known = np.full((n_frames, 2), np.nan)
    known[held] = errors
    return Drift(*values, *known.T)
