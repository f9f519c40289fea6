"""Losses of networks that classify pixels. Pure functions on tensors.

Two kinds of target: classes that exclude each other are whole numbers, shape (n, h, w), 0 for the background, for
logits (n, classes + 1, h, w); independent classes are shares between 0 and 1, shape (n, classes, h, w), for logits of
the same shape. A label of -1 means "not labelled" and has no weight in either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from hs_deepatoms._core.errors import InvalidArgumentError, explain

SMOOTH = 1.0  # pixels: an empty class in an empty image is right, not undefined


def cross_entropy(out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy per labelled pixel (of independent classes: per pixel and class).

    ``weights``: of the background and every class; of independent classes, of every class.
    """
    return _mean(_pixel_entropy(out, target), _pixel_weights(out, target, weights))


def focal(
    out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None, gamma: float = 2.0
) -> torch.Tensor:
    """Cross-entropy of every pixel times ``(1 - p) ** gamma``, p the probability of the truth.

    Pixels that are right already hardly count. Lin et al., ICCV 2017, doi:10.1109/ICCV.2017.324.
    """
    entropy = _pixel_entropy(out, target)
    wrong = (1 - torch.exp(-entropy)).clamp(min=1e-12)
    return _mean(wrong**gamma * entropy, _pixel_weights(out, target, weights))


def dice(out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """One minus the soft Dice overlap, mean over the classes (background left out).

    Milletari et al., 3DV 2016, doi:10.1109/3DV.2016.79.
    """
    both, predicted, true = _overlap(out, target)
    return _class_mean(1 - (2 * both + SMOOTH) / (predicted + true + SMOOTH), weights)


def iou(out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """One minus the soft intersection over union, mean over the classes (background left out).

    Rahman & Wang, ISVC 2016, doi:10.1007/978-3-319-50835-1_22.
    """
    both, predicted, true = _overlap(out, target)
    return _class_mean(1 - (both + SMOOTH) / (predicted + true - both + SMOOTH), weights)


def mse(out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared difference of probability and label per labelled pixel and class."""
    probability, truth, care = _as_maps(out, target, background=True)
    loss = (probability - truth) ** 2
    if weights is not None:
        loss = loss * weights.to(loss).view(1, -1, 1, 1)
    return (loss * care).sum() / (care.expand_as(loss).sum().clamp(min=1))


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "iou": iou,
    "mse": mse,
}


def choose_loss(loss: str | Callable, weights: Sequence[float] | None = None) -> Callable:
    """A loss by name, the sum of several (``"cross_entropy+dice"``), or the caller's own function.

    Parameters
    ----------
    loss : str or callable
        Names of :data:`LOSSES` joined by "+"; or ``loss(out, target)``, which is returned as it is.
    weights : sequence of float, optional
        Weight of every class; where classes exclude each other, that of the background first.

    Raises
    ------
    InvalidArgumentError
        If there is no such loss.

    Examples
    --------
    >>> import torch
    >>> out, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    >>> round(float(choose_loss("cross_entropy")(out, target)), 4)
    0.6931
    """
    if callable(loss):
        return loss
    names = [name.strip() for name in str(loss).split("+")]
    unknown = [name for name in names if name not in LOSSES]
    if unknown:
        allowed = f"{sorted(LOSSES)}, joined by '+', or a function of (out, target)"
        raise InvalidArgumentError(explain(f"loss={loss!r}", allowed, "Choose one of these."))
    given = None if weights is None else torch.as_tensor(list(weights), dtype=torch.float32)
    return _Sum([partial(LOSSES[name], weights=given) for name in names])


class _Sum:
    def __init__(self, parts: list[Callable]):
        self.parts = parts

    def __call__(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return sum(part(out, target) for part in self.parts)


def _exclusive(out: torch.Tensor, target: torch.Tensor) -> bool:
    return target.ndim == out.ndim - 1


def _pixel_entropy(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every pixel, in the shape of the target."""
    if _exclusive(out, target):
        return F.cross_entropy(out, target.clamp(min=0), reduction="none")
    return F.binary_cross_entropy_with_logits(out, target.clamp(min=0).to(out), reduction="none")


def _pixel_weights(out: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Weight of every pixel by its class, 0 where nothing is labelled, in the shape of the target."""
    care = (target >= 0).to(out)
    if weights is None:
        return care
    weights = weights.to(out)
    if _exclusive(out, target):
        return care * weights[target.clamp(min=0)]
    # a class in few pixels counts more where it is, not where it is missing
    return care * (1 + (weights.view(1, -1, 1, 1) - 1) * target.clamp(min=0))


def _mean(loss: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)


def _as_maps(out, target, background: bool):
    """Probabilities, truth and where it is labelled, per class."""
    if not _exclusive(out, target):
        return torch.sigmoid(out), target.clamp(min=0).to(out), (target >= 0).to(out)
    care = (target >= 0).to(out)[:, None]
    truth = F.one_hot(target.clamp(min=0), out.shape[1]).movedim(-1, 1).to(out)
    first = 0 if background else 1
    return torch.softmax(out, 1)[:, first:], truth[:, first:], care


def _overlap(out, target):
    """Sum over all pixels of the batch of both, of the predicted and of the true, per class."""
    probability, truth, care = _as_maps(out, target, background=False)
    sums = (probability * truth * care, probability * care, truth * care)
    return [part.sum((0, 2, 3)) for part in sums]


def _class_mean(loss: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return loss.mean()
    weights = weights.to(loss)[-len(loss) :]
    return (loss * weights).sum() / weights.sum()
