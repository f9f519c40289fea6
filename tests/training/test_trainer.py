"""The loop on a small network: seeds, averages, validation, stops and resumption."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hs_deepatoms.errors import InvalidArgumentError, StoreError, TrainingError
from hs_deepatoms.training import fit as loop
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import fit
from hs_deepatoms.training.group import Group
from hs_deepatoms.training.metrics import PixelMetrics
from hs_deepatoms.training.perturbation import Perturbation
from hs_deepatoms.training.pixel_losses import choose_loss
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.trainer import Trainer, evaluate
from tests.training.pictures import Discs, small_net

LOSS = choose_loss("cross_entropy")


def run(steps=24, seed=0, net=None, validation=None, batch_size=4, **options):
    recipe = {k: options.pop(k) for k in list(options) if k in Recipe.__dataclass_fields__}
    net = small_net(seed, dropout=0.2) if net is None else net
    return fit(net, Batches(Discs(), batch_size, seed=seed), LOSS, Recipe(steps=steps, seed=seed, **recipe),
               validation=validation, show_progressbar=False, **options)  # fmt: skip


def weights(fitted):
    return torch.cat([v.double().flatten() for v in fitted.module.state_dict().values()])


def held_out(seed=1):
    return list(zip(*(torch.from_numpy(a).split(4) for a in (Discs(8, seed=seed).images, Discs(8, seed=seed).targets)),
                    strict=True))  # fmt: skip


def test_the_same_seed_gives_the_same_weights_and_another_others():
    state = torch.get_rng_state()
    one, same, other = run(), run(), run(seed=1)
    assert torch.equal(weights(one), weights(same)) and not torch.equal(weights(one), weights(other))
    np.testing.assert_array_equal(one.history.loss, same.history.loss)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_of_a_users_module_repeats_and_leaves_the_random_state():
    def mine():
        with torch.random.fork_rng():
            torch.set_rng_state(torch.Generator().manual_seed(3).get_state())
            return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Dropout(0.5),
                                       torch.nn.Conv2d(4, 1, 1))  # fmt: skip

    state = torch.get_rng_state()
    one, same = run(5, net=mine()), run(5, net=mine())
    assert torch.equal(weights(one), weights(same)) and torch.equal(torch.get_rng_state(), state)


def test_fewer_samples_than_a_batch():
    done = run(25, batch_size=16, learning_rate=2e-2)
    assert done.history.loss[-1] < 0.7 * done.history.loss[0]


@pytest.mark.parametrize("averaging", ["ema", "swa", None])
def test_averages_learn_and_suit_validation(averaging):
    net = small_net(filters=8, dropout=0.2)
    done = run(60, net=net, averaging=averaging, validation=held_out(), metrics=PixelMetrics(["disc"]),
               learning_rate=1e-2)  # fmt: skip
    history = done.history
    assert history.validation_iou.max() > 0.8 and not done.module.training
    assert set(history.dims) == {"step", "validation_step"} and history.sizes["step"] == 60
    assert float(history.validation_loss.min()) == pytest.approx(float(judged(done.module)), rel=1e-4)


def judged(module):
    with torch.no_grad():
        return np.mean([float(LOSS(module(image), target)) for image, target in held_out()])


def test_statistics_of_averaged_weights_are_measured():
    done = run(24, averaging="swa")
    images = torch.from_numpy(Discs().images)
    with torch.no_grad():
        first = done.module.down[0][0](images)
    norm = done.module.down[0][1]
    np.testing.assert_allclose(norm.running_mean, first.mean((0, 2, 3)), atol=0.02)


def test_the_training_stops_when_validation_gets_no_better():
    done = run(200, validation=held_out(), learning_rate=3.0, averaging=None, validate_every=2, patience=3)
    assert done.stopped_early and done.steps < 200 and done.best_step < done.steps


@pytest.mark.parametrize("averaging", ["ema", "swa"])
@pytest.mark.parametrize("at", [12, 20])
def test_killed_and_resumed_is_the_same_as_uninterrupted(tmp_path, monkeypatch, averaging, at):
    common = {"averaging": averaging, "swa_from": 0.5, "perturbation": Perturbation(0.01, every=5),
              "validation": held_out(), "checkpoint_every": 4}  # fmt: skip
    whole = run(**common)
    path = tmp_path / "run.safetensors"

    class Killed(Exception):
        pass

    real = Trainer.train

    def dies(self, *args):
        if self.step == at + 3:
            raise Killed
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train", dies)
        with pytest.raises(Killed):
            run(checkpoint=path, **common)
    assert path.exists()
    resumed = run(checkpoint=path, **common)
    assert torch.equal(weights(whole), weights(resumed)) and not path.exists()
    assert whole.history.equals(resumed.history)


def test_a_checkpoint_of_another_training_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    monkeypatch.setattr(loop.Path, "unlink", lambda *args, **options: None)
    run(4, checkpoint=path, checkpoint_every=4)
    with pytest.raises(StoreError, match=r"learning_rate: 0.002 then, 0.01 now"):
        run(4, checkpoint=path, checkpoint_every=4, learning_rate=0.01)
    path.write_bytes(b"something else")
    with pytest.raises(StoreError, match="cannot be read as a checkpoint"):
        run(4, checkpoint=path, checkpoint_every=4)


def test_perturbation_fades():
    noise = Perturbation(scale=0.1, decay=1.5, every=10)
    assert [noise.sigma(s) for s in (5, 10, 40)] == [0.0, 0.1, pytest.approx(0.1 / 8)]
    assert not torch.equal(weights(run(20, perturbation=noise)), weights(run(20)))
    for wrong in ({"every": 0}, {"every": 2.5}, {"scale": -1.0}, {"decay": -0.1}):
        with pytest.raises(InvalidArgumentError, match=r"Perturbation\(.*every a whole number"):
            Perturbation(**wrong)


def test_frozen_layers_keep_weights_and_statistics():
    net = small_net()
    net.down.requires_grad_(False)
    before = {k: v.clone() for k, v in net.down.state_dict().items()}
    done = run(10, net=net)
    for name, value in done.module.down.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-7)
    net.requires_grad_(False)
    with pytest.raises(InvalidArgumentError, match="Freeze less"):
        run(10, net=net)


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", None), ("AVX512", torch.bfloat16)])
def test_processors_that_imitate_half_precision_compute_in_single(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert Trainer(torch.nn.Linear(2, 1), None, Recipe(mixed_precision=True), Group(0, 1, "cpu")).half is expected


def test_mixed_precision_learns_the_same_within_rounding():
    one, two = run(40, mixed_precision=True), run(40)
    assert float(one.history.loss[-1]) == pytest.approx(float(two.history.loss[-1]), rel=0.2)


def test_a_loss_that_is_not_finite_is_named():
    samples = Discs()
    samples.images[:] = np.nan
    with pytest.raises(TrainingError, match=r"nan in step 1\b"):
        fit(small_net(), Batches(samples, 4), LOSS, Recipe(steps=30), show_progressbar=False)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"averaging": "mean"}, {"schedule": "linear"}, {"ema_decay": 1.0}, {"patience": 0}]
)
def test_recipes_that_make_no_sense_are_named(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        Recipe(**wrong)


SCRIPT = """
import sys
from safetensors.torch import save_file
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import fit
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.pixel_losses import choose_loss
from tests.training.pictures import Discs, small_net
net = small_net(norm="none")
done = fit(net, Batches(Discs(), 5), choose_loss("cross_entropy"), Recipe(steps=6), show_progressbar=False)
if int(__import__("os").environ.get("RANK", 0)) == 0:
    save_file({k: v.contiguous() for k, v in done.module.state_dict().items()}, sys.argv[1])
"""


def test_two_processes_train_as_one(tmp_path):
    """Launched by torchrun: gradients averaged over parts of each batch, three samples and two, are those of it."""
    script, out = tmp_path / "train.py", tmp_path / "weights.safetensors"
    script.write_text(SCRIPT)
    here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
        str(out),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    alone = fit(small_net(norm="none"), Batches(Discs(), 5), LOSS, Recipe(steps=6), show_progressbar=False)
    for name, value in load_file(out).items():
        torch.testing.assert_close(value, alone.module.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_batches_weigh_as_much_as_is_labelled_and_none_says_nothing():
    class Weighed(list):
        weight = staticmethod(lambda target: float((target >= 0).sum()))

    net = small_net().eval()
    (image, target), *_ = held_out()
    unseen, seen = torch.full_like(target, -1.0), target.clone()
    half = target.clone()
    half[:, :, :12] = -1
    with torch.no_grad():
        one, two = float(LOSS(net(image), seen)), float(LOSS(net(image), half))
    found = evaluate(net, Weighed([(image, seen), (image, unseen), (image, half)]), LOSS)["loss"]
    assert found == pytest.approx((2 * one + two) / 3, rel=1e-5)
    assert np.isnan(evaluate(net, Weighed([(image, unseen)]), LOSS)["loss"])
    with pytest.warns(UserWarning, match="none of its pixels is labelled"):
        blind = run(8, validation=Weighed([(image, unseen)]), learning_rate=1e-2, validate_every=2, patience=1)
    assert torch.equal(weights(blind), weights(run(8, learning_rate=1e-2))) and not blind.stopped_early


@pytest.mark.parametrize("averaging", ["ema", "swa", None])
def test_scores_are_those_of_the_weights_that_come_back(averaging):
    for rate in (1e-2, 1.0):  # averaged weights that are better, and worse, than those of a step
        done = run(30, averaging=averaging, validation=held_out(), metrics=PixelMetrics(["disc"]), learning_rate=rate)
        again = evaluate(done.module, held_out(), LOSS, PixelMetrics(["disc"]))
        assert done.scores == pytest.approx(again, rel=1e-5, nan_ok=True) and {"loss", "iou"} <= set(done.scores)
    assert run(4, averaging=averaging).scores == {}


@pytest.mark.parametrize("averaging", ["ema", "swa", None])
def test_frozen_norms_stay_bit_by_bit(averaging):
    net = run(10).module.train()
    net.down.requires_grad_(False)
    before = {k: v.clone() for k, v in net.down.state_dict().items()}
    done = run(8, net=net, averaging=averaging)
    assert all(torch.equal(value, before[name]) for name, value in done.module.down.state_dict().items())


def test_averaged_norms_need_batches_that_come_twice():
    def once():
        yield from (batch for batch, _ in zip(Batches(Discs(), 4), range(8), strict=False))

    recipe = Recipe(steps=8, averaging="swa")
    with pytest.raises(InvalidArgumentError, match="only once"):
        fit(small_net(), once(), LOSS, recipe, show_progressbar=False)
    assert fit(small_net(norm="none"), once(), LOSS, recipe, show_progressbar=False).steps == 8
    listed = fit(small_net(), list(once()), LOSS, recipe, show_progressbar=False)
    assert float(listed.module.down[0][1].running_mean.abs().max()) > 0


def test_a_checkpoint_of_other_initial_weights_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    monkeypatch.setattr(loop.Path, "unlink", lambda *args, **options: None)
    run(4, net=small_net(0), checkpoint=path, checkpoint_every=4)
    run(4, net=small_net(0), checkpoint=path, checkpoint_every=4)
    with pytest.raises(StoreError, match="initial_weights"):
        run(4, net=small_net(1), checkpoint=path, checkpoint_every=4)
