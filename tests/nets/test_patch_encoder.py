import pytest
import torch

from hs_deepatoms.nets.catalogue import initialise
from hs_deepatoms.nets.patch_encoder import PatchEncoder, layer_plan


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 31, 32])
def test_layers_see_exactly_the_window(window):
    first, dilations = layer_plan(window)
    assert first + 2 * sum(dilations) == window


@pytest.mark.parametrize(("window", "step"), [(5, 1), (8, 1), (8, 3), (6, 2)])
def test_each_output_depends_on_its_window_alone(window, step):
    net = initialise(PatchEncoder(2, window, 3, width=8, step=step), 1)
    image = torch.randn(1, 2, 4 * step + window, 2 * step + window, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    out = net(image)
    assert out.shape == (1, 3, 5, 3)
    out[0, :, 2, 1].sum().backward()
    seen = image.grad[0].abs().sum(0).nonzero()
    assert seen.min(0).values.tolist() == [2 * step, step]
    assert seen.max(0).values.tolist() == [2 * step + window - 1, step + window - 1]


def test_a_tile_gives_what_the_whole_map_gives():
    net = initialise(PatchEncoder(1, 7, 4, width=8), 0)
    image = torch.randn(1, 1, 30, 26, generator=torch.Generator().manual_seed(1))
    whole = net(image)
    part = net(image[:, :, 5:20, 3:22])
    torch.testing.assert_close(part, whole[:, :, 5:14, 3:16], atol=1e-5, rtol=1e-4)
