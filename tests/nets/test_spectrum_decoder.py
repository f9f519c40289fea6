import pytest
import torch

from hs_deepatoms.nets.catalogue import initialise
from hs_deepatoms.nets.spectrum_decoder import SpectrumDecoder


@pytest.mark.parametrize(("length", "outputs", "coarse"), [(64, 1, 4), (101, 2, 4), (33, 1, 1)])
def test_shape_and_gradient(length, outputs, coarse):
    net = initialise(SpectrumDecoder(3, outputs, length, width=8, coarse=coarse), 0)
    out = net(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (5, outputs, length)
    out.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
