"""Neighbours of every atom, with distances and directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms.methods.plane import length_in, read_plane
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.neighbours import nearest

if TYPE_CHECKING:
    import xarray as xr


def neighbours(ds: xr.Dataset, *, k: int | None = None, cutoff: int | float | str | None = None) -> xr.Dataset:
    """The nearest other atoms of the same frame.

    Parameters
    ----------
    ds
        Positions table.
    k
        How many. None: 4, or with ``cutoff`` as many as the atom with the most has.
    cutoff
        Only those at most this far: pixels along x (int), units of x (float) or ``"0.5 nm"``.

    Returns
    -------
    xarray.Dataset
        Dims ``atom``, ``neighbour`` (nearest first): ``neighbour_atom`` (its id, -1 for none), ``distance``, ``dy``,
        ``dx`` from the atom to it (NaN for none), in the units of y and x, or px where these differ.

    Raises
    ------
    InvalidArgumentError
        If ``k`` is no number from 1 up, or the length cannot be read.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([0.0, 0.0, 3.0], [0.0, 4.0, 0.0])
    >>> atoms.deepatoms.neighbours(k=1).distance.values.ravel().tolist()
    [3.0, 4.0, 3.0]
    """
    import xarray as xr

    check_whole("k", k, 1, optional=True, todo="Give how many neighbours.")
    ds = schema.dropna(ds)
    plane, frame = read_plane(ds, "neighbours"), frame_of(ds)
    reach = np.inf if cutoff is None else length_in(cutoff, ds, plane.units)
    count = k or (4 if cutoff is None else 8)
    distance, row = nearest(plane.y, plane.x, frame, k=count)
    while k is None and cutoff is not None and (distance[:, -1] <= reach).any():
        count *= 2
        distance, row = nearest(plane.y, plane.x, frame, k=count)
    near = distance <= reach
    near &= row >= 0
    if k is None and cutoff is not None:
        most = int(near.sum(1).max(initial=0))
        distance, row, near = distance[:, :most], row[:, :most], near[:, :most]
    ids = np.asarray(ds[schema.DIM].values)
    columns = {"distance": distance, "dy": plane.y[row] - plane.y[:, None], "dx": plane.x[row] - plane.x[:, None]}
    dims = (schema.DIM, "neighbour")
    made = {"neighbour_atom": (dims, np.where(near, ids[row] if ids.size else row, -1))}
    made |= {n: (dims, np.where(near, values, np.nan), {"units": plane.units}) for n, values in columns.items()}
    return xr.Dataset(made, {schema.DIM: ds[schema.DIM]}, {"kind": "neighbours"})
