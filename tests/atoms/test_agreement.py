"""Members' atoms beside the ensemble's."""

import numpy as np

from hs_deepatoms.atoms.agreement import agreement, variance_parts
from hs_deepatoms.atoms.locate import Located


def located(y, x, kind=None):
    y, x = np.array(y, float), np.array(x, float)
    return Located(y, x, np.ones(len(y)), np.zeros(len(y), int) if kind is None else np.array(kind))


def test_any_number_of_members_and_no_atom_is_lost():
    found = located([5, 20, 40], [5, 20, 40])
    for n in (1, 2, 5, 12):
        members = [located([5 + 0.1 * (-1) ** k, 40], [5, 40]) for k in range(n)]
        said = agreement(found, members, 3)
        assert said["agreement"].tolist() == [1, 0, 1]
        if n == 12:
            assert np.isclose(said["y_spread_px"][0], 0.1 * np.sqrt(12 / 11)) and said["x_spread_px"][0] == 0
    assert np.isnan(said["y_spread_px"][1])
    assert agreement(located([], []), members, 3)["agreement"].shape == (0,)
    assert agreement(found, [located([], [])], 3)["agreement"].tolist() == [0, 0, 0]


def test_each_member_atom_counts_once_and_for_its_class():
    found = located([10, 13], [10, 10], [0, 1])
    said = agreement(found, [located([11], [10], [0])], 5)
    assert said["agreement"].tolist() == [1, 0]
    close = located([10, 13], [10, 10])
    assert agreement(close, [located([11], [10])], 5)["agreement"].tolist() == [1, 0]


def test_the_parts_of_the_variance_add_up():
    maps = np.random.default_rng(0).random((4, 3, 5))
    total, aleatoric, epistemic = variance_parts(maps)
    np.testing.assert_allclose(total, aleatoric + epistemic)
    np.testing.assert_allclose(aleatoric, (maps * (1 - maps)).mean(0))
