"""Both kinds of a step's bookkeeping on the same columns, and what they are to say."""

import numpy as np
import pytest
import torch

from hs_deepatoms.atoms import strides, tensors
from hs_deepatoms.atoms.compiled import calls

KINDS = pytest.mark.parametrize("kind", [calls, tensors], ids=["loops", "tensors"])
SHAPES = pytest.mark.parametrize("k", [4, 6], ids=["round", "elliptical"])
SHAPE, SIGMA = (41, 57), 2.2


def tensor(values):
    return torch.as_tensor(values, dtype=torch.float64)


def columns(n=83, k=4, seed=0):
    """Table, first places, reach, beyond, placed, blocks; some columns stand outside of the image."""
    rng = np.random.default_rng(seed)
    table = rng.uniform([-3, -3, 0.2, 0.5, -0.3, -0.3], [44, 60, 1.5, 1.1, 0.3, 0.3], (n, 6))
    table[:, 4:] *= k > 4
    first = table + np.r_[[[0.3, 0.3, 0, 0, 0, 0]]] * rng.standard_normal((n, 6))
    beyond = (table[:, 0] < 0) | (table[:, 1] < 0) | (table[:, 0] > 40) | (table[:, 1] > 56)
    root = rng.standard_normal((n, k, k)) + 3 * np.eye(k)
    own = root @ root.swapaxes(1, 2)
    placed = torch.from_numpy(~beyond | (rng.random(n) < 0.5))
    return (tensor(table), tensor(first), tensor(rng.uniform(0.2, 1.2, n)), torch.from_numpy(beyond), placed), own


@SHAPES
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_both_kinds_stride_alike(k, small, before):
    given, own = columns(k=k)
    rng = np.random.default_rng(1)
    da, last = (tensor(rng.standard_normal((83, k)) * size) for size in (0.3, 0.8))
    da[7, 1], da[11, 2] = torch.nan, torch.inf
    rest = tensor(own), da, last if before else None, small, SHAPE, SIGMA
    one, two = (kind.stride(*given, *rest) for kind in (calls, tensors))
    for a, b in zip(one, two, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert one[0][7].isnan().any()  # what is no number is not to be hidden
    assert one[0].isnan().any(1).sum() == 1


@KINDS
def test_a_stride_keeps_its_bounds(kind):
    given, own = columns(k=6)
    table, first, reach, beyond, placed = given
    far = tensor(np.random.default_rng(2).standard_normal((83, 6)) * 50)
    new = kind.stride(*given, tensor(own), far, None, False, SHAPE, SIGMA)[0]
    assert (torch.hypot(*(new - first)[:, :2].T) <= reach * (1 + 1e-9)).all()
    assert ((new[:, 3] - np.log(SIGMA)).abs() <= strides.WIDEST + 1e-12).all()
    assert ((new[:, 3] - table[:, 3]).abs() <= 0.25 + 1e-12).all()
    assert (torch.hypot(new[:, 4], new[:, 5]) <= strides.LONGEST_SHAPE + 1e-12).all()
    assert (new[placed & ~beyond, 2] >= 0.2 * table[placed & ~beyond, 2] - 1e-12).all()


@KINDS
def test_a_small_step_is_taken_whole_and_settles(kind):
    given, own = columns()
    table, _, _, _, placed = given
    given = table, table, *given[2:3], torch.zeros_like(placed), torch.ones_like(placed)
    da = tensor(np.random.default_rng(3).uniform(-1, 1, (83, 4)) * 1e-4)
    new, taken, settled, share = kind.stride(*given, tensor(own), da, None, False, SHAPE, SIGMA)
    torch.testing.assert_close(new[:, :4] - table[:, :4], da, rtol=0, atol=1e-12)
    scale = np.sqrt(np.diagonal(own, axis1=1, axis2=2))
    torch.testing.assert_close(taken, da * tensor(scale))
    assert settled.all()
    assert (share == strides.SHRINKING).all()


@KINDS
def test_a_column_that_swings_goes_half_way(kind):
    given, own = columns()
    last = tensor(np.random.default_rng(4).standard_normal((83, 4)))
    scale = tensor(np.sqrt(np.diagonal(own, axis1=1, axis2=2)))
    for back, small, factor in ((-1.0, False, 0.5), (-0.3, False, 1.0), (-0.3, True, 1 / 1.3), (0.9, True, 1.0)):
        taken = kind.stride(*given, tensor(own), back * last / scale, last, small, SHAPE, SIGMA)[1]
        torch.testing.assert_close(taken, factor * back * last)


@KINDS
@SHAPES
def test_pulls_are_slopes_of_what_they_cost(kind, k):
    (table, first, *_), _ = columns(k=k)
    rng = np.random.default_rng(5)
    leeway, held = tensor(rng.uniform(0.5, 1.5, 83)), tensor(rng.uniform(0, 2, 83))
    typical = (0.8, 0.1, -0.05)[: k - 3]
    precision, gradient, cost = kind.pulled(table, first, leeway, held, typical)
    assert precision.shape == gradient.shape == (83, k)
    for p in range(k):
        moved = [table.clone(), table.clone()]
        moved[0][17, p] += 1e-3
        moved[1][17, p] -= 1e-3
        up, down = (kind.pulled(t, first, leeway, held, typical)[2] for t in moved)
        assert -(up - down) / 4e-3 == pytest.approx(float(gradient[17, p]), rel=1e-6, abs=1e-6)
        assert (up + down - 2 * cost) / 2e-6 == pytest.approx(float(precision[17, p]), rel=1e-3, abs=1e-3)


@SHAPES
def test_both_kinds_hold_free_and_raise_alike(k):
    (table, first, reach, beyond, placed), own = columns(k=k)
    rng = np.random.default_rng(6)
    precision, gradient = tensor(rng.uniform(0, 2, (83, k))), tensor(rng.standard_normal((83, k)))
    reach[::3] = torch.hypot(*(table - first)[::3, :2].T)  # at the end of their way
    found = []
    for kind in (calls, tensors):
        held = tensor(own).clone()
        kind.hold(held, precision)
        found.append(
            (
                held,
                kind.raised(held, tensor(4.0 * np.arange(k)), 0.03),
                kind.changes(first, table),
                *(kind.in_equations(table, first, reach, ~beyond, placed, g, k) for g in (None, gradient)),
            )
        )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    *_, free, without = found[0]
    outward = ((table - first)[:, :2] * gradient[:, :2]).sum(1) > 0
    away = torch.hypot(*(table - first)[:, :2].T) > (1 - 1e-6) * reach
    stopped = free[:, 0] != without[:, 0]
    assert torch.equal(stopped, placed & outward & away)
    assert stopped.sum() > 5
    assert (without[:, 2] == 1).all()


@KINDS
def test_no_columns_at_all(kind):
    given, own = columns(n=0)
    none = torch.zeros(0, dtype=torch.float64)
    assert kind.stride(*given, tensor(own), tensor(np.zeros((0, 4))), None, True, SHAPE, SIGMA)[0].shape == (0, 6)
    assert kind.pulled(*given[:2], none, none, (0.8,))[2] == 0
    kind.hold(tensor(own), tensor(np.zeros((0, 4))))


@KINDS
def test_changes_are_relative_to_the_size(kind):
    old = tensor([[10, 10, 2.0, np.log(2.0), 0, 0]]).repeat(4, 1)
    new = old.clone()
    new[0, 0] += 0.5
    new[1, 2] = 4.0
    new[2, 3] += 0.1
    new[3, 1] = torch.nan
    torch.testing.assert_close(kind.changes(old, new), tensor([0.25, 0.5, 0.1, 1.0]))
