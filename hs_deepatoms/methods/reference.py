"""What strain is measured against: the mean lattice of a grain, that of a region, or given lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.atoms.strain import fit_ideal
from hs_deepatoms.methods.plane import Plane, length_in
from hs_deepatoms.tables.select import inside_region

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.atoms.lattice import Sites

CELLS = 6  # columns of a grain in the region, to define a lattice


@dataclass(frozen=True)
class Reference:
    """Which columns (n,) or which lengths define the lattice that is undistorted."""

    label: Any
    region: np.ndarray | None = None
    lengths: tuple[float, float] | None = None

    def at(self, rows) -> Reference:
        """For some of the columns."""
        return self if self.region is None else replace(self, region=self.region[rows])

    def free(self, use: np.ndarray) -> bool:
        """Whether the vectors of a grain are fitted to its columns ``use``."""
        return self.lengths is None and use.sum() >= CELLS

    def cells(self, plane: Plane, sites: Sites) -> tuple[np.ndarray, np.ndarray]:
        """Reference vectors (n_grains, 2, 2), and which columns (n,) the lattice is fitted to."""
        use = sites.grain >= 0 if self.region is None else self.region & (sites.grain >= 0)
        number = len(sites.vectors)
        counts = np.bincount(sites.grain[use], minlength=number)
        fitted = [_fit(plane, sites, np.flatnonzero(use & (sites.grain == g))) if counts[g] >= CELLS else None
                  for g in range(number)]  # fmt: skip
        if self.lengths is not None:
            return np.array([_scaled(cell, self.lengths) for cell in fitted]).reshape(-1, 2, 2), use
        own = sites.vectors
        best = fitted[int(np.argmax(counts))] if number else None
        cells = [cell if cell is not None else (own[g] if best is None else equivalent(best, own[g]))
                 for g, cell in enumerate(fitted)]  # fmt: skip
        return np.array(cells).reshape(-1, 2, 2), use & np.isin(sites.grain, np.flatnonzero(counts >= CELLS))


def read_reference(reference: Any, ds: xr.Dataset, units: str) -> Reference:
    """What the argument ``reference`` says.

    Raises
    ------
    InvalidArgumentError
        If it is none of None, "mean", a ROI, or two lengths.
    """
    if reference is None or (isinstance(reference, str) and reference == "mean"):
        return Reference("mean")
    if isinstance(reference, tuple | list) and len(reference) == 2:
        lengths = tuple(length_in(one, ds, units) for one in reference)
        if min(lengths) > 0:
            return Reference([str(one) for one in reference], lengths=lengths)
    elif hasattr(reference, "is_valid"):
        return Reference(repr(reference), region=inside_region(reference, ds["y"].values, ds["x"].values))
    raise InvalidArgumentError(explain(f"reference={reference!r}", "None, 'mean', a HyperSpy ROI, or lengths (a, b)",
                                       "For example reference=('0.3905 nm', '0.3905 nm')."))  # fmt: skip


def equivalent(reference: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Those two vectors of the reference lattice that are nearest to ``cell``; all shapes (2, 2)."""
    whole = np.array([m for m in product((-1, 0, 1), repeat=4) if abs(m[0] * m[3] - m[1] * m[2]) == 1])
    candidates = whole.reshape(-1, 2, 2) @ reference
    return candidates[((candidates - cell) ** 2).sum((1, 2)).argmin()]


def _fit(plane: Plane, sites: Sites, rows) -> np.ndarray:
    part = plane.at(rows)
    return fit_ideal(part.y, part.x, sites.i[rows], sites.j[rows], sites.basis[rows], y_std=part.y_std,
                     x_std=part.x_std).vectors  # fmt: skip


def _scaled(cell: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
    return cell * (np.asarray(lengths) / np.hypot(*cell.T))[:, None]
