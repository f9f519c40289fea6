"""How many atoms each frame has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid, frame_of

if TYPE_CHECKING:
    import xarray as xr


def count(ds: xr.Dataset) -> xr.DataArray:
    """Number of atoms per frame.

    Returns
    -------
    xarray.DataArray
        Over the navigation dims of the source image with their calibrated coordinates, empty frames included;
        0-dimensional for a single image. Atoms emptied by ``where`` are not counted.

    Raises
    ------
    TableError
        If ``ds`` is not a positions table.

    Examples
    --------
    >>> import hs_deepatoms
    >>> int(hs_deepatoms.positions([1.0, 5.0], [2.0, 7.0]).deepatoms.count())
    2
    """
    import xarray as xr

    ds = schema.dropna(ds)
    grid = frame_grid(ds)
    counts = np.bincount(frame_of(ds, grid), minlength=grid.n_frames).reshape(grid.sizes)
    coordinates = {
        column: (column, values, {"units": units})
        for column, values, units in zip(grid.columns, grid.values, grid.units, strict=True)
    }
    attrs = {"units": "1", "long_name": "atoms per frame"}
    attrs |= {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs}
    return xr.DataArray(counts.astype(np.int64), coordinates, grid.columns, "count", attrs)
