"""The Gaussian over weights: moments and draws against the truth."""

import pytest
import torch
from torch import nn

from hs_deepatoms.errors import TrainingError
from hs_deepatoms.training.swag import WeightGaussian


def test_draws_have_the_covariance_of_the_path():
    generator = torch.Generator().manual_seed(0)
    line, seen = nn.Linear(3, 1, bias=False), WeightGaussian(rank=400)
    mixing = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.2]])
    path = torch.randn(400, 3, generator=generator) @ mixing + torch.tensor([1.0, -2.0, 0.5])
    for weights in path:
        line.weight.data = weights[None].clone()
        seen.collect(line)
    torch.testing.assert_close(seen.mean.float(), path.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen.diagonal.float(), path.var(0, correction=0), atol=1e-3, rtol=1e-3)
    drawn = torch.stack([seen.draw(line, generator, []).weight.data[0]
                         for _ in range(1500)])  # fmt: skip
    torch.testing.assert_close(drawn.mean(0), path.mean(0), atol=0.12, rtol=0)
    whole, own = torch.cov(path.T), torch.cov(drawn.T)
    # half of the variance from the diagonal, half of the whole covariance from the low-rank part
    expected = whole / 2 + torch.diag(torch.diag(whole)) / 2
    torch.testing.assert_close(own, expected, atol=0.12, rtol=0.15)


def test_batch_norms_are_measured_anew():
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))
    seen = WeightGaussian()
    for scale in (1.0, 1.1, 0.9):
        net[0].weight.data.fill_(scale)
        seen.collect(net)
    images = [torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(k)) * 3 + 5 for k in range(6)]
    drawn = seen.draw(net, torch.Generator().manual_seed(1), images)
    out = drawn[0](torch.cat(images))
    torch.testing.assert_close(drawn[1].running_mean, out.mean((0, 2, 3)), atol=1e-2, rtol=1e-2)
    assert not drawn.training and torch.equal(net[1].running_mean, torch.zeros(2))


def test_one_set_of_weights_has_no_covariance():
    seen = WeightGaussian()
    seen.collect(nn.Linear(1, 1))
    with pytest.raises(TrainingError, match="two or more"):
        seen.draw(nn.Linear(1, 1), torch.Generator(), [])


def test_what_is_frozen_stays_bit_by_bit():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    net(torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 + 1)  # statistics of its own
    net[:2].requires_grad_(False)
    before = {name: value.clone() for name, value in net[:2].state_dict().items()}
    seen = WeightGaussian()
    for scale in (1.0, 1.1, 0.9):
        net[2].weight.data.fill_(scale)
        seen.collect(net)
    images = [torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(k)) * 3 + 5 for k in range(6)]
    drawn = seen.draw(net, torch.Generator().manual_seed(1), images)
    assert all(torch.equal(value, before[name]) for name, value in drawn[:2].state_dict().items())
    assert not torch.equal(drawn[3].running_mean, net[3].running_mean)
