import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.kernels import kernels
from hs_deepatoms.atoms.peaks import (
    Columns,
    Window,
    blocks,
    derivatives,
    draw,
    far_blocks,
    local_heights,
    pair_blocks,
    precision,
    slopes,
    sums,
)

SHAPE = (37, 52)
NAMES = ("y", "x", "height", "log_width", "plus", "cross")


def columns(n=3, elliptical=True):
    rng = np.random.default_rng(0)
    values = [rng.uniform(8, 28, n), rng.uniform(9, 43, n), rng.uniform(0.5, 2, n), np.log(rng.uniform(1.8, 2.4, n)),
              rng.uniform(-0.3, 0.3, n) * elliptical, rng.uniform(-0.3, 0.3, n) * elliptical]  # fmt: skip
    return Columns(*(torch.as_tensor(v) for v in values))


def image(c, window, elliptical):
    return window.cut(draw(c, window, SHAPE, elliptical)).double()


def slope(c, n, name, window, elliptical, step=1e-2):
    """Derivative image of column ``n`` by one parameter, by finite differences."""
    parts = []
    for sign in (1, -1):
        moved = Columns.of(c.table.clone())
        getattr(moved, name)[n] += sign * step
        parts.append(image(moved, window, elliptical))
    return (parts[0] - parts[1]) / (2 * step)


@pytest.mark.parametrize("elliptical", [False, True])
def test_a_column_is_a_gaussian_of_the_stated_covariance(elliptical):
    c, window = columns(1, elliptical), Window.around(2.4, SHAPE)
    q = precision(c, elliptical)[0][0].numpy()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    d = np.stack([y - c.y.item(), x - c.x.item()], -1)
    expected = c.height.item() * np.exp(-0.5 * np.einsum("...i,ij,...j", d, q, d))
    assert np.abs(image(c, window, elliptical).numpy() - expected).max() < 3e-3 * c.height.item()
    if not elliptical:
        assert q == pytest.approx(np.eye(2) / np.exp(2 * c.log_width.item()))


@pytest.mark.parametrize("elliptical", [False, True])
def test_normal_equations_are_those_of_the_derivative_images(elliptical):
    c, window = columns(3, elliptical), Window.around(2.4, SHAPE)
    rng = np.random.default_rng(1)
    weight = torch.as_tensor(rng.uniform(0.5, 2, SHAPE), dtype=torch.float32)
    rest = torch.as_tensor(rng.normal(size=SHAPE), dtype=torch.float32)
    total = sums(c, rest, weight, window, 2.0, elliptical)
    names = NAMES if elliptical else NAMES[:4]
    for n in range(3):
        by = torch.stack([slope(c, n, name, window, elliptical) for name in names])
        dense = torch.einsum("aij,bij,ij->ab", by, by, weight.double())
        assert torch.allclose(total.hessian[n], dense, rtol=0.02, atol=0.02 * dense.diagonal().max().item())
        assert torch.allclose(total.gradient[n], (by * rest).sum((1, 2)), rtol=0.02, atol=0.05)
        assert torch.allclose(total.ground[n, :, 0], (by * weight).sum((1, 2)), rtol=0.02, atol=0.1)


def test_blocks_of_pairs():
    c, window = columns(2), Window.around(2.4, SHAPE)
    c.y[1], c.x[1] = c.y[0] + 3.1, c.x[0] - 4.2
    weight = torch.as_tensor(np.random.default_rng(1).uniform(0.5, 2, SHAPE), dtype=torch.float32)
    i, j = torch.tensor([0]), torch.tensor([1])
    block = pair_blocks(c, i, j, weight, window, 2.0, True)[0]
    a, b = (torch.stack([slope(c, n, name, window, True) for name in NAMES]) for n in (0, 1))
    dense = torch.einsum("aij,bij,ij->ab", a, b, weight.double())
    assert torch.allclose(block, dense, rtol=0.03, atol=0.01 * dense.abs().max().item())


def test_blocks_of_columns_that_touch_with_their_tails():
    """The closed form is that of the derivative images, where the weight is even."""
    c, window = columns(2, False), Window.around(2.4, SHAPE)
    c.y[0], c.x[0], c.y[1], c.x[1] = 18.2, 21.4, 14.1, 31.3  # 10.7 px, 5.1 sigmas apart
    weight = torch.full(SHAPE, 0.7)
    i, j = torch.tensor([0]), torch.tensor([1])
    exact = pair_blocks(c, i, j, weight, window, 2.0, False)
    assert torch.allclose(
        far_blocks(c, i, j, weight, window, 2.0), exact, rtol=0.03, atol=0.01 * exact.abs().max().item()
    )


@pytest.mark.parametrize("place", ["peaks", "compiled"])
def test_blocks_of_tails_that_the_rim_cuts_off_are_summed(place):
    """The whole product would be more than the columns themselves show: the image has but a tenth of it."""
    c, window = columns(2, False), Window.around(2.4, SHAPE)
    c.y[0], c.x[0], c.y[1], c.x[1] = -3.4, 15.2, -2.1, 28.7
    i, j, weight = torch.tensor([0]), torch.tensor([1]), torch.full(SHAPE, 0.7)
    found = (blocks if place == "peaks" else kernels(weight).blocks)(c, i, j, weight, window, 2.0, False)[2]
    exact = pair_blocks(c, i, j, weight, window, 2.0, False)
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-6)
    far = far_blocks(c, i, j, weight, window, 2.0)
    assert far[0, 2, 2] > 3 * exact[0, 2, 2] or far[0, 2, 2] == 0  # what it would be otherwise


def test_gradients_alone_are_those_of_the_normal_equations():
    c, window = columns(3, False), Window.around(2.4, SHAPE)
    rest = torch.as_tensor(np.random.default_rng(1).normal(size=SHAPE), dtype=torch.float32)
    total = sums(c, rest, rest**2, window, 2.0, False)
    assert torch.equal(slopes(c, rest, window, 2.0, False), total.gradient)


def test_heights_one_by_one():
    """On an even background of its own each, and a column that stands half on pixels that mean nothing."""
    c, window = columns(2, False), Window.around(2.4, SHAPE)
    c.y[:], c.x[:] = torch.tensor([9.3, 25.0]), torch.tensor([12.0, 36.6])
    valid = torch.ones(SHAPE, dtype=torch.bool)
    valid[:, 37:] = False
    seen = 0.4 + torch.nan_to_num(image(c, window, False)).float()
    seen[~valid] = 99.0
    height = local_heights(c, seen, valid, window)
    assert height.numpy() == pytest.approx(c.height.numpy(), rel=0.01)


def test_nothing_to_draw():
    none, window = columns(3)[:0], Window.around(2.0, SHAPE)
    assert not image(none, window, False).any()
    weight = torch.ones(SHAPE)
    assert sums(none, weight, weight, window, 2.0, False).hessian.shape == (0, 4, 4)
    assert slopes(none, weight, window, 2.0, False).shape == (0, 4)
    assert local_heights(none, weight, weight > 0, window).shape == (0,)
    assert derivatives(none, 2.0, True).shape == (0, 6, 6)
