"""What a training is told: what is held out, and what a checkpoint is compared with."""

from functools import partial

import numpy as np
import pytest
import torch

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, LabelError, StoreError
from hs_deepatoms.training import fit as loop
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.trainer import Trainer

QUIET = {"show_progressbar": False}
SMALL = {"filters": 4, "depth": 1}
FEW = {"batch_size": 4, "window": 32, "learning_rate": 1e-2, "augmentation": None, **QUIET}


def discs(n=8, seed=0):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:32, :32]
    y, x = rng.uniform(6, 26, (2, n, 1, 1))
    marks = ((yy - y) ** 2 + (xx - x) ** 2 < 20).astype(int)
    return marks + 0.3 * rng.standard_normal(marks.shape), marks


def test_validation_looks_only_at_labels():
    images, marks = discs(12)
    marks[[0, 1, 2, 4, 6, 7, 8]] = -1
    for seed in range(3):
        made = hs_deepatoms.Segmenter(net_options=SMALL, seed=seed).fit(images, marks, steps=40, validation=0.3, **FEW)
        assert made.training["best_step"] > 10 and 0 < made.scores["loss"] < 1.4 and made.training["held_out"] == 2
    partly = (images[:3], np.where(np.arange(3)[:, None, None] == 1, discs(12)[1][:3], -1))
    made = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, marks, steps=40, validation=partly, **FEW)
    known = tuple(part[1:2] for part in partly)
    alone = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, marks, steps=40, validation=known, **FEW)
    assert made.scores == pytest.approx(alone.scores)


def test_without_labels_to_hold_out_it_says_so():
    images, marks = discs(6)
    blind = np.full_like(marks, -1)
    with pytest.warns(UserWarning, match="No labelled pixel could be held out"):
        made = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, marks, steps=4, validation=(images, blind), **FEW)
    assert made.training["held_out"] == 0 and made.scores == {} and made.training["best_step"] == 4
    one = blind.copy()
    one[3] = marks[3]
    with pytest.warns(UserWarning, match="No labelled pixel could be held out"):
        made = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, one, steps=4, **FEW)
    assert made.training["held_out"] == 0


def test_what_cannot_be_trained_on_is_named():
    images, marks = discs(6)
    made = hs_deepatoms.Segmenter(net_options=SMALL)
    with pytest.raises(LabelError, match="not labelled"):
        made.fit(images, np.full_like(marks, -1), steps=2, **FEW)
    for wrong in ((images,), "ab", images):
        with pytest.raises(InvalidArgumentError, match="validation of type"):
            made.fit(images, marks, steps=2, validation=wrong, **FEW)
    for wrong in (2.5, "a", True, 0):
        with pytest.raises(InvalidArgumentError, match="steps="):
            made.fit(images, marks, steps=wrong, **FEW)
    for own in (torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(3, 1, 1)):
        with pytest.raises(InvalidArgumentError, match=r"logits of shape \(1, 1, 32, 32\)"):
            hs_deepatoms.Segmenter(net=own).fit(images, marks, steps=2, **FEW)
    with pytest.warns(UserWarning, match="was not trained"):
        made.predict(images[0], **QUIET)


def test_scores_after_weight_averaging_are_those_of_its_weights():
    images, marks = discs()
    recipe = Recipe(steps=30, averaging="swa", learning_rate=1e-2)
    held = discs(4, seed=5)
    options = {k: v for k, v in FEW.items() if k != "learning_rate"}
    made = hs_deepatoms.Segmenter(net_options=SMALL).fit(images, marks, validation=held, recipe=recipe, **options)
    maps = made.predict(held[0], **QUIET).values > 0.5
    iou = (maps & (held[1] > 0)).sum() / (maps | (held[1] > 0)).sum()
    assert made.scores["iou"] == pytest.approx(iou, abs=1e-3)


@pytest.mark.parametrize("method", ["swag", "scratch"])
def test_members_leave_what_is_frozen(method):
    images, marks = discs()
    made = hs_deepatoms.Ensemble(members=2, method=method, net_options=SMALL)
    made.fit(images, marks, steps=8, **FEW)
    # a second call trains every member on; here all from their common first layers
    before = [{k: v.clone() for k, v in net.down.state_dict().items()} for net in made.net.nets]
    made.training = {} if method == "swag" else made.training
    made.fit(*discs(seed=4), steps=8, freeze=("down",), **FEW)
    expected = before[:1] * 2 if method == "swag" else before
    for net, old in zip(made.net.nets, expected, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in net.down.state_dict().items())
        assert all(p.requires_grad for p in net.parameters())


class Killed(Exception):
    pass


def brighter(image, mask, rng, by):
    return image + by, mask


class Own:
    """A change without a repr of its own."""

    def __init__(self, by):
        self.by = by

    def __call__(self, image, mask, rng):
        return image + self.by, mask


def interrupted(monkeypatch, path, **options):
    real = Trainer.train

    def dies(self, *args):
        if self.step == 4:
            raise Killed
        return real(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop.Trainer, "train", dies)
        resumed(path, **options)


def resumed(path, seed=0, by=0.1, loss="cross_entropy", custom=Own, second=0):
    images, marks = discs()
    marks[-1, 0, 0] = second
    change = hs_deepatoms.Augmentation(custom=(custom(by),))
    recipe = Recipe(steps=8, checkpoint_every=2)
    made = hs_deepatoms.Segmenter(net_options=SMALL, seed=seed)
    options = {k: v for k, v in FEW.items() if k not in ("learning_rate", "augmentation")}
    return made.fit(images, marks, recipe=recipe, augmentation=change, checkpoint=path, loss=loss, seed=0,
                    **options)  # fmt: skip


@pytest.mark.parametrize("custom", [Own, lambda by: partial(brighter, by=by)])
def test_a_checkpoint_goes_on_where_everything_is_as_it_was(tmp_path, monkeypatch, custom):
    path = tmp_path / "run.safetensors"
    interrupted(monkeypatch, path, custom=custom)
    for changed, name in (({"by": 0.2}, "augmentation"), ({"seed": 1}, "initial_weights"), ({"second": 1}, "labels")):
        with pytest.raises(StoreError, match=name):
            resumed(path, **{"custom": custom, **changed})
    assert resumed(path, custom=custom).training["steps"] == 8 and not path.exists()
