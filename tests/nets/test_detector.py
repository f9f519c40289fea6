import pytest
import torch

from hs_deepatoms.nets.blocks import LocalContrast, _box_mean, fold_batch_norm
from hs_deepatoms.nets.detector import ColumnDetector
from hs_deepatoms.nets.survey import SurveyNet


@pytest.fixture
def detector(request):
    """Random weights in eval mode, every path alive, so that the reach seen is the architecture's own."""
    generator = torch.Generator().manual_seed(0)
    module = ColumnDetector(**getattr(request, "param", {})).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.02 + 0.04 * torch.rand(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("cell", [(128, 129), (130, 131)])
def test_halo_covers_the_receptive_field(detector, cell):
    image = torch.rand(1, 1, 512, 520, generator=torch.Generator().manual_seed(1)).requires_grad_()
    detector(image)[0, 0, cell[0], cell[1]].backward()
    for axis, at in enumerate(cell):
        slope = image.grad[0, 0].abs().amax(1 - axis)
        touched = torch.nonzero(slope > 1e-9 * slope.max())  # running sums leave rounding errors everywhere
        assert 2 * at - touched.min() <= ColumnDetector.halo
        assert touched.max() - (2 * at + 1) <= ColumnDetector.halo
    assert touched.max() - touched.min() > ColumnDetector.halo  # the test sees a reach at all


def test_tile_with_halo_equals_the_whole_image(detector):
    image = torch.randn(1, 1, 400, 432, generator=torch.Generator().manual_seed(2))
    halo = ColumnDetector.halo
    with torch.inference_mode():
        whole = detector(image)
        tile = detector(image[:, :, 160 - halo : 240 + halo, 184 - halo : 264 + halo])
    inner = tile[:, :, halo // 2 : -halo // 2, halo // 2 : -halo // 2]
    torch.testing.assert_close(inner, whole[:, :, 80:120, 92:132], atol=1e-5, rtol=1e-5)


def test_outputs_are_bounded_and_of_half_the_size(detector):
    with torch.inference_mode():
        out = detector(1e3 * torch.randn(2, 1, 64, 96))
    assert out.shape == (2, 6, 32, 48) and torch.isfinite(out).all()
    assert out[:, 1:3].abs().max() <= 3 and out[:, 3:5].max() <= 2


def test_local_contrast_forgets_gain_and_gradient():
    texture = torch.rand(1, 1, 80, 90, generator=torch.Generator().manual_seed(3))
    layer = LocalContrast()
    one, brighter = layer(texture)[:, 1], layer(5 * texture + 3)[:, 1]
    torch.testing.assert_close(one, brighter, atol=2e-3, rtol=0)
    assert layer(torch.ones(1, 1, 40, 40))[:, 1].abs().max() < 1e-4


def test_survey_gives_one_row_of_logits_per_crop():
    net = SurveyNet().eval()
    assert net(torch.rand(3, 1, 128, 128)).shape == (3, 35)


def test_folding_batch_norm_changes_nothing():
    torch_state = torch.Generator().manual_seed(4)
    net = ColumnDetector()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.copy_(0.5 + 0.3 * torch.rand(value.shape, generator=torch_state) if "running" in name else
                            value + 0.1 * torch.randn(value.shape, generator=torch_state))  # fmt: skip
    image = torch.randn(1, 1, 64, 72, generator=torch_state)
    with torch.inference_mode():
        before = net.eval()(image)
        after = fold_batch_norm(net)(image)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-4)


def test_running_mean_is_the_average_pool():
    image = torch.randn(2, 1, 37, 61, generator=torch.Generator().manual_seed(5)) + 3
    r = 12
    want = torch.nn.functional.avg_pool2d(image, (2 * r + 1, 1), 1, (r, 0), count_include_pad=False)
    want = torch.nn.functional.avg_pool2d(want, (1, 2 * r + 1), 1, (0, r), count_include_pad=False)
    torch.testing.assert_close(_box_mean(image, r), want, atol=1e-5, rtol=1e-5)


def test_the_last_bit_does_not_depend_on_the_number_of_threads():
    net = ColumnDetector().eval()
    torch.nn.init.normal_(net.head.weight)
    images = torch.randn(1, 1, 256, 240, generator=torch.Generator().manual_seed(0))
    usual, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                found.append(net(images))
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_what_is_no_weight_is_there_on_the_meta_device():
    """Networks are made there to be filled from a file; where that fails torch has loaded its compiler for nothing."""
    with torch.device("meta"):
        net = ColumnDetector(channels=(4, 6, 8), matched=True)
    assert not any(buffer.is_meta for name, buffer in net.named_buffers() if "matched" in name)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("detector", [{}, {"matched": True, "deep": True}], indirect=True)
def test_what_fills_an_image_up_is_not_seen(detector, folded):
    module = fold_batch_norm(detector) if folded else detector
    image = torch.rand(1, 1, 40, 56, generator=torch.Generator().manual_seed(3))
    filled = torch.nn.functional.pad(image, (0, 8, 0, 16))
    with torch.no_grad():
        alone, part, seen = module(image), module(filled, (40, 56)), module(filled)
    assert (part[:, :, :20, :28] - alone).abs().max() < 1e-5
    assert (seen[:, :, :20, :28] - alone).abs().max() > 1e-4
