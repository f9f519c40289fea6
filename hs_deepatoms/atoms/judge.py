"""What fitted heights and the crystal say together about the candidates of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from hs_deepatoms.atoms.alike import likeness, on_its_own, rows_of, unevenness, usual, weighed
from hs_deepatoms.atoms.at_site import at_sites
from hs_deepatoms.atoms.averaged import features, raised
from hs_deepatoms.atoms.repeats import Repeats, moved

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.refine import FrameFit

# of the signal-to-noise ratio of its equivalents, and the ratio itself: a candidate that has less than both is looked
# at once more, at the site itself; what is plainer than a peak of the noise is something, even beside its site
DOUBTFUL, PEAK = 0.75, 4.5
# a column that the detector saw and only the crystal speaks against, as in the core of a defect, stays where the fit
# shows it as plainly as this, and as nearly so many of the columns around it
PLAIN_TO_SEE, LIKE_NEIGHBOURS, NEIGHBOURS = 10.0, 0.6, 8

HARDLY = 1.5  # signal-to-noise ratio that the noise alone has at every place
EVEN, UNEVEN = 0.28, 0.36  # relative spread of equivalents up to which they are a sublattice, and from which bumps
NEVER, ONCE = 0.1, 0.25  # share repeated up to which pixels repeat nothing, and from which they do
CERTAIN = 1e-4  # probabilities count as no nearer to 0 and 1


def judge(
    points: Points,
    done: FrameFit,
    job: Detection,
    ratio: np.ndarray,
    typical: np.ndarray,
    uneven: np.ndarray,
    again: Repeats,
    mean: np.ndarray,
) -> None:
    """Probabilities of the fitted candidates in the light of their heights, written to ``points``.

    What the crystal has raised is taken back where the equivalents are as unequal as bumps of a rough ground and the
    pixels repeat nothing; faint candidates that they repeat ``again`` are raised, and those at whose equivalents
    something stands on average (``mean``; :mod:`~hs_deepatoms.atoms.averaged`).

    Between the sites of a crystal, and where what stands on equivalent sites is hardly to be seen, a column has to
    stand out of the noise by itself.
    """
    spared, rows, p = overruled(points, done, job), done.rows, points.probability
    alone = points.fitted["between"][rows] | ((points.fitted["alike"][rows, 0] >= 0) & np.isnan(typical))
    crystal = features(p[rows], points.fitted["seen"][rows], points.fitted["evidence"][rows], mean)
    weighed_ones = weighed(p[rows], ratio, job.heights)
    clearness, seen = done.fit.clearness[done.known], points.fitted["seen"][rows]
    # the crystal raises nothing where hardly anything is, and that it has nothing to compare with
    unmatched = (points.fitted["alike"][rows, 0] < 0) & (clearness < HARDLY) & (seen > 0)
    weighed_ones = _taken_back(weighed_ones, seen, uneven, again.share)
    p[rows] = np.minimum(weighed_ones, np.where(alone, on_its_own(clearness), np.where(unmatched, seen, 1.0)))
    p[rows] = raised(moved(p[rows], again, ratio, clearness), mean, crystal)
    p[spared] = points.fitted["seen"][spared]


def _taken_back(p: np.ndarray, seen: np.ndarray, uneven: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Probabilities that are above those that the detector had ``seen``, back to these where nothing but bumps is."""
    share = ((uneven - EVEN) / (UNEVEN - EVEN)).clip(0, 1) * ((ONCE - again) / (ONCE - NEVER)).clip(0, 1)
    share = np.nan_to_num(share)
    now, before = (logit(np.clip(v, CERTAIN, 1 - CERTAIN)) for v in (p, seen))
    return np.where((share > 0) & (seen > 0) & (before < now), expit(now + share * (before - now)), p)


def compared(
    points: Points, done: FrameFit, sigma: float, *, bumps: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far the fitted candidates measure up to their equivalents, and these.

    A log likelihood ratio, the clearness of the equivalents, and how uneven they are (NaN without ``bumps``).
    """
    which = np.flatnonzero(done.known)
    if "alike" not in points.fitted:
        return tuple(np.full((3, len(which)), np.nan))
    order = np.argsort(points.fitted["number"][done.rows])
    ids, alike = (points.fitted[name][done.rows[order]] for name in ("number", "alike"))
    near, which = rows_of(ids, alike), which[order]
    typical, spread = usual(clearness := done.fit.clearness[which], near)
    ratio = likeness(clearness, typical, spread)
    uneven = unevenness(clearness, near) if bumps else np.full(len(which), np.nan)
    doubtful = np.flatnonzero(clearness < np.minimum(DOUBTFUL * typical, PEAK))
    if len(doubtful):
        near = np.where(near >= 0, which[near], -1)[doubtful]
        own, there = at_sites(done.image, ~done.bad, done.noise, done.fit, near, which[doubtful], sigma)
        again = likeness(own, there, spread[doubtful], 0.0)
        ratio[doubtful] = np.where(np.isfinite(again), again, ratio[doubtful])
    back = np.argsort(order)
    return ratio[back], typical[back], uneven[back]


def overruled(points: Points, done: FrameFit, job: Detection) -> np.ndarray:
    """Indices of the candidates that the detector saw and the crystal spoke against, and that the fit shows plainly."""
    clearness, rows = done.fit.clearness[done.known], done.rows
    certain = points.probability[rows] >= job.certain
    doubted = ~certain & (points.fitted["seen"][rows] >= job.certain) & done.fit.converged[done.known]
    doubted &= clearness > PLAIN_TO_SEE
    if not doubted.any() or certain.sum() < NEIGHBOURS:
        return rows[:0]
    tree = cKDTree(np.column_stack([points.y[rows[certain]], points.x[rows[certain]]]))
    near = tree.query(np.column_stack([points.y[rows[doubted]], points.x[rows[doubted]]]), k=NEIGHBOURS)[1]
    usual = np.median(clearness[certain][near], axis=1)
    return rows[doubted][clearness[doubted] > LIKE_NEIGHBOURS * usual]
