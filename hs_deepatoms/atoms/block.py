"""One task of `find_atoms`: find the columns of a block, fit them if asked, and keep what the block owns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hs_deepatoms.atoms.alike import Alike, brightness_at, on_its_own, reconsidered_with_alike
from hs_deepatoms.atoms.averaged import SOMETHING, averaged
from hs_deepatoms.atoms.blobs import find_blobs
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import (
    DEEP,
    LOST,
    Detection,
    detect,
    in_core,
    in_frame,
    measured,
    mostly_lost,
    on_data,
    one_scaling,
    owned,
    scaled_window,
)
from hs_deepatoms.atoms.faint import Faint
from hs_deepatoms.atoms.ground import fewest
from hs_deepatoms.atoms.judge import compared, judge
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.order import reconsidered
from hs_deepatoms.atoms.refine import CLOSE, FrameFit, begin_fit, first_fit, fit_columns
from hs_deepatoms.atoms.repeats import repeated
from hs_deepatoms.atoms.residue import Residue, pooled, residue
from hs_deepatoms.atoms.shape import as_ellipses
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.serial import on_one_core, one_core_blas

NOISE_SIGMAS, NOISE_PIXELS = 75, (160, 256)  # side of the windows on which noise is measured
FEW_COLUMNS, PLAIN_NOISE = 30, 1.5  # columns, excess of the noise: where a fit tells the width of columns
# signal-to-noise ratio, and that relative to the frame's faintest, below which a column is none: where all others are
# plain to see the network's suspicion is not enough
FAINT, FAINTER = 3.0, 0.4
# excess of the noise from which it is texture, as of a film; and below which signal-to-noise ratio, and below
# ``FAINTER`` of the usual one, its own blobs are no columns, unless equivalents in a crystal are as faint
TEXTURED, TEXTURE = 2.0, 6.0
HOPED = 0.04  # probability from which a candidate on a site of a crystal is fitted, to be judged by its height
# mean log odds of a column at the equivalents below which too little is detected there to believe that what stands
# there on average is columns
SUSPECTED = -3.0
LIKE = 0.5  # of the signal-to-noise ratio of its equivalents: what has that is a column, however faint
NEAR = 8.0  # column sigmas around a core: columns there are fitted to the end as well, those beyond for their sake
QUALITY = {0: "fitted", 1: "not converged", 2: "added by the fit", 3: "not fitted"}


@one_core_blas()
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
    job = measured(frames, block, job)
    points = in_light_of_crystal(find(frames, block, job, method), job) if given is None else given
    mine = owned(points, block, job)
    if job.refine == "none":
        return replace(points, fitted={}).keep(mine).in_order()
    parts = []
    for k, frame in enumerate(frames):
        here = points.frame == block.frames[0] + k
        if mine[here].any():
            parts.append(on_one_core(_refined, points.keep(here), mine[here], frame, k, block, job, method))
    return Points.join(parts).in_order() if parts else unfitted(points.keep(mine))


@one_core_blas()
def candidates_block(frames: np.ndarray, block: Block, job: Detection, method: str = "network") -> Points:
    """What may be columns in one tile, as the detector alone sees it, and beyond the frame's rim beside it."""
    job = measured(frames, block, job)
    points = find(frames, block, job, method)
    return points.keep(in_core(points, block, job))


def find(frames: np.ndarray, block: Block, job: Detection, method: str) -> Points:
    points = detect(frames, block, job) if method == "network" else find_blobs(frames, block, job, method)
    points = points.keep(on_data(points, frames, block, job, LOST if job.refine == "none" else DEEP))
    return points if job.heights is None else _with_brightness(points, frames, block, job)


def _with_brightness(points: Points, frames: np.ndarray, block: Block, job: Detection) -> Points:
    """With the image's brightness at each candidate: what tells the sublattices of a crystal apart."""
    bright = np.zeros(len(points.y), np.float32)
    for k, frame in enumerate(frames):
        here = np.flatnonzero(points.frame == block.frames[0] + k)
        if len(here):
            scaled, bad, _ = scaled_window(frame, block, job, k, block.padded)
            y, x = points.y[here] - block.padded[0], points.x[here] - block.padded[2]
            bright[here] = brightness_at(scaled, ~bad, y, x, job.column_sigma)
    return replace(points, fitted={"brightness": bright})


def in_light_of_crystal(points: Points, job: Detection) -> Points:
    """All candidates of whole frames -> those that are probable enough once their equivalents have been seen.

    With ``job.heights`` also less probable ones on sites of a crystal, to be fitted and then judged by their heights,
    and those that were probable before; ``fitted`` says of each its number, the numbers of the columns that it should
    be like, and what the detector had said away from the rim.
    """
    if job.order is None:
        return points.keep(points.probability >= job.reported)
    probability = np.empty(len(points.y), np.float32)
    alike = Alike.unknown(len(points.y)) if job.heights is not None else None
    for frame in np.unique(points.frame):
        here = np.flatnonzero(points.frame == frame)
        given = points.y[here], points.x[here], points.probability[here]
        known = job.column_sigma, job.shape, job.order
        if alike is None:
            probability[here] = reconsidered(*given, *known)
            continue
        bright = points.fitted["brightness"][here]
        probability[here], one = reconsidered_with_alike(*given, bright, *known)
        alike.put(here, replace(one, near=np.where(one.near >= 0, here[one.near], -1)))
    if alike is None:
        return replace(points, probability=probability, fitted={}).keep(probability >= job.reported)
    return _to_be_judged(points, probability, alike, job)


def _to_be_judged(points: Points, probability: np.ndarray, alike: Alike, job: Detection) -> Points:
    """The candidates that are probable enough, or may be once they are fitted; with what they are to be judged by."""
    at_rim = _at_rim(points.y, points.x, job)
    alike.near[at_rim] = -1
    alike.evidence[at_rim | ~(alike.evidence[:, 0] > SUSPECTED)] = np.nan
    seen = np.where(at_rim, 0, points.probability)
    keep = (probability >= job.reported) | ((probability >= HOPED) & (alike.near[:, 0] >= 0)) | (seen >= job.certain)
    fitted = {"number": np.arange(len(keep), dtype=np.int32), "alike": alike.near, "seen": seen}
    fitted |= {"between": alike.between, "steps": alike.steps, "evidence": alike.evidence}
    return replace(points, probability=probability, fitted=fitted).keep(keep)


def _at_rim(y: np.ndarray, x: np.ndarray, job: Detection) -> np.ndarray:
    """True for candidates so near the rim of the frame, or beyond it, that their heights say little."""
    sigma, (ny, nx) = job.column_sigma, job.shape
    return (y < sigma) | (x < sigma) | (y > ny - 1 - sigma) | (x > nx - 1 - sigma)


@one_core_blas()
def residues_block(frames: np.ndarray, block: Block, job: Detection, given: Points) -> list[Residue | None]:
    """For frames that are tiled: what a first fit leaves over in the block's core, a noise window, of every frame."""
    parts = []
    for k, frame in enumerate(frames):
        here = given.keep(given.frame == block.frames[0] + k)
        blank = one_scaling(frame, block, job, k).span == 0
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
    # one after the other: they are small, and threads would wait for each other between their many short calls
    boxes = noise_windows(job.shape, job.column_sigma)
    return pooled([on_one_core(window_residue, points, frame, k, block, job, box) for box in boxes])


def window_residue(points: Points, frame, k: int, block: Block, job: Detection, box, there: float = CLOSE) -> Residue:
    """What a first fit leaves over in one window of a frame."""
    scaled, bad, _ = scaled_window(frame, block, job, k, box)
    chosen = _chosen(points, job, box, points.probability >= job.certain)
    sign = -1 if job.dark else 1
    state = begin_fit(sign * scaled, *_places(points, chosen, box), job.column_sigma, valid=~bad,
                      std=_spread(points, chosen), origin=(box[0], box[2]), knot=job.knots,
                      device=job.fit_device)  # fmt: skip
    at_rim = box[0] == 0 or box[2] == 0 or box[1] == job.shape[0] or box[3] == job.shape[1]
    state = as_ellipses(state, job.ellipse) if job.elliptical else state
    return residue(first_fit(state, job.refine, there, at_rim))


def whole_residue(points: Points, frame: np.ndarray, job: Detection, box=None) -> Residue:
    """What a first fit to a whole small frame, or to a part of it, leaves over."""
    whole = (0, frame.shape[0], 0, frame.shape[1])
    return on_one_core(window_residue, points, frame, 0, Block((0, 1), whole, whole), job, box or whole,
                       there=0.0)  # fmt: skip


def fitted_width(remains: Residue) -> float | None:
    """Median column sigma (pixels) of a fit; None where it has too little to go by.

    In noise a network that has to guess widths guesses the usual ones; a fit of many columns averages the noise.
    """
    found, free = widths(remains), remains.state.free[~remains.state.beyond]
    if len(found) < FEW_COLUMNS or float(free.double().mean()) < 0.8 or pooled([remains]).excess > PLAIN_NOISE:
        return None
    return float(np.median(found))


def widths(remains: Residue) -> np.ndarray:
    """Sigmas (pixels) of the columns that are strong enough to tell one."""
    return np.exp(remains.state.columns.log_width[remains.state.free].cpu().numpy())


def unexplained(remains: Residue) -> float:
    """Share of the variance of an image that a fit leaves over, were its parameters for nothing."""
    valid = remains.state.valid
    free = max(int(valid.sum()) - remains.parameters, 1)
    return float(remains.rest[valid].square().sum() / free / remains.state.image[valid].var().clamp(min=1e-12))


def whiteness(remains: Residue) -> float:
    """How far what a fit leaves over is noise: the mean square of its steps from pixel to pixel, half of that of its
    values; 1 for noise, about 0 for something smooth. Of the two axes the one with more of it, for lines that are off.

    Durbin and Watson, Biometrika 37, 409 (1950), doi:10.1093/biomet/37.3-4.409.
    """
    rest, valid = remains.rest, remains.state.valid
    steps = [rest.diff(dim=k)[valid.narrow(k, 1, n - 1) & valid.narrow(k, 0, n - 1)] for k, n in enumerate(rest.shape)]
    typical = float(rest[valid].square().mean()) if valid.any() else 0.0
    rough = max((float(s.square().mean()) for s in steps if len(s)), default=0.0)
    return rough / (2 * typical) if typical > 0 else 1.0


def _places(points: Points, chosen: np.ndarray, box) -> tuple[np.ndarray, np.ndarray]:
    return points.y[chosen] - box[0], points.x[chosen] - box[2]


def _spread(points: Points, chosen: np.ndarray) -> np.ndarray:
    return np.hypot(points.y_std[chosen], points.x_std[chosen]) / np.sqrt(2)


def _chosen(points: Points, job: Detection, box, which: np.ndarray) -> np.ndarray:
    """Indices of the columns of a mask that take part in a fit to ``box``, also a little outside."""
    y0, y1, x0, x1 = box
    rim = 3 * job.column_sigma
    near = (points.y > y0 - rim) & (points.y < y1 + rim) & (points.x > x0 - rim) & (points.x < x1 + rim)
    return np.flatnonzero(near & which)


def _near_core(points: Points, chosen: np.ndarray, block: Block, job: Detection) -> np.ndarray:
    """True for those of the chosen columns that the block owns or that stand beside such."""
    y, x, rim, (y0, y1, x0, x1) = points.y[chosen], points.x[chosen], NEAR * job.column_sigma, block.core
    return (y > y0 - rim) & (y < y1 + rim) & (x > x0 - rim) & (x < x1 + rim)


def _worth_fitting(points: Points, job: Detection) -> np.ndarray:
    """True for the columns that are certain, and for those that their heights will decide on."""
    certain = points.probability >= job.certain
    if "alike" not in points.fitted:
        return certain
    return certain | (points.fitted["alike"][:, 0] >= 0) | (points.fitted["seen"] >= job.certain)


def fit_frame(points: Points, frame: np.ndarray, k: int, block: Block, job: Detection) -> FrameFit:
    """The block's own columns of one frame, fitted together with those around them."""
    # begun at one of the frame's cells, that all tiles sum over the same ones
    cell = fewest(job.knots)
    y0, x0 = (-(-max(block.padded[2 * a], block.core[2 * a] - job.fit_reach) // cell) * cell for a in (0, 1))
    y1, x1 = (min(block.padded[2 * a + 1], block.core[2 * a + 1] + job.fit_reach) for a in (0, 1))
    box = (y0, y1, x0, x1)
    scaled, bad, scaling = scaled_window(frame, block, job, k, box)
    chosen = _chosen(points, job, box, _worth_fitting(points, job))
    if job.noises is None:
        noise = frame_noise(points, frame, k, block, job)
    else:
        noise = job.noises[block.frames[0] + k]
    image = -scaled if job.dark else scaled
    fit = fit_columns(image, *_places(points, chosen, box), job.column_sigma, valid=~bad,
                      std=_spread(points, chosen), wanted=_near_core(points, chosen, block, job), how=job.refine,
                      origin=(y0, x0), knot=job.knots, noise=noise, elliptical=job.elliptical, ellipse=job.ellipse,
                      device=job.fit_device)  # fmt: skip
    return FrameFit(image, fit, chosen, noise, box, bad, scaling)


def _refined(
    points: Points, mine: np.ndarray, frame: np.ndarray, k: int, block: Block, job: Detection, method: str
) -> Points:
    """The block's own columns of one frame as the fit has them."""
    done = fit_frame(points, frame, k, block, job)
    fit, known, chosen, box = done.fit, done.known, done.chosen, done.box
    mine[np.delete(chosen, fit.origin[known])] = False  # doubles of others
    faint = Faint.of(points, done, job.column_sigma)
    again = repeated(points, faint)
    ratio, typical, uneven = compared(points, done, job.column_sigma, bumps=bool(np.isfinite(again.share).any()))
    mean = averaged(points, faint, np.isnan(typical))
    mine[done.rows[_absent(fit.clearness[known], typical, done.noise)]] = False
    mine[done.rows[_like_noise(points, done, np.isnan(typical) & ~(mean[:, 1] > SOMETHING))]] = False
    if job.heights is not None:
        judge(points, done, job, ratio, typical, uneven, again, mean)
    seen = Block(block.frames, block.core, box)
    points, mine = _with_added(unfitted(points), mine, fit, done.bad, seen, job, method)
    rows = np.empty(len(known), int)
    rows[known] = done.rows
    rows[~known] = np.arange(len(mine) - (~known).sum(), len(mine))
    _write(points, rows, fit, (box[0], box[2]), (-1 if job.dark else 1) * done.scaling.span, done.scaling.centre)
    this = Block((block.frames[0] + k, block.frames[0] + k + 1), block.core, block.padded)
    guessed = (points.fitted["quality"] == 1) & ~in_frame(points, job.shape, 0.5)  # beyond the rim, and not fitted
    return points.keep(mine & ~guessed & in_frame(points, job.shape) & on_data(points, frame[None], this, job))


def _absent(clearness: np.ndarray, typical: np.ndarray, noise: Noise) -> np.ndarray:
    """True (n,) for candidates too faint to be columns; ``typical`` is the clearness of the equivalents, or NaN."""
    absent = clearness < min(FAINT, FAINTER * noise.faintest)
    if noise.excess > TEXTURED:
        absent |= np.isnan(typical) & (clearness < min(TEXTURE, FAINTER * noise.usual))
    return absent & ~(clearness > LIKE * typical)


def _like_noise(points: Points, done: FrameFit, alone: np.ndarray) -> np.ndarray:
    """True (n,) for candidates that nothing else speaks for and that are no plainer than peaks of the noise are.

    Those that the crystal has raised, or that it compares with others (not ``alone``), are judged by that. How high
    peaks are is known of plain noise, not of a film.
    """
    alone = alone & (done.noise.excess < PLAIN_NOISE)
    if "seen" in points.fitted:
        alone &= points.probability[done.rows] <= points.fitted["seen"][done.rows]
    return alone & (done.fit.clearness[done.known] < done.noise.peaks)


def unfitted(points: Points) -> Points:
    """The points with all columns of a fit that was not made."""
    n = len(points.y)
    names = ("height", "background", "intensity", "width_y_px", "width_x_px", "rotation", "yx_corr")
    fitted = {name: np.full(n, np.nan, np.float32) for name in names}
    return Points(*points.arrays(), {**fitted, "quality": np.full(n, 3, np.int8)})


def _with_added(points: Points, mine: np.ndarray, fit, bad, block: Block, job: Detection, method: str):
    """Room at the end for the columns that the fit added.

    Their probability is what the image alone says.
    """
    new = np.flatnonzero(fit.origin < 0)
    if not len(new):
        return points, mine
    n, ratio = len(new), fit.height[new] / fit.height_std[new]
    strength = on_its_own(ratio) if method == "network" else ratio
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
