"""How undecided the columns of every frame are, and frames whose columns were found anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.atoms.decode import COLUMNS, Points

COUNTED = 0.1  # probability from which a candidate tells how undecided they are, whatever threshold is asked for


@dataclass(frozen=True)
class FrameSums:
    """Of frames, each once; every array has shape (n,).

    ``expected`` is the number of columns expected, sum p, ``doubt`` that in doubt, sum p (1 - p), ``width`` the sum of
    p times the width that the detector sees (pixels), and ``kept`` the number of columns kept.
    """

    frame: np.ndarray
    expected: np.ndarray
    doubt: np.ndarray
    width: np.ndarray
    kept: np.ndarray

    @staticmethod
    def of(points: Points, threshold: float) -> FrameSums:
        """Of all points that count."""
        p = points.probability.astype(float)
        frame, which = np.unique(points.frame, return_inverse=True)
        counted = np.where(p >= COUNTED, p, 0.0)
        weights = counted, counted * (1 - counted), counted * points.width, p >= threshold
        return FrameSums(frame.astype(np.int64), *(np.bincount(which, w, len(frame)) for w in weights))

    @staticmethod
    def join(parts: list[FrameSums]) -> FrameSums:
        """Of blocks, which may hold parts of a frame."""
        if not parts:
            return FrameSums(np.empty(0, np.int64), *(np.empty(0) for _ in range(4)))
        rows = np.concatenate([part.table() for part in parts], axis=1)
        frame, which = np.unique(rows[0], return_inverse=True)
        return FrameSums(frame.astype(np.int64), *(np.bincount(which, row, len(frame)) for row in rows[1:]))

    def table(self) -> np.ndarray:
        """All in one array, float64, shape (5, n)."""
        return np.stack([self.frame.astype(float), self.expected, self.doubt, self.width, self.kept])

    @staticmethod
    def from_table(table: np.ndarray) -> FrameSums:
        return FrameSums(table[0].astype(np.int64), *table[1:])

    def without(self, frames: np.ndarray) -> FrameSums:
        """The same but for some frames."""
        return FrameSums.from_table(self.table()[:, ~np.isin(self.frame, frames)])

    def over(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of ``n`` frames: columns expected, the share of these in doubt, their mean width; 0 where there are none."""
        sums = np.zeros((3, n))
        sums[:, self.frame] = self.expected, self.doubt, self.width
        expected = np.where(sums[0] > 0, sums[0], 1.0)
        return sums[0], sums[1] / expected, sums[2] / expected

    @property
    def indecision(self) -> float:
        """Share of the expected columns in doubt, of all frames."""
        expected = float(self.expected.sum())
        return float(self.doubt.sum()) / expected if expected else 0.0

    @property
    def rows(self) -> int:
        """Number of columns kept."""
        return int(self.kept.sum())


@dataclass
class Replaced:
    """Frames whose columns take the place of those found before: ``points``, by frame, and none in the others."""

    frames: np.ndarray
    points: Points

    def into(self, points: Points, first: float = -np.inf, last: float = np.inf) -> Points:
        """Points in order, with those of these frames from ``first`` to ``last`` replaced; takes the arrays away.

        Column by column: of millions of points two copies are too many.
        """
        stay = ~np.isin(points.frame, self.frames)
        new = np.flatnonzero((self.points.frame >= first) & (self.points.frame <= last))
        if stay.all() and not len(new):
            return points
        if len(new) and not stay.any():
            return self.points.keep(new)
        old, own = points.columns(), self.points.columns() if len(new) else None
        vars(points).update(dict.fromkeys(COLUMNS), fitted={})
        for name in [*old]:
            kept = old.pop(name)[stay]
            old[name] = kept if own is None else np.concatenate([kept, own[name][new]])
        order = np.lexsort((old["x"], old["y"], old["frame"]))
        for name in [*old]:
            old[name] = old[name][order]
        return Points.of(old)
