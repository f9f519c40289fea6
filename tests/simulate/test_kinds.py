"""Tables of columns of several kinds."""

import numpy as np
import pytest

from hs_deepatoms.simulate.kinds import STRAY_KIND, Recipe, measured_kinds, random_recipe, simulate_kinds
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal

CELL, BASIS = PROTOTYPES["perovskite_001"]
TWO = Crystal(np.array(CELL), np.array(BASIS, float), np.ones(2), "two").scaled()


def test_kinds_have_the_heights_asked_for():
    table = simulate_kinds(np.random.default_rng(0), Recipe((1.0, 0.5), crystal=TWO, occupancy=0.0, empty=0.0))
    assert table.height[table.kind == 0] == pytest.approx(1.0) and table.height[table.kind == 1] == pytest.approx(0.5)
    np.testing.assert_allclose(table.level, np.log(table.height))
    assert abs((table.kind == 0).mean() - 0.5) < 0.05 and len(table.y) == pytest.approx(400, rel=0.1)


def test_thickness_multiplies_and_dopants_are_odd():
    recipe = Recipe((1.0, 0.5), crystal=TWO, thickness=3.0, dopants=0.2, occupancy=0.0)
    table = simulate_kinds(np.random.default_rng(1), recipe)
    factor = table.height / np.array(recipe.heights)[table.kind]
    assert 1.5 < factor.max() / factor.min() <= 3 + 1e-9
    assert 0.05 < abs((table.kind == 0).mean() - 0.5) < 0.15  # a fifth of the sites of one kind


@pytest.mark.parametrize("arrangement", ["alloy", "scattered"])
def test_kinds_of_no_site_have_their_share(arrangement):
    recipe = Recipe((1.0, 0.5), arrangement, crystal=TWO, share=(0.1, 0.9), side=30.0)
    table = simulate_kinds(np.random.default_rng(2), recipe)
    assert (table.kind == 0).mean() == pytest.approx(0.1, abs=0.04)


def test_what_is_measured_has_errors_and_strays():
    known = 0
    for k in range(40):
        rng = np.random.default_rng([3, k])
        table = simulate_kinds(rng, random_recipe(rng))
        found, value = measured_kinds(rng, table)
        assert np.isfinite(value).all() and len(value) == len(found.kind) and len(value) <= 1.1 * len(table.y) + 5
        known += (found.kind == STRAY_KIND).sum()
        good = found.kind != STRAY_KIND
        if good.sum() > 50:
            assert abs(np.median(value[good] - np.log(found.height[good]))) < 0.15
    assert known > 5


def test_the_same_seed_gives_the_same_table():
    one, two = (simulate_kinds(rng, random_recipe(rng)) for rng in map(np.random.default_rng, (5, 5)))
    np.testing.assert_array_equal(one.height, two.height)
