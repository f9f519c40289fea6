"""Poses go there and back, and turn what they say."""

from __future__ import annotations

import numpy as np
import torch

from hs_deepatoms.latent.poses import (
    disc,
    grid_of_size,
    make_frame,
    pixel_grid,
    render,
    sample,
    straighten,
    to_motif,
    to_patch,
)
from tests.latent.planted import MOTIFS, SHAPE, motif_picture

POSES = torch.tensor([[0.0, 0.0, 0.0, 0.0], [2.5, 1.2, -0.7, 0.1], [-1.0, -1.4, 0.3, -0.2]])


def test_there_and_back():
    y, x = pixel_grid(SHAPE)
    v, u = to_motif(y, x, POSES)
    back = to_patch(v, u, POSES)
    np.testing.assert_allclose(back[0], y.expand_as(back[0]), atol=1e-5)
    np.testing.assert_allclose(back[1], x.expand_as(back[1]), atol=1e-5)


def test_sample_at_the_samples_is_the_image():
    images = torch.rand(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    y, x = pixel_grid((5, 8))
    np.testing.assert_allclose(sample(images, y.expand(2, -1, -1), x.expand(2, -1, -1)), images, atol=1e-5)
    line = images[:, :, :1]
    y, x = pixel_grid((1, 8))
    np.testing.assert_allclose(sample(line, y.expand(2, -1, -1), x.expand(2, -1, -1)), line, atol=1e-5)


def test_render_turns_and_shifts_as_the_formula():
    frame = make_frame(SHAPE, ("rotation", "shift", "scale"), oversampling=2.0)
    v, u = grid_of_size(frame)
    y, x, height = (torch.tensor(one, dtype=torch.float32)[:, None, None] for one in MOTIFS[0])
    motif = (height * torch.exp(-((v - y) ** 2 + (u - x) ** 2) / 2 / 1.6**2)).sum(0)[None, None]
    found = render(motif.expand(3, -1, -1, -1), POSES, frame)[:, 0]
    expected = np.stack([motif_picture(0, pose.numpy()) for pose in POSES])
    np.testing.assert_allclose(found, expected, atol=0.03)
    inside = disc(frame) > 0.99
    back = straighten(found[:, None], POSES, frame)[:, 0]
    np.testing.assert_allclose(back[1:, inside], back[:1, inside].expand(2, -1), atol=0.08)


def test_frames():
    assert make_frame((20, 30), ()).size == (20, 30)
    assert make_frame((1, 30), ("shift",)).size == (1, 30)
    frame = make_frame((20, 30), ("rotation",))
    assert frame.size == (36, 36) and frame.round
    assert disc(frame).sum() < np.pi * 10**2 * 1.05 and disc(make_frame((20, 30), ())).min() == 1
