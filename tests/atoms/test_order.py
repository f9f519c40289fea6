"""What equivalent sites say about doubtful columns."""

import numpy as np
import pytest

from hs_deepatoms.atoms import order
from hs_deepatoms.atoms.order import LOWER, RAISE, Sites, lattice_vectors, reconsidered, regions
from hs_deepatoms.methods.images import find_model

SIGMA, SPACING = 2.0, 11.0
SHAPE = (220, 300)


@pytest.fixture
def weights():
    return find_model(None).order


def lattice(angle=0.2, probability=0.97):
    """Square lattice: y, x, probabilities."""
    i, j = np.meshgrid(np.arange(-40, 40), np.arange(-40, 40), indexing="ij")
    c, s = np.cos(angle) * SPACING, np.sin(angle) * SPACING
    y, x = (110 + c * i - s * j).ravel(), (150 + s * i + c * j).ravel()
    inside = (y > 0) & (y < SHAPE[0]) & (x > 0) & (x < SHAPE[1])
    return y[inside], x[inside], np.full(inside.sum(), probability)


def odds(p):
    return np.log(p / (1 - p))


def test_lattice_vectors_are_found_and_are_the_lattices():
    y, x, p = lattice()
    vectors = lattice_vectors(y / SIGMA, x / SIGMA, p)
    assert len(vectors) >= 8
    c, s = np.cos(0.2), np.sin(0.2)
    index = vectors @ np.array([[c, -s], [s, c]]) * SIGMA / SPACING
    assert np.abs(index - np.rint(index)).max() < 0.06


def test_without_order_nothing_changes(weights):
    rng = np.random.default_rng(0)
    y, x, p = rng.uniform(0, 220, 150), rng.uniform(0, 300, 150), rng.uniform(0.02, 0.99, 150)
    np.testing.assert_array_equal(reconsidered(y, x, p, SIGMA, SHAPE, weights), p)
    few = reconsidered(y[:4], x[:4], p[:4], SIGMA, SHAPE, weights)
    np.testing.assert_array_equal(few, p[:4])
    assert len(reconsidered(y[:0], x[:0], p[:0], SIGMA, SHAPE, weights)) == 0


def test_a_doubtful_column_on_a_site_gains_and_one_between_sites_loses(weights):
    y, x, p = lattice()
    p = 1 / (1 + np.exp(-np.random.default_rng(0).normal(2, 1.5, len(p))))  # a noisy image
    near = np.argmin(np.hypot(y - 110, x - 150))
    p[near] = 0.4
    y, x, p = np.append(y, y[near] + SPACING / 2), np.append(x, x[near] + SPACING / 2 * 0.6), np.append(p, 0.6)
    after = reconsidered(y, x, p, SIGMA, SHAPE, weights)
    assert after[near] > 0.5 and after[-1] < 0.3
    assert (after[:-1] > 0.45).mean() > (p[:-1] > 0.45).mean()


def test_plain_vacancies_and_adatoms_stay(weights):
    """The crystal may not overrule the image: the change is bounded."""
    y, x, p = lattice()
    near = np.argmin(np.hypot(y - 110, x - 150))
    p[near] = 0.02  # an empty site
    y, x, p = np.append(y, y[near] + SPACING / 2), np.append(x, x[near] + SPACING / 2), np.append(p, 0.985)  # an adatom
    after = reconsidered(y, x, p, SIGMA, SHAPE, weights)
    assert after[near] < 0.3 and after[-1] > 0.5
    change = odds(after) - odds(p)
    assert change.min() >= LOWER - 1e-6 and change.max() <= RAISE + 1e-6


def test_columns_at_the_equivalents_never_speak_against_one(weights):
    y, x, p = lattice(probability=0.99)
    near = np.argmin(np.hypot(y - 110, x - 150))
    p[near] = 0.7
    assert reconsidered(y, x, p, SIGMA, SHAPE, weights)[near] >= 0.7 - 1e-9


def test_faint_columns_that_repeat_are_believed(weights):
    """A sublattice in whose columns the detector hardly believes, and scattered candidates as probable as they are."""
    rng = np.random.default_rng(3)
    y, x, p = lattice()
    faint = np.column_stack(
        [y + SPACING / 2 * (np.cos(0.2) - np.sin(0.2)), x + SPACING / 2 * (np.sin(0.2) + np.cos(0.2))]
    )
    faint = faint[(faint > 2).all(1) & (faint < np.array(SHAPE) - 2).all(1)]
    seen = 1 / (1 + np.exp(-rng.normal(-0.5, 1, len(faint))))
    lone = np.column_stack([rng.uniform(0, SHAPE[0], 60), rng.uniform(0, SHAPE[1], 60)])
    both = np.column_stack([y, x])
    lone = lone[np.array([np.hypot(*(np.vstack([both, faint]) - q).T).min() > 4 for q in lone])]
    by, bx = np.concatenate([y, faint[:, 0], lone[:, 0]]), np.concatenate([x, faint[:, 1], lone[:, 1]])
    before = np.concatenate([p, seen, 1 / (1 + np.exp(-rng.normal(-0.5, 1, len(lone))))])
    after = reconsidered(by, bx, before, SIGMA, SHAPE, weights)
    on, off = slice(len(y), len(y) + len(faint)), slice(len(y) + len(faint), None)
    assert (after[on] > 0.45).mean() > (before[on] > 0.45).mean() + 0.15
    assert (after[off] > 0.45).mean() < (before[off] > 0.45).mean() - 0.15


def test_two_grains_have_their_own_vectors():
    y1, x1, _ = lattice(0.0)
    y2, x2, _ = lattice(0.5)
    left, right = x1 < 148, x2 > 152
    y, x = np.concatenate([y1[left], y2[right]]), np.concatenate([x1[left], x2[right]])
    p = np.full(len(y), 0.97)
    found = Sites.of(y / SIGMA, x / SIGMA, p, tuple(n / SIGMA for n in SHAPE)).evidence(p)
    inner = (np.abs(x - 150) > 40) & (y > 40) & (y < 180) & (x > 40) & (x < 260)
    assert (found.mean[inner] > 3).all() and (found.number[inner] > 3).all()


def test_regions_share_all_columns_out():
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-1, 700, 3000), rng.uniform(-1, 900, 3000)
    owners = np.zeros(3000, int)
    for inside, around in regions(u, v, (700.0, 900.0)):
        owners[around[inside]] += 1
    assert (owners == 1).all()


def test_places_the_detector_merely_suspects_are_not_raised(weights):
    """A crystal of one kind: the network half expects a second sublattice that is not there."""
    y, x, p = lattice()
    c, s = np.cos(0.2) * SPACING / 2, np.sin(0.2) * SPACING / 2
    between_y, between_x = y + c - s, x + s + c
    suspected = 1 / (1 + np.exp(-np.random.default_rng(1).normal(-2.5, 1.2, len(y))))
    before = np.concatenate([p, suspected])
    after = reconsidered(np.append(y, between_y), np.append(x, between_x), before, SIGMA, SHAPE, weights)
    new = (after[len(p) :] > 0.45) & (suspected < 0.45)
    assert new.sum() == 0
    assert (after[: len(p)] > 0.45).all()


def test_the_map_of_a_part_is_no_larger_far_from_the_origin():
    y, x, p = lattice()
    far = np.array([4000.0, 2500.0])
    maps = [Sites.of((y + a) / SIGMA, (x + b) / SIGMA, p, (3000.0, 3000.0)).shape for a, b in ((0, 0), far)]
    assert np.abs(np.subtract(*maps)).max() <= 1


def test_evidence_is_the_weighed_mean_of_what_stands_at_the_equivalents():
    y, x, p = lattice()
    rng = np.random.default_rng(3)
    y, x = y + rng.normal(0, 0.5, len(y)), x + rng.normal(0, 0.5, len(x))
    p = 1 / (1 + np.exp(-rng.normal(1.0, 2.0, len(p))))
    sites = Sites.of(y / SIGMA, x / SIGMA, p, (SHAPE[0] / SIGMA, SHAPE[1] / SIGMA))
    who, there = sites.ends(p)
    np.testing.assert_array_equal(there, np.append(p, 0).astype(np.float32)[who])
    # within the neighbours' circle of where the vector leads, or nobody at all
    row, k = np.nonzero(who < len(p))
    place = np.column_stack([y, x]) / SIGMA
    assert np.abs(place[who[row, k]] - place[row] - sites.vectors[k]).max() < 2.5

    total = sites.around((p.astype(np.float32).astype(float) ** 2)[:, None] * sites.inside)
    share = sites.around((p.astype(np.float32).astype(float) ** 2)[:, None] * sites.inside * there)
    share = (share / np.maximum(total, 1e-9))[sites.place]
    weight = np.maximum(share - 0.8 * np.maximum(share.max(1, keepdims=True), 0.5), 0) * sites.inside * (share > 0.4)
    weight *= (total > 3)[sites.place]
    assert (weight > 0).any(1).all() and 0.2 < (weight > 0).mean() < 0.9
    np.testing.assert_allclose(sites.weights(p, there), weight, atol=2e-7)

    z = odds(np.clip(np.append(p, 0.0), 0.01, 1 - 2e-3))[who]
    mean = (weight * z).sum(1) / weight.sum(1)
    found = sites.evidence(p)
    np.testing.assert_allclose(found.mean, mean, atol=1e-4)
    np.testing.assert_allclose(found.spread**2, (weight * (z - mean[:, None]) ** 2).sum(1) / weight.sum(1), atol=1e-3)
    np.testing.assert_allclose(found.number, weight.sum(1) ** 2 / (weight**2).sum(1), rtol=1e-3)


def test_cells_of_the_map_are_claimed_by_who_is_near():
    rng = np.random.default_rng(4)
    a, b, cells, distance = rng.uniform(6, 44, 60), rng.uniform(6, 61, 60), (50, 67), 3.3
    alone, (cell, candidate) = order._by_cell(a, b, cells, distance)
    i, j = np.divmod(np.arange(cells[0] * cells[1]), cells[1])
    near = (i - a[:, None]) ** 2 + (j - b[:, None]) ** 2 <= distance**2
    one = near.sum(0) == 1
    assert np.array_equal(alone[:-1][one], near.argmax(0)[one])
    assert (alone[:-1][~one] == len(a)).all()
    claims = np.argwhere(near & (near.sum(0) > 1))
    assert set(zip(candidate.tolist(), cell.tolist(), strict=True)) == set(map(tuple, claims.tolist()))
