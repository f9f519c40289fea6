"""Columns with a second dim as one column per entry, so that maps and plots can name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

SECOND = {"z": "latent", "z_std": "latent", "class_probability": "class_index"}


def flat_table(table: xr.Dataset) -> xr.Dataset:
    """The table with a column ``z_0``, ``z_1``, ... per latent, and ``class_probability_0``, ... per class.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> list(flat_table(xr.Dataset({"z": (("atom", "latent"), np.zeros((3, 2)))})))
    ['z_0', 'z_1']
    """
    columns = {}
    for name, dim in SECOND.items():
        if name in table:
            for k in range(table.sizes[dim]):
                columns[f"{name}_{k}"] = table[name].isel({dim: k}, drop=True)
    return table.drop_dims([dim for dim in set(SECOND.values()) if dim in table.dims]).assign(columns)
