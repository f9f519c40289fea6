"""Batch-norm statistics that belong to weights that no step of a training had."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hs_deepatoms.training.freezing import is_frozen


def trained_norms(module: nn.Module) -> list[nn.Module]:
    """Batch norms whose statistics follow the data: those that are not frozen."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and not is_frozen(m)]


def measure_statistics(module: nn.Module, images: Iterable[torch.Tensor], device: str | torch.device = "cpu") -> None:
    """Mean and variance of every trained batch norm over these images, in place; frozen ones keep theirs.

    Parameters
    ----------
    module : torch.nn.Module
        Its mode is put back after.
    images : iterable of Tensor
        Every one counts alike.
    device : str or torch.device

    Notes
    -----
    As ``torch.optim.swa_utils.update_bn``, which resets frozen norms, too, and leaves norms that it showed no image
    without statistics: here they keep those they have.
    """
    norms, modes = trained_norms(module), {layer: layer.training for layer in module.modules()}
    if not norms:
        return
    momenta = {norm: norm.momentum for norm in norms}
    module.eval()
    first = True
    try:
        with torch.no_grad():
            for image in images:
                if first:
                    _begin(norms)
                    first = False
                module(image.to(device))
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for layer, mode in modes.items():
            layer.training = mode


def _begin(norms: list[nn.Module]) -> None:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
