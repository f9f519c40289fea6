"""What an ensemble finds in one part of the counts, and what the other part says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from hs_deepatoms.atoms.heldout import Columns, doubt, evidence, expected_frame, log_likelihood
from hs_deepatoms.prepare.thinning import Halves
from hs_deepatoms.simulate.masks import disc_classes
from hs_deepatoms.tables.frames import frame_of

QUIET = 0.2  # probability below which all members see the background
SUSPECT = 3.0  # signal-to-noise ratio of what the fit leaves over, from which the background is not believed
SEEN = 2.0  # that an atom must have in the image to become a label
RING = 2.0  # radii around a sure atom that are labelled background where no other atom is


@dataclass(frozen=True)
class Findings:
    """Atoms of the kept part, the maps they come from, and how well they predict the held-out part.

    Attributes
    ----------
    frame, y, x, probability, agreement, kind : ndarray, shape (n,)
    columns : list of Columns
        Fitted atoms per frame; ``rows``, list of ndarray, says which of the n they are.
    maps : ndarray, shape (frames, h, w)
        Probability that there is any atom.
    expected : ndarray, shape (frames, h, w)
        Of the kept part.
    width, radius : float
        Sigma of the columns, and radius of an atom's disc, pixels.
    likelihood : float
        Logarithm of that of the held-out part.
    """

    frame: np.ndarray
    y: np.ndarray
    x: np.ndarray
    probability: np.ndarray
    agreement: np.ndarray
    kind: np.ndarray
    columns: list[Columns]
    rows: list[np.ndarray]
    maps: np.ndarray
    expected: np.ndarray
    width: float
    radius: float
    likelihood: float

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.y)

    def added_to(self, other: Findings) -> np.ndarray:
        """True for atoms that the other findings do not have, shape (n,)."""
        if not self.n_atoms or not other.n_atoms:
            return np.ones(self.n_atoms, bool)
        tree = cKDTree(np.column_stack([other.frame * 1e6 + other.y, other.x]))
        return tree.query(np.column_stack([self.frame * 1e6 + self.y, self.x]))[0] > self.radius

    def evidence(self, halves: Halves) -> np.ndarray:
        """Signal-to-noise ratio of every atom in the held-out part, shape (n,); 0 where the fit failed."""
        return self._evidence(halves.held, (1 - halves.share) / halves.share, halves.noise)

    def labels(self, halves: Halves, confident: float) -> np.ndarray:
        """Classes of the pixels about which all members are sure and the image agrees, int64, -1 elsewhere."""
        noise = _kept_noise(halves)
        sure = (self.agreement > 0.999) & (self.probability >= confident)
        sure &= self._evidence(halves.kept, 1.0, noise) >= SEEN
        out = np.full(self.maps.shape, -1, np.int64)
        for k, frame in enumerate(halves.kept):
            left = doubt(frame, self.expected[k], self.width, None if noise is None else noise[k])
            suspect = maximum_filter(np.abs(left) > SUSPECT, 2 * round(self.radius) + 1)
            out[k] = self._frame_labels(k, sure, suspect)
        return out

    def _frame_labels(self, k: int, sure: np.ndarray, suspect: np.ndarray) -> np.ndarray:
        shape, here = suspect.shape, self.frame == k
        good, bad = here & sure, here & ~sure
        discs = disc_classes(shape, self.y[good], self.x[good], self.kind[good] + 1, self.radius)
        around = disc_classes(shape, self.y[good], self.x[good], 1, RING * self.radius) > 0
        unsure = disc_classes(shape, self.y[bad], self.x[bad], 1, 1.3 * self.radius) > 0
        out = np.full(shape, -1, np.int64)
        out[((self.maps[k] < QUIET) | around) & ~suspect & ~unsure] = 0
        return np.where(discs > 0, discs, out)

    def _evidence(self, frames: np.ndarray, factor: float, noise: np.ndarray | None) -> np.ndarray:
        out = np.zeros(self.n_atoms)
        for k, (columns, rows) in enumerate(zip(self.columns, self.rows, strict=True)):
            sign = -1.0 if len(rows) and np.median(columns.height) < 0 else 1.0
            out[rows] = sign * evidence(frames[k], factor * self.expected[k], columns.y, columns.x,
                                        factor * columns.height, self.width,
                                        None if noise is None else noise[k])  # fmt: skip
        return out


def look(ensemble: Any, kept: xr.DataArray, halves: Halves, radius: float | None, how: dict[str, Any]) -> Findings:
    """Find and fit atoms in the kept part, and judge them by the held-out part."""
    atoms = ensemble.find_atoms(kept, radius=radius, **how).deepatoms.to_units("px")
    maps = np.asarray(ensemble.predict(kept, **how).data)
    maps = maps.max(0) if len(ensemble.classes) > 1 else maps
    frame = frame_of(atoms)
    columns, rows = _columns(atoms, frame, len(halves.kept))
    width = float(np.median(np.concatenate([c.sigma for c in columns]))) if any(map(len, rows)) else 2.0
    expected = np.stack([expected_frame(f, c, width) for f, c in zip(halves.kept, columns, strict=True)])
    factor = (1 - halves.share) / halves.share
    noises = [None] * len(columns) if halves.noise is None else halves.noise
    fits = [log_likelihood(h, factor * e, n) for h, e, n in zip(halves.held, expected, noises, strict=True)]
    kind = atoms.species.values if "species" in atoms else np.zeros(len(frame), int)
    radius = radius or _used_radius(atoms)
    return Findings(frame, atoms.y_px.values, atoms.x_px.values, atoms.probability.values, atoms.agreement.values,
                    np.asarray(kind), columns, rows, maps, expected, width, radius, sum(fits))  # fmt: skip


def _columns(atoms: xr.Dataset, frame: np.ndarray, n: int) -> tuple[list[Columns], list[np.ndarray]]:
    if "height" not in atoms:
        return [Columns(*np.empty((4, 0)))] * n, [np.empty(0, int)] * n
    sigma = np.sqrt(atoms.width_y.values * atoms.width_x.values)
    good = np.isfinite(atoms.height.values) & np.isfinite(sigma) & (sigma > 0)
    rows = [np.flatnonzero(good & (frame == k)) for k in range(n)]
    parts: Sequence[np.ndarray] = (atoms.y_px.values, atoms.x_px.values, atoms.height.values, sigma)
    return [Columns(*(np.asarray(p[r], float) for p in parts)) for r in rows], rows


def _used_radius(atoms: xr.Dataset) -> float:
    from hs_deepatoms.tables.schema import read_json

    return float(read_json(atoms.attrs, "provenance", [])[-1]["parameters"]["radius_px"])


def _kept_noise(halves: Halves) -> np.ndarray | None:
    return None if halves.noise is None else halves.noise * np.sqrt(halves.share / (1 - halves.share))
