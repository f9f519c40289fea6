"""Which dimensions of a DataArray are the signal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms.bridge.fields import stored_fields

if TYPE_CHECKING:
    from xarray import DataArray


def signal_dims_of(array: DataArray) -> tuple[str, ...] | None:
    """The dimensions that the attribute ``signal_dims`` names, under the names they have now; None without it."""
    found = array.attrs.get("signal_dims")
    if found is None:  # arithmetic may drop the attributes of an array, it keeps those of its coordinates
        stored = [stored_fields(array, dim).get("navigate") for dim in array.dims]
        known = stored and None not in stored
        return tuple(dim for dim, navigate in zip(array.dims, stored, strict=True) if not navigate) if known else None
    if isinstance(found, str):  # netCDF gives a list of one name back as text
        found = json.loads(found) if found.startswith("[") and found not in array.dims else [found]
    renamed = {stored_fields(array, dim).get("dim"): dim for dim in array.dims if dim not in found}
    renamed |= {dim: dim for dim in found if stored_fields(array, dim).get("dim") == dim}  # it is still itself
    return tuple(renamed.get(str(name), str(name)) for name in np.atleast_1d(np.asarray(found, dtype=object)))
