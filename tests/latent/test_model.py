"""The model keeps making the same pictures when its decoder takes the blur over."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hs_deepatoms.latent.model import VAE


@pytest.mark.parametrize("decoder", ["dense", "conv"])
@pytest.mark.parametrize("shape", [(9, 12), (1, 30)])
def test_absorbed_blur(decoder, shape):
    model = VAE(shape, channels=2, decoder=decoder, invariances=("shift",), max_shift=(1.0, 1.0), blur=(0.8, 1.1))
    code = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, rough = model.motif(code), model.decoder(code)
        model.absorb_blur()
        model.absorb_blur()  # once is enough
        np.testing.assert_allclose(model.motif(code), before, atol=1e-5)
    assert (before - rough).abs().max() > 1e-3
    assert model.config["blur"] == ((0.8, 0.0) if decoder == "dense" else (0.8, 1.1))
