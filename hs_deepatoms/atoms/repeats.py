"""Whether what stands at faint candidates stands a lattice vector away too: in the pixels, whatever was detected there.

Weak columns of a crystal repeat, as it does; the grain of a film does not, however high it stands out of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from hs_deepatoms.atoms.faint import Faint, at

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points

PLAIN = 3.0  # signal-to-noise ratio, at least
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


def repeated(points: Points, faint: Faint) -> Repeats:
    """What the pixels repeat of the faint candidates: the median of those around each."""
    done, share = faint.done, _shares(points, faint)
    telling = np.zeros(len(share))
    if np.isfinite(share).any():
        place = np.column_stack([done.fit.y, done.fit.x])
        nearest = cKDTree(place).query(place[done.known], 2)[0][:, 1] / faint.sigma
        telling = _ramp(nearest, *APART) * _ramp(done.noise.excess, *FITTING)
    return Repeats(share, telling)


def _ramp(value, zero: float, one: float):
    return np.clip((value - zero) / (one - zero), 0, 1)


def _shares(points: Points, faint: Faint) -> np.ndarray:
    done, fit, known = faint.done, faint.done.fit, np.flatnonzero(faint.done.known)
    out = np.full(len(known), np.nan)
    if "steps" not in points.fitted:
        return out
    steps = points.fitted["steps"][done.rows]
    told = np.flatnonzero(faint.which & (fit.clearness[known] > PLAIN) & (np.isfinite(steps[..., 0]).sum(1) >= VECTORS))
    if len(told) < FEW:
        return out
    place = np.column_stack([fit.y, fit.x])[known[told]]
    own, there = at(faint.ground, place), at(faint.ground, place[:, None] + steps[told])
    good = (own > 0) & (np.isfinite(there).sum(1) >= VECTORS)
    told, place = told[good], place[good]
    if len(told) >= FEW:
        share = (np.nanmean(there[good], axis=1) / own[good]).clip(-1, 2)
        out[told] = _median_around(place, share, AROUND * faint.sigma)
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


def _median_around(place: np.ndarray, values: np.ndarray, distance: float) -> np.ndarray:
    """Median of the values (n,) of the nearest ones within a distance; NaN where there are few."""
    near = cKDTree(place).query(place, k=min(MANY, len(place)), distance_upper_bound=distance)[1]
    found = np.append(values, np.nan)[near]
    enough = np.isfinite(found).sum(1) >= FEW
    out = np.full(len(values), np.nan)
    out[enough] = np.nanmedian(found[enough], axis=1)
    return out
