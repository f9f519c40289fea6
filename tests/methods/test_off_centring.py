"""``off_centring`` in calibrated units."""

import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError, TableError
from tests.methods.crystals import perovskite


def test_values_units_and_errors():
    made = perovskite(strain=0.0, polar=(0.02, -0.01)).deepatoms.off_centring(of="Ti", among="Sr")
    ti = made.deepatoms.select(species="Ti")
    assert np.isnan(made.deepatoms.select(species="Sr")["off_centring_y"]).all()
    assert made["off_centring_y"].attrs["units"] == "nm" and made["off_centring_y"].attrs["neighbours"] == 4
    for name, value in (("off_centring_y", 0.02), ("off_centring_x", -0.01)):
        good = np.isfinite(ti[name].values)
        assert good.mean() > 0.8
        z = (ti[name].values[good] - value) / ti[f"{name}_std"].values[good]
        assert abs(z.std() - 1) < 0.15 and abs(z.mean()) < 0.2
    pm = made.deepatoms.to_units("pm")
    np.testing.assert_allclose(pm["off_centring_x"], 1000 * made["off_centring_x"])


def test_named_errors_and_nothing_to_do():
    atoms = perovskite()
    with pytest.raises(InvalidArgumentError, match="two different"):
        atoms.deepatoms.off_centring(of="Ti", among=["Ti", "Sr"])
    with pytest.raises(InvalidArgumentError, match="neighbours"):
        atoms.deepatoms.off_centring(of="Ti", among="Sr", neighbours=0)
    with pytest.raises(TableError, match="species"):
        atoms.deepatoms.off_centring(of="Ti", among="O")
    none = atoms.deepatoms.select(species="Sr").deepatoms.off_centring(of="Ti", among="Sr")
    assert np.isnan(none["off_centring_y"]).all()
    assert atoms.isel(atom=slice(0, 0)).deepatoms.off_centring(of="Ti", among="Sr").sizes["atom"] == 0
