"""``hs_deepatoms.load``: reads back what ``.deepatoms.save`` wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def load(path: str | os.PathLike, *, lazy: bool = False) -> xr.Dataset:
    """Read a result written by ``.deepatoms.save``.

    Parameters
    ----------
    path
        A positions table: ``.zarr`` or ``.nc``, which give back everything, or ``.csv``, which gives columns and
        units but not the axes of the image (``hs_deepatoms.positions(path, signal=image)`` brings these back).
    lazy
        Columns as dask arrays, read when they are needed; ``.zarr`` only.

    Returns
    -------
    xarray.Dataset
        The positions table, in memory unless ``lazy``.

    Raises
    ------
    TableError
        If there is no such file, or it cannot be read as one of our results.

    Examples
    --------
    >>> import hs_deepatoms, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "atoms.zarr"
    >>> _ = hs_deepatoms.positions([1.0, 5.0], [2.0, 7.0]).deepatoms.save(path)
    >>> hs_deepatoms.load(path).sizes["atom"]
    2
    """
    from hs_deepatoms.tables.storage import load_table

    return load_table(path, lazy=lazy)
