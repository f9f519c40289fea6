"""Members of an ensemble as one network."""

import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.nets.blocks import fold_batch_norm
from hs_deepatoms.nets.catalogue import make_net
from hs_deepatoms.nets.members import Members


@pytest.mark.parametrize("exclusive", [False, True])
def test_its_probability_is_the_mean_of_the_members(exclusive):
    net = Members("unet", 3, exclusive=exclusive, options={"channels_out": 3, "filters": 4, "depth": 1}).eval()
    image = torch.randn(2, 1, 20, 26, generator=torch.Generator().manual_seed(0))
    own = torch.stack([member(image) for member in net.nets])
    torch.testing.assert_close(net.each(image), own)
    if exclusive:
        torch.testing.assert_close(torch.softmax(net(image), 1), torch.softmax(own, 2).mean(0))
    else:
        torch.testing.assert_close(torch.sigmoid(net(image)), torch.sigmoid(own).mean(0))
    assert not torch.allclose(own[0], own[1]) and net.multiple == 2


@pytest.mark.parametrize("name", ["unet", "dilnet", "segresnet", "reshednet"])
def test_stacked_members_give_the_same(name, monkeypatch):
    nets = [fold_batch_norm(make_net(name, filters=4, seed=k).eval()) for k in range(3)]
    net = Members.of(nets, exclusive=False).eval()
    image = torch.randn(1, 1, 24, 30, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        own = net.each(image)
        monkeypatch.setattr(net, "_fits", lambda image: True)
        torch.testing.assert_close(net.each(image), own, atol=1e-4, rtol=1e-4)


def test_no_member_is_refused():
    with pytest.raises(InvalidArgumentError, match="no members"):
        Members("unet", 0)
