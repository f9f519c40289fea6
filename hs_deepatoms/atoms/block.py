"""One task of `find_atoms`: find the columns of a block, fit them if asked, and keep what the block owns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from hs_deepatoms.atoms.blobs import find_blobs
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import (
    FIT_REACH,
    Detection,
    block_scalings,
    detect,
    in_frame,
    mostly_lost,
    on_data,
    owned,
    scaled_window,
)
from hs_deepatoms.atoms.joint import Residue, pooled, residue
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.order import reconsidered
from hs_deepatoms.atoms.refine import begin_fit, first_fit, fit_columns
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.serial import on_one_core

NOISE_SIGMAS, NOISE_PIXELS = 75, (160, 256)  # side of the windows on which noise is measured
FEW_COLUMNS, PLAIN_NOISE = 30, 1.5  # columns, excess of the noise: where a fit tells the width of columns
# signal-to-noise ratio, and that relative to the frame's faintest, below which a column is none: where all others are
# plain to see the network's suspicion is not enough
FAINT, FAINTER = 3.0, 0.4
QUALITY = {0: "fitted", 1: "not converged", 2: "added by the fit", 3: "not fitted"}


def columns_block(
    frames: np.ndarray, block: Block, job: Detection, method: str = "network", given: Points | None = None
) -> Points:
    """Columns of one block, each owned by exactly one block, in source pixels of the whole frame.

    Parameters
    ----------
    frames : ndarray, shape (f, h, w)
        Source pixels ``block.padded`` of each frame, any real dtype.
    block : Block
    job : Detection
    method : {"network", "log", "max"}
    given : Points, optional
        The columns on those pixels, where frames are tiled; by default they are found here.
    """
    job = replace(job, scalings=block_scalings(frames, block, job))
    points = in_light_of_crystal(find(frames, block, job, method), job) if given is None else given
    mine = owned(points, block, job)
    if job.refine == "none":
        return points.keep(mine).in_order()
    parts = []
    for k, frame in enumerate(frames):
        here = points.frame == block.frames[0] + k
        if mine[here].any():
            parts.append(on_one_core(_refined, points.keep(here), mine[here], frame, k, block, job, method))
    return Points.join(parts).in_order() if parts else unfitted(points.keep(mine))


def candidates_block(frames: np.ndarray, block: Block, job: Detection, method: str = "network") -> Points:
    """What may be columns in one tile, as the detector alone sees it."""
    job = replace(job, scalings=block_scalings(frames, block, job))
    points = find(frames, block, job, method)
    return points.keep(owned(points, block, job))


def find(frames: np.ndarray, block: Block, job: Detection, method: str) -> Points:
    points = detect(frames, block, job) if method == "network" else find_blobs(frames, block, job, method)
    return points.keep(on_data(points, frames, block, job))


def in_light_of_crystal(points: Points, job: Detection) -> Points:
    """All candidates of whole frames -> those that are probable enough once their equivalents have been seen."""
    if job.order is None:
        return points.keep(points.probability >= job.reported)
    probability = np.empty(len(points.y), np.float32)
    for frame in np.unique(points.frame):
        here = np.flatnonzero(points.frame == frame)
        probability[here] = reconsidered(points.y[here], points.x[here], points.probability[here], job.column_sigma,
                                         job.shape, job.order)  # fmt: skip
    return replace(points, probability=probability).keep(probability >= job.reported)


def residues_block(frames: np.ndarray, block: Block, job: Detection, given: Points) -> list[Residue | None]:
    """For frames that are tiled: what a first fit leaves over in the block's core, a noise window, of every frame."""
    parts = []
    for k, frame in enumerate(frames):
        here = given.keep(given.frame == block.frames[0] + k)
        blank = scaled_window(frame, block, job, k, block.core)[2].span == 0
        parts.append(None if blank else on_one_core(window_residue, here, frame, k, block, job, block.core))
    return parts


def noise_windows(shape: tuple[int, int], sigma: float) -> list[tuple[int, int, int, int]]:
    """Parts (y0, y1, x0, x1) of a frame on which its noise is measured: the same ones however the frame is tiled."""
    side = int(np.clip(NOISE_SIGMAS * sigma, *NOISE_PIXELS))
    spans = [[(0, n)] if n <= 2 * side else [(int(f * n) - side // 2, int(f * n) + side // 2) for f in (0.25, 0.75)]
             for n in shape]  # fmt: skip
    boxes = [(*rows, *columns) for rows in spans[0] for columns in spans[1]]
    return boxes if len(boxes) < 4 else [boxes[0], boxes[3]]  # across the diagonal


def frame_noise(points: Points, frame: np.ndarray, k: int, block: Block, job: Detection) -> Noise:
    """Noise of one frame, from first fits to its windows; the block holds the whole frame."""
    return pooled(
        [window_residue(points, frame, k, block, job, box) for box in noise_windows(job.shape, job.column_sigma)]
    )


def window_residue(points: Points, frame: np.ndarray, k: int, block: Block, job: Detection, box) -> Residue:
    """What a first fit leaves over in one window of a frame."""
    scaled, bad, _ = scaled_window(frame, block, job, k, box)
    chosen = _chosen(points, job, box)
    sign = -1 if job.dark else 1
    state = begin_fit(sign * scaled, *_places(points, chosen, box), job.column_sigma, valid=~bad,
                      std=_spread(points, chosen), origin=(box[0], box[2]), device=job.fit_device)  # fmt: skip
    return residue(first_fit(replace(state, elliptical=job.elliptical), job.refine))


def whole_residue(points: Points, frame: np.ndarray, job: Detection) -> Residue:
    """What a first fit to a whole small frame leaves over."""
    box = (0, frame.shape[0], 0, frame.shape[1])
    return on_one_core(window_residue, points, frame, 0, Block((0, 1), box, box), job, box)


def fitted_width(remains: Residue) -> float | None:
    """Median column sigma (pixels) of a fit; None where it has too little to go by.

    In noise a network that has to guess widths guesses the usual ones; a fit of many columns averages the noise.
    """
    found, free = widths(remains), remains.state.free
    if len(found) < FEW_COLUMNS or float(free.double().mean()) < 0.8 or pooled([remains]).excess > PLAIN_NOISE:
        return None
    width = float(np.median(found))
    return width if width > 1 else None  # narrower ones are sampled too coarsely to tell


def widths(remains: Residue) -> np.ndarray:
    """Sigmas (pixels) of the columns that are strong enough to tell one."""
    return np.exp(remains.state.columns.log_width[remains.state.free].cpu().numpy())


def unexplained(remains: Residue) -> float:
    """Share of the variance of an image that a fit leaves over."""
    valid = remains.state.valid
    return float(remains.rest[valid].square().mean() / remains.state.image[valid].var().clamp(min=1e-12))


def _places(points: Points, chosen: np.ndarray, box) -> tuple[np.ndarray, np.ndarray]:
    return points.y[chosen] - box[0], points.x[chosen] - box[2]


def _spread(points: Points, chosen: np.ndarray) -> np.ndarray:
    return np.hypot(points.y_std[chosen], points.x_std[chosen]) / np.sqrt(2)


def _chosen(points: Points, job: Detection, box) -> np.ndarray:
    """Indices of the columns that take part in a fit to ``box``: certain ones, also a little outside."""
    y0, y1, x0, x1 = box
    rim = 3 * job.column_sigma
    near = (points.y > y0 - rim) & (points.y < y1 + rim) & (points.x > x0 - rim) & (points.x < x1 + rim)
    return np.flatnonzero(near & (points.probability >= job.certain))


def _refined(
    points: Points, mine: np.ndarray, frame: np.ndarray, k: int, block: Block, job: Detection, method: str
) -> Points:
    """The block's own columns of one frame, fitted together with those around them."""
    reach = int(np.ceil(FIT_REACH * job.column_sigma))
    y0, x0 = (max(block.padded[2 * a], block.core[2 * a] - reach) for a in (0, 1))
    y1, x1 = (min(block.padded[2 * a + 1], block.core[2 * a + 1] + reach) for a in (0, 1))
    scaled, bad, scaling = scaled_window(frame, block, job, k, (y0, y1, x0, x1))
    chosen = _chosen(points, job, (y0, y1, x0, x1))
    if job.noises is None:
        noise = frame_noise(points, frame, k, block, job)
    else:
        noise = job.noises[block.frames[0] + k]
    sign = -1 if job.dark else 1
    fit = fit_columns(sign * scaled, *_places(points, chosen, (y0, y1, x0, x1)), job.column_sigma, valid=~bad,
                      std=_spread(points, chosen), how=job.refine, origin=(y0, x0), noise=noise,
                      elliptical=job.elliptical, device=job.fit_device)  # fmt: skip
    known = fit.origin >= 0
    mine[np.setdiff1d(chosen, chosen[fit.origin[known]])] = False  # doubles of others
    absent = fit.clearness < min(FAINT, FAINTER * noise.faintest)
    mine[chosen[fit.origin[known & absent]]] = False
    seen = Block(block.frames, block.core, (y0, y1, x0, x1))
    points, mine = _with_added(unfitted(points), mine, fit, bad, seen, job, method)
    rows = np.empty(len(known), int)
    rows[known] = chosen[fit.origin[known]]
    rows[~known] = np.arange(len(mine) - (~known).sum(), len(mine))
    _write(points, rows, fit, (y0, x0), sign * scaling.span, scaling.centre)
    return points.keep(mine & in_frame(points, job.shape))


def unfitted(points: Points) -> Points:
    """The points with all columns of a fit that was not made."""
    n = len(points.y)
    names = ("height", "background", "intensity", "width_y_px", "width_x_px", "rotation", "yx_corr")
    fitted = {name: np.full(n, np.nan, np.float32) for name in names}
    return Points(*points.arrays(), {**fitted, "quality": np.full(n, 3, np.int8)})


def _with_added(points: Points, mine: np.ndarray, fit, bad, block: Block, job: Detection, method: str):
    """Room at the end for the columns that the fit added.

    Their probability is the Bayes factor of the column against nothing, one in a thousand before.
    """
    new = np.flatnonzero(fit.origin < 0)
    if not len(new):
        return points, mine
    n, ratio = len(new), fit.height[new] / fit.height_std[new]
    strength = expit(0.5 * ratio**2 - np.log(1000)) if method == "network" else ratio
    y, x = fit.y[new] + block.padded[0], fit.x[new] + block.padded[2]
    room = Points(np.full(n, points.frame[0]), y, x, np.zeros(n), np.zeros(n), np.zeros(n), strength)
    seen = owned(room, block, job) & ~mostly_lost(y, x, bad, block, job.column_sigma)
    return Points.join([points, unfitted(room)]), np.concatenate([mine, seen])


def _write(points: Points, rows: np.ndarray, fit, origin: tuple[int, int], scale: float, level: float) -> None:
    """Fitted values into ``rows``, in the units of the source."""
    fine = fit.converged
    good = rows[fine]
    points.y[good], points.x[good] = fit.y[fine] + origin[0], fit.x[fine] + origin[1]
    points.y_std[good], points.x_std[good] = fit.y_std[fine], fit.x_std[fine]
    to = points.fitted
    to["height"][rows], to["intensity"][rows] = fit.height * scale, fit.intensity * scale
    to["background"][rows] = fit.background * scale + level
    to["width_y_px"][rows], to["width_x_px"][rows] = fit.width_y, fit.width_x
    to["rotation"][rows], to["yx_corr"][rows] = fit.rotation, fit.yx_corr
    to["quality"][rows] = np.where(fine, np.where(fit.origin < 0, 2, 0), 1)
