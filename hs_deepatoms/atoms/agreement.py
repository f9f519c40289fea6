"""How far the members of an ensemble agree about every atom, and about every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.locate import Located, in_core, locate, seen_around
from hs_deepatoms.atoms.pixelmaps import MapJob, around, maps_block
from hs_deepatoms.engine.plan import Block

PARTS = ("total", "aleatoric", "epistemic")
APART = 1e7  # pixels between classes, so that only atoms of the same one are compared


def agreement(found: Located, members: Sequence[Located], radius: float) -> dict[str, np.ndarray]:
    """Share of the members that see each atom, and the spread of where they see it.

    Any number of members will do, and none of the atoms is dropped: an atom that no member sees has agreement 0.

    Parameters
    ----------
    found : Located
        Atoms of the ensemble, n of them.
    members : sequence of Located
        Atoms of every member.
    radius : float
        Largest distance of an atom and a member's own atom of the same class, pixels; they are each other's nearest.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``agreement``, 0 to 1; ``y_spread_px``, ``x_spread_px``: standard deviation over the members that see the atom
        (one degree of freedom taken off), NaN for fewer than two.

    Examples
    --------
    >>> import numpy as np
    >>> at = lambda y: Located(np.array([y]), np.array([4.0]), np.ones(1), np.zeros(1, int))
    >>> seen = agreement(at(5.0), [at(4.9), at(5.1), at(30.0)], radius=3.0)
    >>> [round(float(seen[name][0]), 3) for name in ("agreement", "y_spread_px", "x_spread_px")]
    [0.667, 0.141, 0.0]
    """
    n = len(found.y)
    there = np.full((2, len(members), n), np.nan)
    for k, own in enumerate(members):
        mine, theirs = _pairs(found, own, radius)
        there[:, k, mine] = own.y[theirs], own.x[theirs]
    seen = np.isfinite(there[0])
    count = seen.sum(0)
    mean = np.where(seen, there, 0).sum(1) / count.clip(1)
    square = np.where(seen, (there - mean[:, None]) ** 2, 0).sum(1)
    spread = np.where(count > 1, np.sqrt(square / (count - 1).clip(1)), np.nan)
    return {"agreement": count / len(members), "y_spread_px": spread[0], "x_spread_px": spread[1]}


def locate_members_block(frames: np.ndarray, block: Block, job: MapJob, threshold: float, radius: float) -> Points:
    """Atoms of the members' mean map that the block owns, with what `agreement` says of them in ``fitted``."""
    wide = around(block, seen_around(radius), job.view.shape)
    maps = maps_block(frames, wide, job)
    maps = maps.reshape(job.members, job.n_classes, *maps.shape[1:])
    parts = []
    for k in range(len(frames)):
        found = locate(maps[:, :, k].mean(0), threshold, radius)
        said = agreement(found, [locate(own, threshold, radius) for own in maps[:, :, k]], radius)
        y, x = found.y + wide.core[0], found.x + wide.core[2]
        mine = in_core(y, x, block, job.view.shape)
        n = int(mine.sum())
        spread = np.full(n, radius / 4)
        fitted = {"kind": found.kind[mine], **{name: values[mine] for name, values in said.items()}}
        parts.append(Points(np.full(n, block.frames[0] + k), y[mine], x[mine], spread, spread,
                            np.full(n, radius), found.probability[mine], fitted))  # fmt: skip
    return Points.join(parts)


def variance_parts(maps: np.ndarray) -> np.ndarray:
    """Variance of "there is an atom here", and its two parts.

    Parameters
    ----------
    maps : ndarray, shape (members, ...)
        Probabilities.

    Returns
    -------
    ndarray, shape (3, ...)
        Total ``p (1 - p)`` of the mean p; the aleatoric part, mean of every member's own; the epistemic part, the
        variance of the members' probabilities. The last two add up to the first: the law of total variance (Depeweg et
        al., ICML 2018, arXiv:1710.07283).

    Examples
    --------
    >>> variance_parts(np.array([0.0, 1.0])).tolist(), variance_parts(np.array([0.5, 0.5])).tolist()
    ([0.25, 0.0, 0.25], [0.25, 0.25, 0.0])
    """
    mean = maps.mean(0)
    epistemic = maps.var(0)
    total = mean * (1 - mean)
    return np.stack([total, np.clip(total - epistemic, 0, None), epistemic])


def variance_block(frames: np.ndarray, block: Block, job: MapJob) -> np.ndarray:
    """`variance_parts` of the block's core, float32, shape (3, n_classes, f, core height, core width)."""
    maps = maps_block(frames, block, job)
    return variance_parts(maps.reshape(job.members, job.n_classes, *maps.shape[1:])).astype(np.float32)


def _pairs(found: Located, own: Located, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of atoms that are each other's nearest, within a radius and of one class."""
    if not len(found.y) or not len(own.y):
        return np.empty(0, int), np.empty(0, int)
    here, there = (np.column_stack([p.y + APART * p.kind, p.x]) for p in (found, own))
    distance, nearest = cKDTree(there).query(here)
    back = cKDTree(here).query(there)[1]
    mine = np.flatnonzero((distance <= radius) & (back[nearest] == np.arange(len(here))))
    return mine, nearest[mine]
