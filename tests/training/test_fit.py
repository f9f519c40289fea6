import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from hs_deepatoms.simulate.samples import detector_sample
from hs_deepatoms.training.fit import fit, one_cycle
from hs_deepatoms.training.losses import column_loss, survey_loss
from hs_deepatoms.training.recipe import Recipe


def batches(n):
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([[1.0, -2.0, 0.5]])
    for _ in range(n):
        x = torch.randn(16, 3, generator=generator)
        yield x, x @ weight.T


def model(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Linear(3, 1)


def run(seed, steps=300, **options):
    recipe = Recipe(steps=steps, learning_rate=0.05, ema_decay=0.9, weight_decay=0.0)
    return fit(model(seed), batches(steps), mse_loss, recipe, show_progressbar=False, **options)


def test_fit_learns_and_repeats():
    one, again = run(0), run(0)
    other = run(1, steps=5)
    loss = one.history.loss.values
    assert len(loss) == 300 and loss[-1] < 1e-3 * loss[0] and one.steps == 300
    np.testing.assert_allclose(one.module.weight.detach(), [[1.0, -2.0, 0.5]], atol=0.02)
    assert torch.equal(one.module.weight, again.module.weight)
    assert not torch.equal(run(0, steps=5).module.weight, other.module.weight)


def test_the_averaged_module_can_be_watched():
    seen = []
    fit(model(0), batches(20), mse_loss, Recipe(steps=20, checkpoint_every=5), watch=lambda m, s: seen.append(s),
        show_progressbar=False)  # fmt: skip
    assert seen == [5, 10, 15, 20]


def test_one_cycle_rises_and_falls():
    values = [one_cycle(u) for u in np.linspace(0, 1, 101)]
    assert np.argmax(values) == 5 and values[0] == pytest.approx(0.05, abs=0.01) and values[-1] < 0.01


def perfect(target):
    out = torch.zeros_like(target)
    out[:, 0] = torch.where(target[:, 0] > 0, 9.0, -9.0)
    out[:, 1:3], out[:, 3:5], out[:, 5] = target[:, 2:4], -3.0, target[:, 5]
    return out


def test_column_loss_prefers_the_truth():
    target = torch.from_numpy(np.stack([detector_sample(1, k, size=64)[1] for k in range(4)]))
    good = perfect(target)
    shifted, missing, doubled = good.clone(), good.clone(), good.clone()
    shifted[:, 1:3] += 0.5
    missing[:, 0] = -9.0
    doubled[:, 0, ::8, ::8] = 9.0
    best = column_loss(good, target)
    assert all(column_loss(bad, target) > best + 0.1 for bad in (shifted, missing, doubled))


def test_column_loss_has_gradients_and_ignores_what_is_not_labelled():
    target = torch.from_numpy(detector_sample(1, 3, size=64)[1][None])
    out = perfect(target).requires_grad_()
    column_loss(out, target).backward()
    assert torch.isfinite(out.grad).all()
    target[:, 1, :, 16:] = 0
    target[:, 4, :, 16:] = 0
    one, two = perfect(target), perfect(target)
    two[:, 0, :, 16:] = 5.0
    assert column_loss(one, target) == column_loss(two, target)


def test_survey_loss_is_a_cross_entropy():
    target = torch.tensor([[0.25, 0.75]])
    assert survey_loss(torch.log(target), target) == pytest.approx(0.5623, abs=1e-3)
