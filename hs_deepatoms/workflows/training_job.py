"""What ``Segmenter.fit`` does: read the data, split it, set up batches, train, and say what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, explain
from hs_deepatoms.engine.checkpoint import fingerprint
from hs_deepatoms.methods.images import check_count, pixel_size_nm, read_images
from hs_deepatoms.methods.labels import Radius, as_readable, read_labels
from hs_deepatoms.training.augmentation import Augmentation
from hs_deepatoms.training.batches import Batches
from hs_deepatoms.training.fit import Fitted, fit
from hs_deepatoms.training.freezing import frozen
from hs_deepatoms.training.group import local_device
from hs_deepatoms.training.metrics import PixelMetrics
from hs_deepatoms.training.pixel_losses import choose_loss
from hs_deepatoms.training.recipe import Recipe
from hs_deepatoms.training.trainer import evaluate
from hs_deepatoms.workflows.labelled import LabelledSet, split, whole_frames, window_of

MOST_VALIDATION = 64  # windows


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
        device = local_device(choose_device(device))
        pairs = self.pairs(images, labels)
        sizes = [pixel_size_nm(source.signal) for source, _ in pairs]
        self.pixel_nm = None if None in sizes else float(np.median(sizes))
        window = window_of(pairs, self.window)
        training, held = self._sets(pairs, validation, window)
        target = Target(self.exclusive, len(self.classes))
        self.said = {
            "images": len(whole_frames(pairs)),
            "window": list(window),
            "held_out": 0 if held is None else len(held),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "loss": self.loss if isinstance(self.loss, str) else name_of(self.loss),
        }
        loss = choose_loss(self.loss, self._weights(training))
        checks = None if held is None else Validation(held, self.batch_size, target)
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

    def scores(self, fitted: Fitted) -> dict[str, float]:
        """Measures of the validation whose weights were kept."""
        history = fitted.history
        if "validation_step" not in history.dims:
            return {}
        best = int(np.abs(history["validation_step"].values - fitted.best_step).argmin())
        return {str(k).removeprefix("validation_"): float(v[best]) for k, v in history.data_vars.items()
                if str(k).startswith("validation_")}  # fmt: skip

    def _sets(self, pairs, validation, window):
        regions = whole_frames(pairs)
        if validation is None or isinstance(validation, int | float):
            share = 0.0 if validation is None else float(validation)
            if not 0 <= share < 1:
                message = explain(
                    f"validation={validation!r}", "a share from 0 to less than 1, data, or None", "Fix it."
                )
                raise InvalidArgumentError(message)
            inside, outside = split(regions, share, window, self.seed)
            held = LabelledSet(pairs, window, outside, fixed=True) if outside else None
        else:
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

    def described(self, pairs) -> dict[str, Any]:
        """What a checkpoint must have in common with this training."""
        images = [fingerprint(source.data) for source, _ in pairs]
        digest = hashlib.blake2b(digest_size=16)
        for source, labels in pairs:
            height, width = source.data.shape[-2:]
            digest.update(np.ascontiguousarray(labels.read(0, slice(0, height), slice(0, width))).tobytes())
        told = {"augmentation": repr(self._change()), "class_weights": repr(self.class_weights),
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
        with frozen(net, freeze):
            return fit(net, self.batches(seed), self.loss, recipe, validation=self.validation if validate else None,
                       metrics=PixelMetrics(self.job.classes), device=self.device,
                       checkpoint=None if checkpoint is None else Path(checkpoint), watch=watch,
                       job=self.job.described(self.pairs) if checkpoint else None,
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
    """The held-out windows in batches, always the same ones."""

    def __init__(self, held: LabelledSet, batch_size: int, target: Target):
        self.held, self.batch_size, self.target = held, batch_size, target
        n = min(len(held), MOST_VALIDATION)
        self.chosen = np.unique(np.linspace(0, len(held) - 1, n).astype(int))

    def __iter__(self):
        rng = np.random.default_rng(0)  # not asked: the windows are fixed
        for start in range(0, len(self.chosen), self.batch_size):
            parts = [self.held.get(int(k), rng) for k in self.chosen[start : start + self.batch_size]]
            images, labels = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
            yield images, self.target(labels)


def name_of(function: Any) -> str:
    """The name of a function, the same in every process."""
    return (
        f"{function.__module__}.{function.__qualname__}"
        if hasattr(function, "__qualname__")
        else type(function).__name__
    )
