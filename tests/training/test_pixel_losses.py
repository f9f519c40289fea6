import numpy as np
import pytest
import torch

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.training.metrics import PixelMetrics
from hs_deepatoms.training.pixel_losses import LOSSES, choose_loss


def example(exclusive, seed=0):
    rng = np.random.default_rng(seed)
    if exclusive:
        return (torch.tensor(rng.normal(size=(2, 3, 6, 7)), dtype=torch.float32),
                torch.tensor(rng.integers(0, 3, (2, 6, 7))))  # fmt: skip
    return (torch.tensor(rng.normal(size=(2, 2, 6, 7)), dtype=torch.float32),
            torch.tensor(rng.integers(0, 2, (2, 2, 6, 7)), dtype=torch.float32))  # fmt: skip


def perfect(target, exclusive):
    if exclusive:
        return 40.0 * (torch.nn.functional.one_hot(target.clamp(min=0), 3).movedim(-1, 1).float() - 0.5)
    return 40.0 * (target - 0.5)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_truth_costs_nothing_and_errors_do(name, exclusive):
    out, target = example(exclusive)
    loss = choose_loss(name)
    assert loss(perfect(target, exclusive), target) < 1e-4
    out.requires_grad_()
    value = loss(out, target)
    value.backward()
    assert value > 0.05 and torch.isfinite(out.grad).all() and out.grad.abs().sum() > 0


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_unlabelled_pixels_do_not_matter(name, exclusive):
    out, target = example(exclusive)
    target[..., :3] = -1
    other = out.clone()
    other[..., :3] = 7.0
    assert torch.equal(choose_loss(name)(out, target), choose_loss(name)(other, target))


def test_cross_entropy_is_that_of_torch():
    out, target = example(True)
    weights = [1.0, 3.0, 0.5]
    expected = torch.nn.functional.cross_entropy(out, target, weight=torch.tensor(weights))
    assert choose_loss("cross_entropy", weights)(out, target) == pytest.approx(float(expected), rel=1e-6)


def test_focal_loss_is_the_published_one_of_every_pixel():
    out, target = example(True)
    p = torch.softmax(out, 1).gather(1, target[:, None])
    expected = ((1 - p) ** 2 * -torch.log(p)).mean()
    assert choose_loss("focal")(out, target) == pytest.approx(float(expected), rel=1e-5)


def test_dice_and_iou_by_hand():
    out = torch.full((1, 1, 10, 10), -40.0)
    out[..., :5] = 40.0
    target = torch.zeros(1, 1, 10, 10)
    target[..., 2:7] = 1.0
    assert choose_loss("dice")(out, target) == pytest.approx(1 - 61 / 101, abs=1e-6)
    assert choose_loss("iou")(out, target) == pytest.approx(1 - 31 / 71, abs=1e-6)
    assert choose_loss("dice+iou")(out, target) == pytest.approx(2 - 61 / 101 - 31 / 71, abs=1e-6)


def test_names():
    mine = lambda out, target: out.sum()  # noqa: E731
    assert choose_loss(mine) is mine
    with pytest.raises(InvalidArgumentError, match=r"tversky.*cross_entropy"):
        choose_loss("tversky")


@pytest.mark.parametrize("exclusive", [True, False])
def test_metrics_of_batches_are_those_of_the_whole(exclusive):
    out, target = example(exclusive)
    target[0, ..., 0] = -1
    whole, parts = PixelMetrics(["a", "b"]), PixelMetrics(["a", "b"])
    whole.update(out, target)
    for k in range(2):
        parts.update(out[k : k + 1], target[k : k + 1])
    assert whole.result() == parts.result()
    care = (target >= 0).numpy()
    if exclusive:
        predicted, true = out.argmax(1).numpy() == 1, target.numpy() == 1
    else:
        predicted, true, care = out[:, 0].numpy() > 0, target[:, 0].numpy() == 1, care[:, 0]
    expected = (predicted & true & care).sum() / ((predicted | true) & care).sum()
    assert whole.result()["iou_a"] == pytest.approx(expected)


def test_a_class_that_is_nowhere_has_no_score():
    metrics = PixelMetrics(["a", "b"])
    metrics.update(perfect(torch.ones(1, 4, 4, dtype=torch.int64), True), torch.ones(1, 4, 4, dtype=torch.int64))
    found = metrics.result()
    assert found["iou"] == 1.0 and np.isnan(found["iou_b"]) and found["accuracy"] == 1.0
