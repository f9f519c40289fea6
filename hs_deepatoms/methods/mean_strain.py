"""Mean strain of a part of a crystal from one least-squares lattice through all of its atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms.atoms.strain import fit_covariance, fit_ideal, strain
from hs_deepatoms.methods.plane import read_plane
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import xarray as xr

FEWEST = 4  # atoms on two lines and something left to see the scatter
STRAINS = ("strain_yy", "strain_xx", "strain_xy", "lattice_rotation")


def mean_strain(ds: xr.Dataset) -> xr.Dataset:
    """One strain per grain, from all atoms of the table that are on sites of it.

    Several times more precise than the mean of the strains of the single atoms, and right where the strain is the same
    all over: select the part that is meant.

    Parameters
    ----------
    ds
        What `lattice` returned, or a selection of it.

    Returns
    -------
    xarray.Dataset
        Dim ``grain``: ``strain_yy``, ``strain_xx``, ``strain_xy``, ``lattice_rotation`` (radians), their ``_std``
        (with the error of the reference, where that is a region), ``atoms``. Grains with too few atoms are left out.

    Raises
    ------
    TableError
        If the table was not made by `lattice`.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> y, x = (k.ravel() for k in np.mgrid[5:95:10.0, 5:145:10.1])
    >>> atoms = hs_deepatoms.positions(y, x).deepatoms.lattice(reference=(10, 10))
    >>> atoms.deepatoms.mean_strain().strain_xx.round(6).values.tolist()
    [0.01]
    """
    import xarray as xr

    ds = schema.dropna(ds)
    entries = schema.read_json(ds.attrs, "lattice", None)
    if entries is None or not all(name in ds for name in ("grain", "site_i", "site_j", "basis")):
        raise TableError(
            explain("a table without a lattice", "what atoms.deepatoms.lattice() returns", "Call it first.")
        )
    plane = read_plane(ds, "mean_strain")
    grain = np.asarray(ds["grain"].values)
    rows = {number: np.flatnonzero(grain == number) for number in range(len(entries))}
    found = [
        (number, *_of_grain(ds, plane.at(r), r, entries[number])) for number, r in rows.items() if r.size >= FEWEST
    ]
    found = [one for one in found if np.isfinite(one[1]).all()]
    values, std = (np.array([one[k] for one in found]).reshape(-1, 4) for k in (1, 2))
    made = {}
    for k, name in enumerate(STRAINS):
        made[name] = ("grain", values[:, k], schema.column_attributes(name, {}))
        made[f"{name}_std"] = ("grain", std[:, k], schema.column_attributes(f"{name}_std", {}))
    made["atoms"] = ("grain", np.array([rows[one[0]].size for one in found], np.int64))
    return xr.Dataset(made, {"grain": np.array([one[0] for one in found], np.int64)}, {"kind": "mean_strain"})


def _of_grain(ds: xr.Dataset, plane, rows, entry: dict) -> tuple[np.ndarray, np.ndarray]:
    from hs_deepatoms.bridge.lengths import unit_factor

    i, j, basis = (np.asarray(ds[name].values)[rows] for name in ("site_i", "site_j", "basis"))
    basis = np.unique(basis, return_inverse=True)[1]
    errors = {"y_std": plane.y_std, "x_std": plane.x_std}
    ideal = fit_ideal(plane.y, plane.x, i, j, basis, **errors)
    covariance = fit_covariance(ideal, plane.y, plane.x, i, j, basis, **errors)
    if np.ptp(i) == 0 or np.ptp(j) == 0 or np.linalg.matrix_rank(np.column_stack([i - i[0], j - j[0]])) < 2:
        return np.full(4, np.nan), np.full(4, np.nan)
    factor = unit_factor(entry["units"], plane.units)
    covariance = covariance + np.array(entry["reference_covariance"]) * factor**2
    values, std = strain(ideal.vectors[None], covariance[None], np.array(entry["reference"]) * factor)
    return values[0], std[0]
