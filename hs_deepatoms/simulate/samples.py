"""Labelled samples for the shipped networks: what `find_atoms` would show them, and the truth.

Every sample goes through the same scaling, mask repair and resampling as a user's image. A sample is a function of
(seed, index) alone, so neither workers nor batches change the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.prepare.resample import resample_frame, to_grid
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scaling
from hs_deepatoms.simulate.scenes import Scene, simulate_scene
from hs_deepatoms.simulate.wide import simulate_wide

DARK_SHARE = 0.25
EMPTY_SHARES = {
    "hard": (("nothing", "film"), (0.09, 0.15)),
    "last": (("nothing", "film", "noisy_film", "few_counts"), (0.05, 0.05, 0.2, 0.08)),
    "final": (("nothing", "film", "noisy_film", "few_counts"), (0.03, 0.04, 0.24, 0.09)),
    "long": (("nothing", "film", "noisy_film", "few_counts", "fringes"), (0.03, 0.04, 0.16, 0.06, 0.03)),
    "polish": (("nothing", "film", "noisy_film", "few_counts", "fringes"), (0.02, 0.03, 0.12, 0.04, 0.03)),
}
EMPTY_SHARES["wide"] = EMPTY_SHARES["polish"]
# of the crystals: main columns of a signal-to-noise ratio of at most 25
FAINT_SHARE = {"polish": 0.5, "wide": 0.5}
WIDE_SHARE = {"wide": 0.5}  # of the simulated images: those of simulate_wide, of which more are dark
WIDE_DARK_SHARE = 0.4


@dataclass(frozen=True)
class LabelledImage:
    """A real image with known columns (pixels), for :func:`real_detector_sample`. ``sigma`` in pixels."""

    image: np.ndarray
    y: np.ndarray
    x: np.ndarray
    sigma: float
    margin: float = 0.0


def detector_sample(
    seed: int, index: int, size: int = 128, *, stage: str = "detector"
) -> tuple[np.ndarray, np.ndarray]:
    """One simulated sample for the column detector.

    Parameters
    ----------
    seed, index : int
    size : int
        Side of the sample on the network's grid, a multiple of 8.
    stage : {"detector", "hard", "last", "final", "long", "polish", "wide"}
        After the first stage some images have dark columns (shown inverted, as `find_atoms` does) and more of them
        have none, with rough films at first and films, fields of few counts and fringes in the end,
        when half of the crystals are also faint. Of "wide" half are as of "polish", the others those of
        :func:`~hs_deepatoms.simulate.wide.simulate_wide`.

    Returns
    -------
    image : ndarray, float32, shape (1, size, size)
    target : ndarray, float32, shape (6, size / 2, size / 2)
        See :func:`hs_deepatoms.training.losses.column_loss`.
    """
    rng = np.random.default_rng([seed, index])
    on_grid = float(np.clip(2.0 * np.exp(0.18 * rng.standard_normal()), 1.3, 3.2))
    sigma = float(np.exp(rng.uniform(np.log(0.72), np.log(4.5))))
    zoom = on_grid / sigma
    side = int(np.ceil(size / zoom)) + 1
    scene, dark = _scene(rng, (side, side), sigma, stage)
    image = network_view(rng, -scene.image if dark else scene.image, zoom)[:size, :size]
    target = column_target(size, to_grid(scene.y, zoom), to_grid(scene.x, zoom), scene.strength, np.log(on_grid / 2.0))
    return np.ascontiguousarray(image[None]), target


def _scene(rng: np.random.Generator, shape: tuple[int, int], sigma: float, stage: str) -> tuple[Scene, bool]:
    """A scene of a stage, and whether its columns are dark."""
    if stage in WIDE_SHARE and rng.random() < WIDE_SHARE[stage]:
        dark = bool(rng.random() < WIDE_DARK_SHARE)
        return simulate_wide(rng, shape, sigma, dark=dark), dark
    dark, kind = False, None
    if stage != "detector":
        dark = bool(rng.random() < DARK_SHARE)
        kinds, chances = EMPTY_SHARES[stage]
        kind = str(rng.choice(["", *kinds], p=[1 - sum(chances), *chances])) or None
    faint = stage in FAINT_SHARE and rng.random() < FAINT_SHARE[stage]
    return simulate_scene(rng, shape, sigma, kind=kind, dark=dark, strongest=25.0 if faint else None), dark


def network_view(rng: np.random.Generator, frame: np.ndarray, zoom: float) -> np.ndarray:
    """A frame as the network sees it, with the exposure varied as between a crop and its whole image."""
    centre, span = frame_scaling(frame)
    span = span or 1.0
    centre += 0.15 * span * rng.standard_normal()
    span *= np.exp(0.35 * rng.standard_normal())
    scaled = apply_scaling(frame, (centre, span))
    scaled = fill_invalid(scaled, invalid_pixels(scaled))
    return resample_frame(scaled, zoom)


def column_target(size: int, y: np.ndarray, x: np.ndarray, strength: np.ndarray, log_width: float) -> np.ndarray:
    """Target maps of the detector from positions on its grid; columns far below the noise are left out."""
    n = size // 2
    target = np.zeros((6, n, n), np.float32)
    target[1] = 1.0
    seen = (strength > 0.7) & (y > -0.5) & (x > -0.5) & (y < size - 0.5) & (x < size - 0.5)
    order = np.argsort(strength[seen])  # the strongest is written last where two share a cell
    y, x = y[seen][order], x[seen][order]
    i, j = np.floor((y + 0.5) / 2).astype(int), np.floor((x + 0.5) / 2).astype(int)
    _write_offsets(target, y, x, i, j)
    target[0, i, j] = 1.0
    target[4, i, j] = 1.0
    target[5] = log_width
    return target


def _write_offsets(target, y, x, i, j, reach=2.6):
    """Cells next to a column also learn where it is, with less weight; the nearest column wins."""
    n = target.shape[1]
    steps = np.array([(di, dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)])
    ii, jj = i[:, None] + steps[:, 0], j[:, None] + steps[:, 1]
    dy, dx = y[:, None] - (2 * ii + 0.5), x[:, None] - (2 * jj + 0.5)
    distance = np.hypot(dy, dx)
    near = (ii >= 0) & (jj >= 0) & (ii < n) & (jj < n) & (distance < reach)
    order = np.argsort(-distance[near])  # the nearest is written last
    ii, jj = ii[near][order], jj[near][order]
    target[2, ii, jj], target[3, ii, jj] = dy[near][order], dx[near][order]
    target[4, ii, jj] = 0.3


def real_detector_sample(
    images: list[LabelledImage], seed: int, index: int, size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented crop of a labelled real image; only presence is learned, clicks are too rough for positions."""
    rng = np.random.default_rng([seed, index, 1])
    real = images[rng.integers(len(images))]
    zoom = 2.0 * float(np.exp(0.12 * rng.standard_normal())) / real.sigma
    scaled = network_view(rng, real.image, zoom)
    y, x = to_grid(real.y, zoom), to_grid(real.x, zoom)
    edge = real.margin * zoom
    top, left = (rng.integers(0, max(1, n - size + 1)) for n in scaled.shape)
    crop = scaled[top : top + size, left : left + size]
    crop = np.pad(crop, [(0, size - n) for n in crop.shape], mode="edge")
    target = column_target(size, y - top, x - left, np.full(len(y), 10.0), 0.0)
    rows, columns = 2 * np.arange(size // 2) + top, 2 * np.arange(size // 2) + left
    unlabelled = _outside(rows, edge, scaled.shape[0])[:, None] | _outside(columns, edge, scaled.shape[1])
    target[1, unlabelled] = 0.0
    target[4] = 0.0
    return _turned(rng, crop[None], target)


def _outside(position, edge, size):
    return (position < edge) | (position > size - 1 - edge)


def _turned(rng, crop, target):
    """One of the eight symmetries of the square; offsets carry no weight here, so only the maps turn."""
    turns, mirror = rng.integers(4), rng.random() < 0.5
    crop, target = np.rot90(crop, turns, (1, 2)), np.rot90(target, turns, (1, 2))
    if mirror:
        crop, target = crop[..., ::-1], target[..., ::-1]
    return np.ascontiguousarray(crop), np.ascontiguousarray(target)


def survey_sample(
    seed: int, index: int, *, images: list[LabelledImage] | None = None, crop: int = 128, bins: int = 17
) -> tuple[np.ndarray, np.ndarray]:
    """One crop for the survey network and its soft width class.

    Returns
    -------
    image : ndarray, float32, shape (1, crop, crop)
    target : ndarray, float32, shape (2 * bins + 1,)
        Probabilities over bright widths, dark widths, "no column or outside".
    """
    rng = np.random.default_rng([seed, index, 2])
    dark = rng.random() < DARK_SHARE
    if images and rng.random() < 0.15:
        image, sigma, count = _real_survey_crop(rng, images, crop)
        dark = False
    else:
        sigma = float(np.exp(rng.uniform(np.log(0.35), np.log(14.0))))
        scene = simulate_scene(rng, (crop, crop), sigma, dark=dark)
        image, count = scene.image, int((scene.strength > 2.5).sum())
    image = network_view(rng, image, 1.0)
    return image[None], survey_target(sigma, dark, count, bins)


def survey_target(sigma: float, dark: bool, count: int, bins: int) -> np.ndarray:
    """Soft classes: a Gaussian of half a bin around the true width."""
    target = np.zeros(2 * bins + 1, np.float32)
    place = 4 * np.log2(sigma / 0.5)
    if count == 0 or place < -0.5 or place > bins - 0.5:
        target[-1] = 1.0
        return target
    weight = np.exp(-0.5 * ((np.arange(bins) - place) / 0.6) ** 2)
    target[dark * bins : (dark + 1) * bins] = weight / weight.sum()
    return target


def _real_survey_crop(rng, images, crop):
    real = images[rng.integers(len(images))]
    zoom = float(np.exp(rng.uniform(np.log(0.25), np.log(1.6))))
    scaled = resample_frame(real.image.astype(np.float64), zoom)
    top, left = (rng.integers(0, max(1, n - crop + 1)) for n in scaled.shape)
    y, x = to_grid(real.y, zoom) - top, to_grid(real.x, zoom) - left
    count = int(((y > 0) & (x > 0) & (y < crop) & (x < crop)).sum())
    piece = scaled[top : top + crop, left : left + crop]
    piece = np.pad(
        piece, [(0, crop - n) for n in piece.shape], mode="reflect" if min(piece.shape) > crop // 2 else "edge"
    )
    return piece, real.sigma * zoom, count
