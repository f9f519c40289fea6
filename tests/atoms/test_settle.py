"""Strengths settled with those around: what that must gain, and what it must leave alone."""

import json

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.atoms.settle import classify_settled, settled
from hs_deepatoms.atoms.species import classify
from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.simulate.kinds import Recipe, simulate_kinds
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal


def noisy(recipe, noise, seed=0):
    """y, x, strengths with an error each, kinds."""
    rng = np.random.default_rng(seed)
    table = simulate_kinds(rng, recipe)
    table = table.keep(np.lexsort((table.x, table.y)))  # as tables are ordered
    return table.y, table.x, table.height * np.exp(noise * rng.standard_normal(len(table.y))), table.kind


def prototype(name):
    cell, basis = PROTOTYPES[name]
    return Crystal(np.array(cell), np.array(basis, float), np.ones(len(basis)), name).scaled()


TWO, ONE = prototype("perovskite_001"), prototype("hexagonal")


def test_sublattices_that_overlap_are_told_apart_by_their_neighbours():
    for seed in range(3):
        y, x, strength, kind = noisy(Recipe((1.0, 0.75), crystal=TWO), 0.16, seed)
        alone = classify(y, x, strength, n=2)
        together, asked = classify_settled(y, x, strength, n=2)
        assert asked and (together.label == kind).mean() > 0.93
        assert (alone.label != kind).mean() > 2.5 * (together.label != kind).mean()
        assert classify_settled(y, x, strength)[0].number == 2


def test_sure_classes_and_few_columns_ask_nobody():
    y, x, strength, _ = noisy(Recipe((1.0, 0.5), crystal=TWO), 0.03)
    assert not classify_settled(y, x, strength)[1] and not classify_settled(y, x, strength, context=False)[1]
    assert classify_settled(y, x, strength, context=True)[1]
    assert not classify_settled(y[:20], x[:20], strength[:20], context=True)[1]


@pytest.mark.parametrize("thickness", [1.0, 2.5])
def test_one_kind_stays_one(thickness):
    for seed in range(3):
        y, x, strength, _ = noisy(Recipe((1.0,), crystal=ONE, thickness=thickness), 0.12, seed)
        assert classify_settled(y, x, strength)[0].number == 1


@pytest.mark.parametrize("recipe", [Recipe((1.0, 0.67), "alloy", crystal=ONE), Recipe((1.0, 0.5), "scattered")])
def test_where_places_say_nothing_the_strengths_stay_alone(recipe):
    y, x, strength, _ = noisy(recipe, 0.15)
    assert settled(y, x, strength)[1] < 0.7 and not classify_settled(y, x, strength, n=2)[1]


def test_the_turned_mirrored_scaled_and_brighter_image_has_the_same_classes():
    y, x, strength, _ = noisy(Recipe((1.0, 0.7), crystal=TWO), 0.16)
    turn = np.array([[np.cos(1.1), -np.sin(1.1)], [np.sin(1.1), np.cos(1.1)]])
    v, u = turn @ np.array([y, -x]) * 0.013
    one = settled(y, x, strength)[0]
    assert np.median(np.abs(settled(v, u, strength * 7)[0] - np.log(7) - one)) < 0.02
    np.testing.assert_allclose(settled(y, x, -strength)[0], one)  # dark columns


def test_who_is_not_trusted_says_nothing():
    y, x, strength, _ = noisy(Recipe((1.0, 0.7), crystal=TWO), 0.1)
    trusted = np.arange(len(y)) % 9 > 0
    wrong = np.where(trusted, strength, 30 * strength)
    wrong[4] = np.nan
    out, _ = settled(y, x, wrong, trusted=trusted)
    bad = ~trusted & np.isfinite(wrong)
    np.testing.assert_allclose(out[bad], np.log(wrong[bad]))
    assert np.isnan(out[4]) and out[trusted & np.isfinite(out)].max() < np.log(3)


def test_the_table_says_whether_the_head_was_asked():
    y, x, strength, kind = noisy(Recipe((1.0, 0.75), crystal=TWO), 0.16)
    atoms = hs_deepatoms.positions(y, x, columns={"intensity": strength})
    made = atoms.deepatoms.classify(2)
    assert (made["species"].values == kind).mean() > 0.97
    said = [json.loads(atoms.deepatoms.classify(2, **o).attrs["provenance"])[-1]["parameters"]["model"]
            for o in ({}, {"context": False}, {"method": "kmeans"}, {"method": "kmeans", "context": True})]  # fmt: skip
    assert said[0]["name"] == "kinds" and len(said[0]["sha256"]) == 64 and said == [said[0], None, None, said[0]]
    with pytest.raises(InvalidArgumentError, match=r"context='no'.*Allowed"):
        atoms.deepatoms.classify(context="no")


def test_a_column_that_is_plainly_of_the_other_kind_stays_so():
    """An odd column on a site of the others, as a dopant: the surroundings took most for what is usual there."""
    right, wrong = [], []
    for seed in range(3):
        y, x, strength, kind = noisy(Recipe((1.0, 0.66), crystal=TWO), 0.0, seed)
        rng = np.random.default_rng(seed)
        odd = rng.random(len(y)) < 0.06
        kind = np.where(odd, 1 - kind, kind)
        strength = np.where(odd, np.where(kind == 0, strength / 0.66, strength * 0.66), strength)
        found, asked = classify_settled(y, x, strength * np.exp(0.1 * rng.standard_normal(len(y))), n=2, context=True)
        assert asked and (found.label == kind)[~odd].mean() > 0.97
        right += list((found.label == kind)[odd])
        wrong += list(found.of_own[found.label != kind])
    assert np.mean(right) > 0.6
    assert not wrong or np.median(wrong) < 0.95


@pytest.mark.parametrize("apart", [0.0, 1e-6, 1e-3])
def test_columns_that_are_there_twice(apart):
    """A distance of nothing as a scale asked for petabytes."""
    y, x, strength, _ = noisy(Recipe((1.0, 0.7), crystal=TWO), 0.1)
    twice = np.r_[y, y + apart], np.r_[x, x], np.r_[strength, strength]
    found, asked = classify_settled(*twice, n=2, context=True)
    assert asked and found.number == 2
    assert np.isfinite(settled(*twice)[0]).all()


def test_a_column_far_away_costs_nothing():
    y, x, strength, _ = noisy(Recipe((1.0, 0.7), crystal=TWO), 0.16)
    near = settled(y, x, strength)[0]
    far = settled(np.r_[y, 1e7], np.r_[x, -1e7], np.r_[strength, strength[0]])[0]
    assert np.corrcoef(near, far[:-1])[0, 1] > 0.95


def test_frames_know_nothing_of_each_other():
    one, two = (noisy(Recipe((1.0, 0.7), crystal=TWO), 0.16, seed)[:3] for seed in (0, 1))
    both = [np.concatenate(pair) for pair in zip(one, two, strict=True)]
    frame = np.repeat([3, 7], [len(one[0]), len(two[0])])
    mixed = np.random.default_rng(0).permutation(len(frame))
    out, _ = settled(*(v[mixed] for v in both), frame[mixed])
    back = np.empty(len(frame))
    back[mixed] = out
    for part, given in ((back[frame == 3], one), (back[frame == 7], two)):
        np.testing.assert_allclose(part, settled(*given)[0], atol=2e-3)
