"""``neighbours`` as a table, by number and by distance."""

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError
from tests.methods.crystals import perovskite


def test_by_number_and_distance():
    atoms = perovskite(strain=0.0, polar=(0, 0), noise=0.0).deepatoms.select(species="Sr")
    found = atoms.deepatoms.neighbours(cutoff="0.4 nm")
    assert found.sizes["neighbour"] == 4
    np.testing.assert_allclose(found["distance"].values[np.isfinite(found["distance"].values)], 0.39, rtol=1e-9)
    np.testing.assert_allclose(np.hypot(found["dy"], found["dx"]), found["distance"])
    first = atoms.deepatoms.neighbours(k=1)
    other = atoms.sel(atom=first["neighbour_atom"].values[:, 0])
    np.testing.assert_allclose(other["y"].values - atoms["y"].values, first["dy"].values[:, 0], atol=1e-12)
    assert (found["neighbour_atom"].values == -1).any() and atoms.deepatoms.neighbours(cutoff=1e-3).sizes[
        "neighbour"
    ] == 0


def test_more_neighbours_than_the_first_guess():
    rng = np.random.default_rng(0)
    atoms = hs_deepatoms.positions(*rng.uniform(0, 20, (2, 60)))
    found = atoms.deepatoms.neighbours(cutoff=8)
    y, x = atoms["y"].values, atoms["x"].values
    expected = (np.hypot(y[:, None] - y, x[:, None] - x) <= 8).sum(1) - 1
    np.testing.assert_array_equal(np.isfinite(found["distance"]).sum("neighbour"), expected)


def test_named_error():
    with pytest.raises(InvalidArgumentError, match="k=0"):
        perovskite().deepatoms.neighbours(k=0)
