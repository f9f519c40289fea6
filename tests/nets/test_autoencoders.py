"""Encoders and decoders have the shapes that they say, for patches and for spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.nets.autoencoders import DECODERS, ENCODERS, make_decoder, make_encoder
from hs_deepatoms.nets.blocks import SeededNoise

SHAPES = [(13, 22), (1, 37)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders(kind, shape):
    net = make_encoder(kind, 2, shape, 3)
    assert net(torch.zeros(5, 2, *shape), torch.zeros(5, 3)).shape == (5, net.width)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", DECODERS)
def test_decoders(kind, shape):
    assert make_decoder(kind, 4, 2, shape)(torch.zeros(5, 4)).shape == (5, 2, *shape)


def test_unknown_names():
    with pytest.raises(InvalidArgumentError, match="dense"):
        make_encoder("resnet", 1, (9, 9), 0)
    with pytest.raises(InvalidArgumentError, match="spatial"):
        make_decoder("resnet", 1, 1, (9, 9))


def test_noise_is_a_function_of_its_seed():
    noise = SeededNoise()
    like = torch.zeros(4, 3)
    noise.seed = 7
    one, same = noise(like), noise(like)
    noise.seed = 8
    np.testing.assert_array_equal(one, same)
    assert (noise(like) != one).any()
