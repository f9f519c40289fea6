"""Whether what stands at faint candidates stands a lattice vector away too: in the pixels, whatever was detected there.

Weak columns of a crystal repeat, as it does; the grain of a film does not, however high it stands out of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from hs_deepatoms.atoms.alike import UNDECIDED
from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.peaks import Columns, Window

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.refine import FrameFit

FAINT, PLAIN = 0.6, 3.0  # of the frame's high columns, at most; and the signal-to-noise ratio, at least
COVERED = 0.49  # of a column's height: nearer to a strong one nothing is told
WIDE = 5.0  # column sigmas over which the level of the ground is taken
VECTORS = 3  # known of a candidate, at least
AROUND, FEW, MANY = 20.0, 8, 32  # column sigmas; candidates there that tell together, at least and at most
# change of the log odds: the share that is repeated above the second, times the first; and at most
SLOPE, NEUTRAL, MOST = 9.0, 0.12, 3.0
# signal-to-noise ratios, and the change at least at each: what hardly stands out of the noise was chosen for being
# high, and little of it is repeated even if it is a column (seeds 1, 11 and 12 of the images of ``fit_reliability``)
CLEARNESS, LEAST = (3.0, 9.0), (-0.6, -1.45)
# where a high share tells nothing and all: column sigmas to the nearest other column, and the excess of the noise, as
# what a model that does not fit leaves over, as half of a long column, is repeated too
APART, FITTING = (2.6, 3.1), (1.3, 1.1)
ALIKE = (-3.0, -1.0)  # log likelihood ratios to its equivalents at which a candidate is not raised, and fully
CERTAIN = 1e-4  # probabilities count as no nearer to 0 and 1


@dataclass(frozen=True)
class Repeats:
    """Of every fitted candidate the share of its brightness that is found a lattice vector away, shape (k,).

    Of columns 1, of grain 0; NaN where candidates are not faint, or few. ``telling`` is how far a high one speaks for
    columns, 0 to 1.
    """

    share: np.ndarray
    telling: np.ndarray


def repeated(points: Points, done: FrameFit, job: Detection) -> Repeats:
    """What the pixels repeat of the faint candidates: the median of those around each."""
    share = _shares(points, done, job)
    telling = np.zeros(len(share))
    if np.isfinite(share).any():
        place = np.column_stack([done.fit.y, done.fit.x])
        nearest = cKDTree(place).query(place[done.known], 2)[0][:, 1] / job.column_sigma
        telling = _ramp(nearest, *APART) * _ramp(done.noise.excess, *FITTING)
    return Repeats(share, telling)


def _ramp(value, zero: float, one: float):
    return np.clip((value - zero) / (one - zero), 0, 1)


def _shares(points: Points, done: FrameFit, job: Detection) -> np.ndarray:
    fit, known = done.fit, np.flatnonzero(done.known)
    out = np.full(len(known), np.nan)
    if "steps" not in points.fitted or done.noise.high is None:
        return out
    faint = (points.probability[done.rows] < UNDECIDED) & (fit.height[known] < FAINT * done.noise.high)
    steps = points.fitted["steps"][done.rows]
    told = np.flatnonzero(faint & (fit.clearness[known] > PLAIN) & (np.isfinite(steps[..., 0]).sum(1) >= VECTORS))
    if len(told) < FEW:
        return out
    others = np.ones(len(fit.y), bool)
    others[known[faint]] = False
    ground = ground_of(done, others, job.column_sigma)
    place = np.column_stack([fit.y, fit.x])[known[told]]
    own, there = _at(ground, place), _at(ground, place[:, None] + steps[told])
    good = (own > 0) & (np.isfinite(there).sum(1) >= VECTORS)
    told, place = told[good], place[good]
    if len(told) >= FEW:
        share = (np.nanmean(there[good], axis=1) / own[good]).clip(-1, 2)
        out[told] = _median_around(place, share, AROUND * job.column_sigma)
    return out


def moved(p: np.ndarray, again: Repeats, ratio: np.ndarray, clearness: np.ndarray) -> np.ndarray:
    """Probabilities (n,) in the light of the share that is repeated; unchanged where that is not known.

    It lowers those the more, the plainer what stands there is to see, by its ``clearness``.

    Candidates around speak for one only as far as it measures up to its equivalents itself, by its log likelihood
    ``ratio`` (NaN: not known): what is left in an empty site stands among columns that are repeated, too.
    """
    least = np.interp(np.log(np.maximum(clearness, 1.0)), np.log(CLEARNESS), LEAST)
    change = (SLOPE * (again.share - NEUTRAL)).clip(least, MOST)
    alike = np.where(np.isfinite(ratio), _ramp(ratio, *ALIKE), 1.0)
    change = np.where(change > 0, again.telling * alike, 1.0) * change
    return np.where(np.isfinite(change), expit(logit(np.clip(p, CERTAIN, 1 - CERTAIN)) + change), p)


def ground_of(done: FrameFit, others: np.ndarray, sigma: float) -> np.ndarray:
    """Brightness (h, w), over the size of a column and above its surroundings, of what is left without some columns."""
    fit = done.fit
    width = np.log(np.sqrt(fit.width_y * fit.width_x))
    table = [fit.y, fit.x, fit.height, width, 0 * width, 0 * width]
    table = torch.from_numpy(np.stack([v[others] for v in table], 1).astype(np.float64))
    image = torch.from_numpy(np.array(done.image, np.float32))
    window, shade = Window.around(sigma, tuple(image.shape)), torch.zeros_like(image)
    kernels(image).draw_on(image, Columns.of(table), window, False, -1.0)
    table = table.clone()
    table[:, 2] = 1.0
    kernels(image).draw_on(shade, Columns.of(table), window)
    open_ = ((shade.numpy() < COVERED) & ~done.bad).astype(np.float32)

    def mean_over(values: np.ndarray, size: float, least: float) -> np.ndarray:
        return gaussian_filter(open_ * values, size) / np.maximum(gaussian_filter(open_, size), least)

    rest = np.where(open_ > 0, image.numpy(), 0.0)
    return mean_over(rest - mean_over(rest, WIDE * sigma, 1e-3), sigma, 0.2)


def _at(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The image at places (..., 2); NaN outside."""
    y, x = np.moveaxis(place, -1, 0)
    inside = (y >= 0) & (x >= 0) & (y <= image.shape[0] - 1) & (x <= image.shape[1] - 1)
    values = map_coordinates(image, [np.where(inside, y, 0), np.where(inside, x, 0)], order=1)
    return np.where(inside, values, np.nan)


def _median_around(place: np.ndarray, values: np.ndarray, distance: float) -> np.ndarray:
    """Median of the values (n,) of the nearest ones within a distance; NaN where there are few."""
    near = cKDTree(place).query(place, k=min(MANY, len(place)), distance_upper_bound=distance)[1]
    found = np.append(values, np.nan)[near]
    enough = np.isfinite(found).sum(1) >= FEW
    out = np.full(len(values), np.nan)
    out[enough] = np.nanmedian(found[enough], axis=1)
    return out
