"""What ``Segmenter.fit`` does: read the data, split it, set up batches, train, and say what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hs_deepatoms._core.described import described
from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, explain
from hs_deepatoms._core.numbers import check_count, check_whole
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.engine.checkpoint import fingerprint
from hs_deepatoms.methods.images import pixel_size_nm, read_images
from hs_deepatoms.methods.labels import Radius, as_readable, read_labels
from hs_deepatoms.nets.checks import check_maps
from hs_deepatoms.training.augmentation import Augmentation
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import Fitted, fit
from hs_deepatoms.training.freezing import frozen
from hs_deepatoms.training.group import local_device
from hs_deepatoms.training.metrics import PixelMetrics
from hs_deepatoms.training.pixel_losses import choose_loss
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.trainer import evaluate
from hs_deepatoms.workflows.labelled import LabelledSet, has_labels, split, whole_frames, window_of

MOST_VALIDATION = 64  # windows
UNSEEN = (
    "No labelled pixel could be held out, so that no validation chooses the weights: the last ones are the result. "
    "Label more frames, or give validation=(images, labels)."
)


@dataclass
class TrainingJob:
    """The arguments of a training that do not depend on the network; see ``Segmenter.fit``."""

    classes: Sequence[str]
    exclusive: bool
    batch_size: int
    window: int
    augmentation: str | Augmentation | None
    loss: str | Callable
    class_weights: str | Sequence[float] | None
    radius: Radius | None
    label_shape: str
    seed: int
    workers: int
    said: dict[str, Any] = field(default_factory=dict)
    pixel_nm: float | None = None

    def run(self, net, images, labels, validation, recipe: Recipe, *, freeze, device, checkpoint, show_progressbar):
        """Train a network on images and labels."""
        ready = self.prepare(images, labels, validation, device)
        return ready.train(net, recipe, freeze=freeze, checkpoint=checkpoint, show_progressbar=show_progressbar)

    def prepare(self, images, labels, validation, device) -> Ready:
        """Read and split the data: what one or several trainings start from."""
        check_count("batch_size", self.batch_size)
        check_count("window", self.window)
        for name, value in (("seed", self.seed), ("workers", self.workers)):
            check_whole(name, value)
        device = local_device(choose_device(device))
        pairs = self.pairs(images, labels)
        sizes = [pixel_size_nm(source.signal) for source, _ in pairs]
        self.pixel_nm = None if None in sizes else float(np.median(sizes))
        window = window_of(pairs, self.window)
        if not any(has_labels(pairs, region) for region in whole_frames(pairs)):
            got = "labels that are -1 (not labelled) everywhere"
            raise LabelError(explain(got, "some that are labelled", "0 is the background, 1, 2, ... are the classes."))
        training, held = self._sets(pairs, validation, window)
        target = Target(self.exclusive, len(self.classes))
        checks = None if held is None else Validation(held, self.batch_size, target)
        if checks is not None and not len(checks):
            warn_user(UNSEEN)
            checks = None
        self.said = {
            "images": len(whole_frames(pairs)),
            "window": list(window),
            "held_out": 0 if checks is None else len(held),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "loss": self.loss if isinstance(self.loss, str) else described(self.loss),
        }
        loss = choose_loss(self.loss, self._weights(training))
        return Ready(self, pairs, training, checks, loss, Changed(self._change(), target), device)

    def pairs(self, images: Any, labels: Any) -> list:
        """(Source, Labels) of everything that was given, checked."""
        images = images if isinstance(images, list | tuple) else [images]
        labels = labels if isinstance(labels, list | tuple) else [labels]
        if len(images) != len(labels):
            got = f"{len(images)} images with {len(labels)} labels"
            raise LabelError(explain(got, "labels for each", "Check which belong together."))
        if not images:
            raise InvalidArgumentError(explain("no images", "at least one", "Give images and labels."))
        sources = [read_images(as_readable(image), operation="fit") for image in images]
        made = [(s, read_labels(part, s, self.classes, radius=self.radius, shape=self.label_shape))
                for s, part in zip(sources, labels, strict=True)]  # fmt: skip
        if self.exclusive and not all(own.exclusive for _, own in made):
            got = "labels that are shares, for classes that exclude each other"
            raise LabelError(explain(got, "whole numbers", "Use Segmenter(overlapping=True), or give whole numbers."))
        return made

    def _sets(self, pairs, validation, window):
        regions = whole_frames(pairs)
        if validation is None or isinstance(validation, int | float):
            share = 0.0 if validation is None else float(validation)
            if not 0 <= share < 1:
                message = explain(
                    f"validation={validation!r}", "a share from 0 to less than 1, data, or None", "Fix it."
                )
                raise InvalidArgumentError(message)
            inside, outside = split(regions, share, window, self.seed, partial(has_labels, pairs))
            held = LabelledSet(pairs, window, outside, fixed=True) if outside else None
            if share and held is None and not all(has_labels(pairs, region) for region in regions):
                warn_user(UNSEEN)
        else:
            if not isinstance(validation, tuple | list) or len(validation) != 2:
                got = f"validation of type {type(validation).__name__}"
                raise InvalidArgumentError(explain(got, "a share, (images, labels), or None", "Give both."))
            inside, other = regions, self.pairs(*validation)
            held = LabelledSet(other, (min(window[0], *window_of(other, self.window)),) * 2, fixed=True)
        return LabelledSet(pairs, window, inside), held

    def _weights(self, training: LabelledSet) -> list[float] | None:
        weights = self.class_weights
        if weights is None:
            return None
        if not isinstance(self.loss, str):
            message = explain("class_weights with a loss of your own", "class_weights with a loss by name",
                              "Weigh the classes in your function.")  # fmt: skip
            raise InvalidArgumentError(message)
        if isinstance(weights, str) and weights == "balanced":
            shares = training.class_shares(len(self.classes))[0 if self.exclusive else 1 :]
            weights = 1 / np.sqrt(shares / shares.max())
        expected = len(self.classes) + self.exclusive
        if isinstance(weights, str) or len(weights) != expected or min(weights) < 0:
            allowed = f"'balanced' or {expected} numbers of 0 or more"
            raise InvalidArgumentError(explain(f"class_weights={weights!r}", allowed, "Give one for each."))
        return [float(w) for w in weights]

    def _change(self) -> Augmentation | None:
        if self.augmentation is None or isinstance(self.augmentation, Augmentation):
            return self.augmentation
        if self.augmentation != "usual":
            allowed = "'usual', an hs_deepatoms.Augmentation, or None"
            message = explain(f"augmentation={self.augmentation!r}", allowed, "Choose one of these.")
            raise InvalidArgumentError(message)
        return Augmentation.usual()

    def description(self, pairs) -> dict[str, Any]:
        """What a checkpoint must have in common with this training."""
        images = [fingerprint(source.data) for source, _ in pairs]
        digest = hashlib.blake2b(digest_size=16)
        for region in whole_frames(pairs):
            y0, y1, x0, x1 = region.box
            labels = pairs[region.pair][1].read(region.frame, slice(y0, y1), slice(x0, x1))
            digest.update(np.ascontiguousarray(labels).tobytes())
        told = {"augmentation": described(self._change()), "class_weights": described(self.class_weights),
                "classes": list(self.classes), "images": images, "labels": digest.hexdigest()}  # fmt: skip
        return {**told, **self.said}


@dataclass(frozen=True)
class Ready:
    """Data that are read and split, and the loss: one network after the other can be trained on them."""

    job: TrainingJob
    pairs: list
    training: LabelledSet
    validation: Validation | None
    loss: Callable
    transform: Changed
    device: str

    def batches(self, seed: int | None = None) -> Batches:
        """Training batches, augmented."""
        job = self.job
        return Batches(self.training, job.batch_size, seed=job.seed if seed is None else seed,
                       transform=self.transform, device=self.device, workers=job.workers)  # fmt: skip

    def train(self, net, recipe: Recipe, *, freeze=(), checkpoint=None, show_progressbar=None, seed=None, watch=None,
              validate=True) -> Fitted:  # fmt: skip
        """Train a network; ``watch`` as in :func:`~hs_deepatoms.training.fit.fit`."""
        check_maps(net, len(self.job.classes) + self.job.exclusive, self.training.window)
        with frozen(net, freeze):
            return fit(net, self.batches(seed), self.loss, recipe, validation=self.validation if validate else None,
                       metrics=PixelMetrics(self.job.classes), device=self.device,
                       checkpoint=None if checkpoint is None else Path(checkpoint), watch=watch,
                       job=self.job.description(self.pairs) if checkpoint else None,
                       show_progressbar=show_progressbar)  # fmt: skip

    def evaluate(self, net) -> dict[str, float]:
        """Measures of a network on what was held out; none where nothing was."""
        if self.validation is None:
            return {}
        return evaluate(net, self.validation, self.loss, PixelMetrics(self.job.classes), self.device)


@dataclass(frozen=True)
class Target:
    """Labels as the loss wants them."""

    exclusive: bool
    n_classes: int

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes (..., h, w) or shares (..., k, h, w) -> classes, or shares of every class."""
        if self.exclusive or labels.is_floating_point():
            return labels
        kinds = torch.arange(1, self.n_classes + 1, device=labels.device).view(-1, 1, 1)
        labels = labels.unsqueeze(-3)
        return torch.where(labels < 0, -1.0, (labels == kinds).float())


@dataclass(frozen=True)
class Changed:
    """Augmentation of a sample, then the target the loss wants."""

    augmentation: Augmentation | None
    target: Target

    def __call__(self, image, labels, rng):
        if self.augmentation is not None:
            image, labels = self.augmentation(image, labels, rng)
        return image, self.target(labels)


class Validation:
    """The held-out windows that have labels in batches, always the same ones: they are read once."""

    def __init__(self, held: LabelledSet, batch_size: int, target: Target):
        self.held, self.batch_size, self.target = held, batch_size, target
        known = np.array([k for k in range(len(held)) if held.labelled(k)], int)
        n = min(len(known), MOST_VALIDATION)
        self.chosen = known[np.unique(np.linspace(0, max(len(known) - 1, 0), n).astype(int))]
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __len__(self) -> int:
        return len(self.chosen)

    @staticmethod
    def weight(target: torch.Tensor) -> float:
        """Of a batch in the mean loss: how many of its pixels are labelled."""
        return float((target >= 0).sum())

    def __iter__(self):
        if not self._kept:
            self._kept = list(self._read())
        return iter(self._kept)

    def _read(self):
        rng = np.random.default_rng(0)  # not asked: the windows are fixed
        for start in range(0, len(self.chosen), self.batch_size):
            parts = [self.held.get(int(k), rng) for k in self.chosen[start : start + self.batch_size]]
            images, labels = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
            yield images, self.target(labels)
