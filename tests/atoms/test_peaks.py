from functools import partial

import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.peaks import Columns, Window, derivatives, draw, pair_blocks, precision, sums

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
        moved = Columns.of(c.stacked().clone())
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
    both = torch.stack([window.padded(rest), window.padded(weight)])
    total = sums(c, both.shape[1], partial(window.cut_out, both), window, 2.0, elliptical)
    names = NAMES if elliptical else NAMES[:4]
    for n in range(3):
        slopes = torch.stack([slope(c, n, name, window, elliptical) for name in names])
        dense = torch.einsum("aij,bij,ij->ab", slopes, slopes, weight.double())
        assert torch.allclose(total.hessian[n], dense, rtol=0.02, atol=0.02 * dense.diagonal().max().item())
        assert torch.allclose(total.gradient[n], (slopes * rest).sum((1, 2)), rtol=0.02, atol=0.05)
        assert torch.allclose(total.ground[n, :, 0], (slopes * weight).sum((1, 2)), rtol=0.02, atol=0.1)


def test_blocks_of_pairs():
    c, window = columns(2), Window.around(2.4, SHAPE)
    c.y[1], c.x[1] = c.y[0] + 3.1, c.x[0] - 4.2
    weight = torch.as_tensor(np.random.default_rng(1).uniform(0.5, 2, SHAPE), dtype=torch.float32)
    i, j = torch.tensor([0]), torch.tensor([1])
    block = pair_blocks(c, i, j, window.padded(weight), window, 2.0, True)[0]
    a, b = (torch.stack([slope(c, n, name, window, True) for name in NAMES]) for n in (0, 1))
    dense = torch.einsum("aij,bij,ij->ab", a, b, weight.double())
    assert torch.allclose(block, dense, rtol=0.03, atol=0.01 * dense.abs().max().item())


def test_nothing_to_draw():
    none, window = columns(3)[:0], Window.around(2.0, SHAPE)
    assert not image(none, window, False).any()
    weight = window.padded(torch.ones(SHAPE))
    assert sums(none, weight, weight, window, 2.0, False).hessian.shape == (0, 4, 4)
    assert derivatives(none, 2.0, True).shape == (0, 6, 6)
