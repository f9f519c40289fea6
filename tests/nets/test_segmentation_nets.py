"""UNet, DilNet, ResHedNet and SegResNet: sizes, reach, seeds and what they refuse."""

import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.nets.blocks import ChannelDropout, fold_batch_norm
from hs_deepatoms.nets.catalogue import NETS, make_net, net_class
from hs_deepatoms.nets.upsampling import Upsampling

SMALL = {"filters": 4}


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
def test_any_size_and_any_channels(name, norm, upsampling):
    net = make_net(name, channels_in=2, channels_out=3, norm=norm, upsampling=upsampling, dropout=0.2, **SMALL)
    out = net(image(2, 2, 21, 34))
    assert out.shape == (2, 3, 21, 34) and torch.isfinite(out).all()
    out.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_beyond_the_halo_matters(name, depth):
    net = make_net(name, depth=depth, **SMALL, **({"dilations": (2, 3)} if name == "dilnet" else {})).eval()
    side = 2 * net.halo + 3 * net.multiple
    x = image(1, 1, side, 8 * net.multiple).requires_grad_()
    for row in range(net.halo, net.halo + net.multiple):
        (seen,) = torch.autograd.grad(net(x)[0, 0, row].sum(), x)
        rows = torch.nonzero(seen[0, 0].abs().sum(1))[:, 0]
        assert rows.min() >= row - net.halo and rows.max() <= row + net.halo
    assert net.halo <= 6 * (rows.max() - rows.min())


@pytest.mark.parametrize("name", NETS)
def test_a_tile_gives_what_the_whole_image_gives(name):
    net = make_net(name, **SMALL).eval()
    x = image(1, 1, 3 * net.halo + 5, 40)
    start = net.multiple
    whole, tile = net(x), net(x[:, :, start:])
    torch.testing.assert_close(tile[:, :, net.halo :], whole[:, :, start + net.halo :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_weights_depend_on_the_seed_alone(name):
    state = torch.get_rng_state()
    nets = [make_net(name, seed=seed, **SMALL) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    one, same, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(one, same) and not torch.equal(one, other)
    with torch.no_grad():  # outputs neither vanish nor explode
        assert 0.05 < nets[0](image(2, 1, 64, 64)).std() < 20


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_folded_batch_norms_change_nothing(upsampling):
    net = make_net("unet", upsampling=upsampling, **SMALL)
    for k in range(3):  # running statistics move away from their start
        net(image(4, 1, 32, 40, seed=k))
    x = image(1, 1, 32, 40)
    before = net.eval()(x)
    after = fold_batch_norm(net.requires_grad_(False))(x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())


def test_dropout_follows_its_own_seed():
    layer, x = ChannelDropout(0.25), torch.ones(64, 100, 2, 2)
    state = torch.get_rng_state()
    one = layer(x)
    assert torch.equal(one, layer(x)) and torch.equal(torch.get_rng_state(), state)
    layer.seed = 1
    assert not torch.equal(one, layer(x))
    assert float((one == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(one.mean()) == pytest.approx(1.0, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_channels_may_be_halved_before_the_upsampling(upsampling):
    net = make_net("unet", upsampling=upsampling, **SMALL).eval()
    x = image(2, net.narrow[0].in_channels, 6, 7)
    torch.testing.assert_close(net.grow[0](net.narrow[0](x)), net.narrow[0](net.grow[0](x)), rtol=1e-4, atol=1e-5)
    assert net.up[0][0].in_channels == 2 * net.up[0][0].out_channels


def test_number_of_parameters_of_the_default_unet():
    n = sum(p.numel() for p in make_net("unet").parameters())
    assert 3e5 < n < 8e5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"norm": "layer"}, "norm='layer'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"filters": 0}, "filters=0"),
        ({"upsampling": "cubic"}, "upsampling='cubic'"),
        ({"layers": (1, 2)}, "layers"),
        ({"upsampling_mode": "nearest"}, "upsampling_mode"),
    ],
)
def test_what_cannot_be_built_is_named(config, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make_net("unet", **config)


def test_names_and_channels():
    assert net_class("U-Net").__name__ == "UNet" and net_class("DilNet").__name__ == "DilNet"
    with pytest.raises(InvalidArgumentError, match="segresnet"):
        net_class("vgg")
    with pytest.raises(InvalidArgumentError, match=r"\(n, 1, h, w\)"):
        make_net("unet", **SMALL)(torch.zeros(1, 3, 16, 16))
    assert make_net("unet", **SMALL).eval()(torch.zeros(1, 1, 5, 3)).shape == (1, 1, 5, 3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_behind_a_cat_is_laid_out_as_what_was_enlarged(layout):
    x = image(2, 4, 5, 7).contiguous(memory_format=layout).requires_grad_()
    other = image(2, 3, 10, 14, seed=1).contiguous(memory_format=layout)
    weight = image(2, 7, 10, 14, seed=2).contiguous(memory_format=layout)
    seen = []
    out = Upsampling(4)(x)
    out.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=layout)))
    plain = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    found, wanted = (torch.autograd.grad((torch.cat([other, y], 1) * weight).sum(), x)[0] for y in (out, plain))
    assert seen == [True]
    torch.testing.assert_close(found, wanted)
