"""Columns with a second dim become one column each."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hs_deepatoms.tables.flatten import flat_table


def test_flat_table():
    z, share = np.arange(12.0).reshape(4, 3), np.ones((4, 2))
    columns = {
        "z": (("atom", "latent"), z),
        "class_probability": (("atom", "class_index"), share),
        "angle": ("atom", np.zeros(4)),
    }
    table = xr.Dataset(columns, coords={"latent": range(3), "class_index": range(2)})
    flat = flat_table(table)
    assert set(flat.data_vars) == {"z_0", "z_1", "z_2", "class_probability_0", "class_probability_1", "angle"}
    assert set(flat.dims) == {"atom"}
    np.testing.assert_array_equal(flat["z_1"], z[:, 1])
