"""The search meets the pose from anywhere; Gauss-Newton ends at the maximum and knows how sharp it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hs_deepatoms.latent.poses import (
    at_grid,
    grid_of_size,
    make_frame,
    motif_grid,
    pixel_grid,
    render,
    sample,
    to_motif,
)
from hs_deepatoms.latent.refine import Prior, pose_basis, pose_mixing, posterior_cost, refine, slopes
from hs_deepatoms.latent.search import Lattice, nodes, search
from hs_deepatoms.latent.smoothing import smooth, widths
from hs_deepatoms.latent.templates import class_averages, search_all
from tests.latent.planted import MOTIFS, SHAPE, angle_errors, planted

FRAME = make_frame(SHAPE, ("rotation", "shift"))
LATTICE = Lattice(True, (1.5, 1.5))


def true_motifs(frame=FRAME):
    v, u = grid_of_size(frame)
    made = []
    for motif in MOTIFS:
        y, x, height = (torch.tensor(one, dtype=torch.float32)[:, None, None] for one in motif)
        made.append((height * torch.exp(-((v - y) ** 2 + (u - x) ** 2) / 2 / 1.6**2)).sum(0)[None])
    return torch.stack(made)


def test_search_and_refinement_find_every_pose():
    patches, kinds, poses = planted(120, noise=0.1)
    patches = torch.tensor(patches)[:, None]
    which, pose, _ = search(patches, true_motifs(), FRAME, LATTICE)
    assert (which.numpy() == kinds).mean() > 0.97
    errors = np.abs(np.angle(np.exp(1j * (pose[:, 0].numpy() - poses[:, 0]))))
    assert np.degrees(np.max(errors[which.numpy() == kinds])) < 20
    prior = Prior((0.0, 1.0, 1.0, None))
    found = refine(patches, pose, true_motifs()[which], FRAME, prior, variance=0.01, steps=5)
    right = which.numpy() == kinds
    pulls = np.angle(np.exp(1j * (found.pose[:, 0].numpy() - poses[:, 0]))) / found.covariance[:, 0, 0].sqrt().numpy()
    assert 0.7 < np.std(pulls[right]) < 1.5  # the uncertainty is that of the errors
    shifts = (found.pose[:, 1:3].numpy() - poses[:, 1:3])[right]
    assert np.abs(shifts).max() < 0.4


def test_columns_are_the_derivatives():
    frame = make_frame(SHAPE, ("rotation", "shift", "scale"), oversampling=3.0)
    motif = true_motifs(frame)[:1]
    pose = torch.tensor([[0.7, 0.4, -0.8, 0.1]])
    grid = motif_grid(pose, frame)
    views = at_grid(torch.cat(slopes(motif, frame.step), 1), grid).unflatten(1, (2, 1))
    basis = torch.stack(pose_basis(views, grid, frame, [0, 1, 2, 3]), 1)
    columns = torch.einsum("nfb,nbchw->nfchw", pose_mixing(pose, [0, 1, 2, 3]), basis)[0, :, 0]
    for k in range(4):
        step = torch.zeros(1, 4)
        step[0, k] = (0.06, 0.5, 0.5, 0.06)[k]
        numeric = (render(motif, pose + step, frame) - render(motif, pose - step, frame))[0, 0] / (2 * step[0, k])
        assert (numeric - columns[k]).abs().max() < 0.1 * numeric.abs().max()


def test_grids_are_the_maps_of_coordinates():
    frame = make_frame((9, 14), ("rotation", "shift", "scale"), oversampling=1.5)
    pose = torch.tensor([[0.7, 0.4, -0.8, 0.1], [-2.0, 0.0, 1.0, -0.2]])
    motif = torch.rand(2, 3, *frame.size, generator=torch.Generator().manual_seed(0))
    expected = sample(motif, *to_motif(*pixel_grid(frame.shape), pose), frame.step)
    np.testing.assert_allclose(render(motif, pose, frame), expected, atol=1e-5)


def test_refinement_stops_where_nothing_changes():
    patches = planted(60, noise=0.1)[0]
    patches, motifs = torch.tensor(patches)[:, None], true_motifs()
    which, pose, _ = search(patches, motifs, FRAME, LATTICE)
    prior = Prior((0.0, 1.0, 1.0, None))
    calls = []

    def decode(z, rows):
        calls.append(len(rows))
        return motifs[which[rows]] * (1 + 0 * z[:, :1, None, None])

    found = refine(patches, pose, decode, FRAME, prior, variance=0.01, z=torch.zeros(60, 1), steps=9)
    again = refine(patches, found.pose, decode, FRAME, prior, variance=0.01, z=found.z, steps=3)
    assert (again.pose - found.pose).abs().max() < 0.05 and calls[-1] < 60 == calls[0]


def test_class_averages_agree_in_orientation():
    patches, kinds, poses = planted(400, noise=0.2)
    patches = torch.tensor(patches)[:, None]
    motifs = class_averages(patches, FRAME, LATTICE, 8, torch.Generator().manual_seed(0))
    which, pose, _ = search_all(patches, motifs, FRAME, LATTICE)
    purity = sum(np.bincount(kinds[which.numpy() == k], minlength=2).max() for k in range(len(motifs))) / len(kinds)
    assert purity > 0.98
    assert np.degrees(np.median(angle_errors(pose[:, 0].numpy(), poses[:, 0], kinds))) < 6


def test_shift_and_scale_without_rotation():
    frame = make_frame(SHAPE, ("shift", "scale"))
    lattice = Lattice(False, (3.0, 2.0), np.log(1.2))
    assert (nodes(lattice).abs().amax(0) <= torch.tensor([0, 3.0, 2.0, np.log(1.2)]) + 1e-6).all()
    pose = torch.tensor([[0.0, 2.6, -1.5, 0.15], [0.0, -1.0, 0.2, -0.1]])
    patches = render(true_motifs(frame)[[0, 0]], pose, frame)
    which, found, _ = search(patches, true_motifs(frame), frame, lattice)
    better = refine(
        patches, found, true_motifs(frame)[which], frame, Prior((None, 0.1, 0.1, 1.0)), variance=1e-4, steps=8
    )
    np.testing.assert_array_equal(which, [0, 0])
    np.testing.assert_allclose(better.pose, pose, atol=0.05)


@pytest.mark.parametrize("shape", [(20, 27), (1, 60)])
def test_smooth_keeps_constants_and_sums_to_one(shape):
    images = torch.full((2, 3, *shape), 4.0)
    np.testing.assert_allclose(smooth(images, 1.3), images, atol=1e-5)
    point = torch.zeros(1, 1, *shape)
    point[0, 0, shape[0] // 2, shape[1] // 2] = 1
    assert float(smooth(point, 1.3).sum()) == pytest.approx(1, abs=1e-4)
    assert smooth(point, 0.0) is point


def test_widths_follow_the_noise():
    found = [widths(torch.tensor(planted(200, noise)[0])[:, None]) for noise in (0.02, 0.3)]
    assert found[0][0] < found[1][0] and all(encoder >= decoder for encoder, decoder in found)


def test_cost_without_derivatives_is_that_of_the_refinement():
    patches, kinds, poses = planted(20, noise=0.1)
    patches, z = torch.tensor(patches)[:, None], torch.rand(20, 1, generator=torch.Generator().manual_seed(0))
    pose, prior = torch.tensor(poses, dtype=torch.float32), Prior((0.0, 1.0, 2.0, None))
    motifs = true_motifs()[kinds]
    found = refine(patches, pose, lambda z, rows: motifs[rows] * z[:, :, None, None], FRAME, prior, variance=0.01, z=z,
                   steps=0)  # fmt: skip
    cost = posterior_cost(patches, pose, motifs * z[:, :, None, None], FRAME, prior, variance=0.01, z=z)
    np.testing.assert_allclose(cost, found.cost, rtol=1e-4)
