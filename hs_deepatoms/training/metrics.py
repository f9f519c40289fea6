"""What validation measures, summed over all batches before anything is divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class Metrics(Protocol):
    """What the trainer asks of a measure."""

    def reset(self) -> None:
        """Forget everything."""

    def update(self, out: torch.Tensor, target: torch.Tensor) -> None:
        """Take in a batch of logits and its target."""

    def result(self) -> dict[str, float]:
        """The measures by name."""


class PixelMetrics:
    """Intersection over union and Dice of every class, and the share of pixels that are right.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes, without the background.
    threshold : float
        Probability from which a pixel counts, where classes are independent.

    Notes
    -----
    Pixels with the label -1 are left out. A class that is neither there nor predicted has no IoU (NaN) and is left out
    of the means. Targets as in :mod:`hs_deepatoms.training.pixel_losses`.
    """

    def __init__(self, classes: Sequence[str], threshold: float = 0.5):
        self.classes, self.threshold = list(classes), threshold
        self.reset()

    def reset(self) -> None:
        self.counts = torch.zeros(4, len(self.classes), dtype=torch.float64)  # true and false positives, missed, right

    def update(self, out: torch.Tensor, target: torch.Tensor) -> None:
        if target.ndim == out.ndim - 1:
            care = (target >= 0)[:, None]
            k = torch.arange(1, len(self.classes) + 1, device=out.device).view(1, -1, 1, 1)
            predicted, true = out.argmax(1)[:, None] == k, target[:, None] == k
        else:
            care = target >= 0
            predicted, true = torch.sigmoid(out) >= self.threshold, target >= 0.5
        pairs = (predicted & true, predicted & ~true, ~predicted & true, ~predicted & ~true)
        self.counts += torch.stack([(pair & care).sum((0, 2, 3)) for pair in pairs]).cpu()

    def result(self) -> dict[str, float]:
        hit, false, missed, absent = self.counts
        iou = hit / (hit + false + missed)
        dice = 2 * hit / (2 * hit + false + missed)
        found = {"iou": float(iou.nanmean()), "dice": float(dice.nanmean())}
        found["accuracy"] = float((hit + absent).sum() / self.counts.sum())
        if len(self.classes) > 1:
            found |= {f"iou_{name}": float(value) for name, value in zip(self.classes, iou, strict=True)}
        return found
