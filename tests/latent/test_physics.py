"""Physics losses: what they see, and that their gradients are those of finite differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.latent.physics import bilateral, edge_loss, found_peaks, periodicity_loss, spectrum_loss, standardised

PEAKS = [(0.25, 0.0), (0.0, 1 / 3)]
LOSSES = [edge_loss, partial(edge_loss, operator="scharr"), partial(edge_loss, sigma=None), spectrum_loss,
          partial(periodicity_loss, peaks=PEAKS)]  # fmt: skip


def field(h=7, w=9, n=2, seed=0):
    return torch.rand(n, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(loss, masked):
    mask = torch.ones(7, 9, dtype=torch.float64)
    if masked:
        mask[2:4, 5:] = 0
    maps = field().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, mask=mask), maps, eps=1e-6, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_units_do_not_matter(loss):
    one, two = loss(field()), loss(100 * field() + 30)
    np.testing.assert_allclose(one, two, rtol=1e-3)
    assert one.shape == (2,)


@pytest.mark.parametrize("loss", [edge_loss, spectrum_loss])
def test_two_phases_are_smoother_than_noise(loss):
    phases = torch.zeros(12, 15, dtype=torch.float64)
    phases[:, 6:] = 1
    assert loss(phases) < 0.85 * loss(field(12, 15, 1))


def test_forward_differences_see_a_checkerboard():
    board = (torch.arange(10)[:, None] + torch.arange(11)) % 2.0
    ramp = torch.arange(11).expand(10, -1) * 1.0
    seen, blind = (edge_loss(board, operator=one, sigma=None) for one in ("forward", "scharr"))
    assert seen > 5 * edge_loss(ramp, sigma=None) and blind < 0.5 * seen
    with pytest.raises(InvalidArgumentError, match="forward"):
        edge_loss(board, operator="sobel")


def test_bilateral_keeps_edges():
    phases = torch.zeros(12, 15, dtype=torch.float64)
    phases[:, 6:] = 3
    noisy = phases + 0.2 * torch.randn(12, 15, generator=torch.Generator().manual_seed(1))
    found = bilateral(noisy)[0]
    assert (found - phases).abs().mean() < 0.6 * (noisy - phases).abs().mean()


def test_periodicity():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(18.0), indexing="ij")
    wave = torch.cos(2 * torch.pi * 0.25 * y) + torch.cos(2 * torch.pi * x / 3)
    assert float(periodicity_loss(wave, PEAKS)) < -0.95 < -0.3 < float(periodicity_loss(field(16, 18, 1), PEAKS))
    found = {tuple(np.round(np.abs(peak), 3)) for peak in found_peaks(wave)}
    assert found == {(0.25, 0.0), (0.0, 0.333)}
    np.testing.assert_allclose(periodicity_loss(wave), periodicity_loss(wave, PEAKS), rtol=1e-5)
    noisy = (wave + 0.3 * field(16, 18, 1)[0]).requires_grad_()
    periodicity_loss(noisy).sum().backward()
    assert noisy.grad.abs().max() > 0


def test_standardised():
    maps = standardised(field() * 5 + 2)
    np.testing.assert_allclose(maps.mean((1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(maps.square().mean((1, 2)), 1, atol=1e-4)
    assert torch.isfinite(edge_loss(torch.full((5, 6), 2.0))).all()
