"""The background's splines as the compiled loops take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky_banded

from hs_deepatoms.atoms.compiled import surface
from hs_deepatoms.atoms.ground import Ground, coarse, fewest


@dataclass
class Splines:
    """A symmetric matrix over the splines: ``values`` (m, 4, 7) of each with those beside and after it that overlap."""

    values: np.ndarray
    nx: int

    def copy(self) -> Splines:
        return Splines(self.values.copy(), self.nx)

    def raised(self, share: float) -> Splines:
        """With a diagonal that is larger by a share of itself."""
        new = self.copy()
        new.values[:, 0, 3] *= 1 + share
        return new

    def times(self, vector: np.ndarray) -> np.ndarray:
        out = np.zeros_like(vector)
        surface.times(self.values, self.nx, vector, out)
        return out

    def root(self, safe: Splines) -> np.ndarray:
        """Cholesky factor (m, width); where the matrix is not positive, of one as near to it as is, on the way to
        ``safe``. In double precision: where columns are not resolved a rougher one moves them by a pixel."""
        for share in (1.0, 0.9, 0.7, 0.4, 0.1):
            near = self.values if share == 1 else share * self.values + (1 - share) * safe.values
            try:
                return self._factor(near)
            except LinAlgError:
                continue
        held = safe.values.copy()
        held[:, 0, 3] += 1e-5 * held[:, 0, 3].max()  # where the penalty is weak even that one may not be positive
        return self._factor(held)

    def _factor(self, values: np.ndarray) -> np.ndarray:
        lower = np.empty((len(values), min(3 * self.nx + 4, len(values))))
        surface.band(values, self.nx, lower)
        return cholesky_banded(lower.T, overwrite_ab=True, lower=True, check_finite=False).T

    def factor(self) -> np.ndarray:
        """Cholesky factor as LAPACK has it, (width, m)."""
        return self._factor(self.values).T


@dataclass
class Numbers:
    """Splines over every pixel, ``fine``, and over every ``few``: where the first of them is, and their values."""

    knots: tuple[int, int]
    fine: tuple[np.ndarray, ...]  # row starts, rows (4, h), column starts, columns (4, w)
    coarse: tuple[np.ndarray, ...]  # row starts, rows (h', 5), column starts, columns (w', 5)
    few: int
    bending: np.ndarray  # values of the penalty at unit stiffness

    @staticmethod
    def of(ground: Ground) -> Numbers:
        fine, pooled, few = [], [], fewest(ground.knot)
        for basis in (ground.rows, ground.columns):
            starts, values = _narrow(basis.numpy(), 4)
            fine += [starts, np.ascontiguousarray(values.T, np.float32)]
            pooled += _narrow(coarse(basis, few).numpy(), 5)
        knots = ground.rows.shape[1], ground.columns.shape[1]
        return Numbers(knots, tuple(fine), tuple(pooled), few, _bending(*knots, ground.knot**2))


def _narrow(basis: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The splines over each point that are not zero: the first of them, and the values of at most that many."""
    most = min(most, basis.shape[1])
    starts = np.minimum((basis != 0).argmax(1), basis.shape[1] - most)
    return starts, np.take_along_axis(basis, starts[:, None] + np.arange(most), 1)


def _bending(ny: int, nx: int, scale: float) -> np.ndarray:
    out = np.zeros((ny, nx, 4, 7))
    rows, columns = (np.diff(np.eye(n), n=2, axis=0) for n in (ny, nx))
    for k in range(3):
        down, along = np.diagonal(rows.T @ rows, k), np.diagonal(columns.T @ columns, k)
        out[: ny - k, :, k, 3] += scale * down[:, None]
        out[:, : nx - k, 0, 3 + k] += scale * along
    out[:, :, 0, 3] += 1e-6 * scale
    return out.reshape(-1, 4, 7)
