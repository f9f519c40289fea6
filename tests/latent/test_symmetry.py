"""Axes of planted motifs."""

from __future__ import annotations

import math

import pytest
import torch

from hs_deepatoms.latent.poses import make_frame, pixel_grid
from hs_deepatoms.latent.symmetry import symmetry


def motif(fold, size, extra=0.0):
    y, x = pixel_grid(size)
    image = torch.exp(-(y**2 + x**2) / 6)
    for k in range(fold):
        turn = 2 * math.pi * k / fold + 0.4
        height = 1 + (extra if k == 0 else 0)
        image = image + height * torch.exp(-((y - 8 * math.sin(turn)) ** 2 + (x - 8 * math.cos(turn)) ** 2) / 6)
    return image[None, None]


@pytest.mark.parametrize("fold", [0, 1, 2, 3, 4, 6])
def test_folds(fold):
    frame = make_frame((28, 30), ("rotation",))
    noise = 0.01 * torch.randn(1, 1, *frame.size, generator=torch.Generator().manual_seed(0))
    assert symmetry(motif(fold, frame.size) + noise, frame).tolist() == [fold]
    if fold > 1:
        uneven = motif(fold, frame.size, 0.8) + noise
        assert symmetry(uneven, frame).tolist() == [1]
        assert symmetry(uneven, frame, 0.1).tolist() == [1]
        assert symmetry(uneven, frame, 10.0).tolist() == [0]  # in this noise nothing turns
        assert symmetry(motif(fold, frame.size, 0.2) + noise, frame, 0.3).tolist() == [fold]
