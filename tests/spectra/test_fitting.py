"""Widths of predictions from what was held out, and numbers of which the input says nothing."""

from __future__ import annotations

import numpy as np
import torch

from hs_deepatoms.simulate.spectrum_images import smooth_field
from hs_deepatoms.spectra.blocks import TEST, block_splits
from hs_deepatoms.spectra.fitting import Options, Pairing, fit_pairing
from hs_deepatoms.spectra.targets import Targets
from hs_deepatoms.training.recipe import Recipe


def test_what_the_input_does_not_tell_is_its_mean_and_spread():
    """Two targets: one follows from the image, the other is a smooth map of its own (a thickness)."""
    shape, window = (48, 60), 3
    rng = np.random.default_rng(0)
    image = np.pad(rng.normal(size=shape), 1, mode="edge")[None].astype(np.float32)
    targets = np.stack([np.tanh(image[0, 1:-1, 1:-1]), 5 + 0.3 * smooth_field(shape, 3, rng)]).astype(np.float32)
    pairing = Pairing(image, [Targets(targets, np.full_like(targets, 1e-4), np.array([0.8, 0.2]))], window, 1)
    splits = block_splits(np.ones(shape, bool), window, 3, 0)
    done = fit_pairing(pairing, splits, Recipe(steps=50, learning_rate=8e-3), Options(latent_dim=2, width=8,
                       batch_size=2, show_progressbar=False))  # fmt: skip
    assert done.model.told.tolist() == [1, 0]
    test = np.any([split.of(TEST) for split in splits], axis=0)
    error, width = (targets - done.held_out[:2])[:, test], done.held_out[2:4, test]
    assert len(np.unique(done.held_out[1])) == 3 and abs(width[1].mean() - 0.3) < 0.06  # of each fold its own mean
    for own, wide in zip(error, width, strict=True):
        assert 0.6 < (np.abs(own) < np.sqrt(wide**2 + 1e-4)).mean() < 0.76
    with torch.inference_mode():
        out = done.model(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(out[1], targets[1].mean(), rtol=1e-3)
    assert np.allclose(out[3], out[3].flat[0]) and abs(out[3].mean() - 0.3) < 0.06
    assert np.corrcoef(out[0].ravel(), targets[0].ravel())[0, 1] > 0.8
