"""How well objects and lines were found: compared with the truth, as benchmarks of segmentation do it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Hits(NamedTuple):
    """Right ones among those found, all that were found, true ones that were found, and all true ones.

    Of objects ``hits`` and ``recalled`` are the same; of lines they count pixels of either side. Hits add up over
    images with :func:`total`.
    """

    hits: int
    found: int
    recalled: int
    true: int

    @property
    def precision(self) -> float:
        """Share of what was found that is true; 1 where nothing was."""
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true ones that were found; 1 where there are none."""
        return self.recalled / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r) if p + r else 0.0


def total(parts: list[Hits]) -> Hits:
    """Hits of several images together."""
    return Hits(*(sum(column) for column in zip(*parts, strict=True)))


def object_hits(found: np.ndarray, true: np.ndarray, *, overlap: float = 0.5, smallest: int = 0) -> Hits:
    """Objects that cover a true one: intersection over union above ``overlap``.

    Above 1/2 no object can have two partners (Kirillov et al., CVPR 2019, doi:10.1109/CVPR.2019.00963).

    Parameters
    ----------
    found, true : ndarray, int, shape (h, w)
        Numbers of objects, 0 for none.
    overlap : float
        At least 0.5.
    smallest : int
        True objects of fewer pixels (cut off by the rim) count neither as found nor as missed, nor does what lies
        mainly on them.

    Returns
    -------
    Hits

    Examples
    --------
    >>> import numpy as np
    >>> true = np.zeros((10, 20), int); true[2:8, 2:8] = 1; true[2:8, 12:18] = 2
    >>> object_hits(np.where(true == 1, 5, 0), true).f1 == 2 / 3
    True
    """
    rows, columns = int(found.max(initial=0)) + 1, int(true.max(initial=0)) + 1
    both = np.bincount(found.ravel().astype(np.int64) * columns + true.ravel(), minlength=rows * columns)
    both = both.reshape(rows, columns)
    area, true_area = both.sum(1), both.sum(0)
    ratio = both[1:, 1:] / np.maximum(area[1:, None] + true_area[None, 1:] - both[1:, 1:], 1)
    small = (true_area[1:] < smallest) & (true_area[1:] > 0)
    mainly = (both[1:, 1:] * small).sum(1) > 0.5 * area[1:]
    partners = (ratio > overlap) & ~small
    hits = int(partners.any(1).sum())
    return Hits(hits, int(((area[1:] > 0) & ~mainly).sum()), hits, int(((true_area[1:] > 0) & ~small).sum()))


def line_hits(found: np.ndarray, true: np.ndarray, *, distance: float = 2.0) -> Hits:
    """Pixels of lines that lie within a distance of the other ones (Martin et al., IEEE TPAMI 26, 530 (2004),
    doi:10.1109/TPAMI.2004.1273918).

    Parameters
    ----------
    found, true : ndarray, bool, shape (h, w)
        Pixels of lines one pixel wide.
    distance : float
        Pixels.

    Returns
    -------
    Hits

    Examples
    --------
    >>> import numpy as np
    >>> true = np.zeros((10, 20), bool); true[4] = True
    >>> line_hits(np.roll(true, 2, 0), true).f1, line_hits(np.roll(true, 3, 0), true).f1
    (1.0, 0.0)
    """
    found, true = np.asarray(found, bool), np.asarray(true, bool)
    return Hits(_near(found, true, distance), int(found.sum()), _near(true, found, distance), int(true.sum()))


def _near(one: np.ndarray, other: np.ndarray, distance: float) -> int:
    from scipy.ndimage import distance_transform_edt

    return int((distance_transform_edt(~other)[one] <= distance).sum()) if other.any() else 0
