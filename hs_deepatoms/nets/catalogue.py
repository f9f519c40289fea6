"""The networks by name, and how one is made with initial weights that depend on a seed alone."""

from __future__ import annotations

import importlib
import math

import torch
from torch import nn

from hs_deepatoms._core.errors import InvalidArgumentError, explain

#: What a user types -> where the class is.
NETS: dict[str, str] = {
    "unet": "hs_deepatoms.nets.unet:UNet",
    "dilnet": "hs_deepatoms.nets.dilnet:DilNet",
    "reshednet": "hs_deepatoms.nets.reshednet:ResHedNet",
    "segresnet": "hs_deepatoms.nets.segresnet:SegResNet",
}


def net_class(name: str) -> type[nn.Module]:
    """The class of a network by its name, upper or lower case.

    Raises
    ------
    InvalidArgumentError
        If there is no such network.

    Examples
    --------
    >>> net_class("UNet").__name__
    'UNet'
    """
    target = NETS.get(str(name).lower().replace("-", ""))
    if target is None:
        allowed = f"one of {sorted(NETS)}, or a torch.nn.Module"
        raise InvalidArgumentError(explain(f"net={name!r}", allowed, "Choose one of these."))
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def make_net(name: str, *, seed: int = 0, **config) -> nn.Module:
    """A network with random initial weights from a seed; nobody's random state is read or changed.

    Parameters
    ----------
    name : str
        One of :data:`NETS`.
    seed : int
    **config
        Arguments of the class.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    InvalidArgumentError
        If there is no such network, or it has no such argument.

    Examples
    --------
    >>> one, same, other = (make_net("unet", filters=4, seed=s) for s in (1, 1, 2))
    >>> bool((one.head.weight == same.head.weight).all()), bool((one.head.weight == other.head.weight).all())
    (True, False)
    """
    make = net_class(name)
    try:
        with torch.device("meta"):  # no memory, no random numbers
            module = make(**config)
    except TypeError as error:
        message = explain(f"{make.__name__} with {config} ({error})", "its own arguments", "See its documentation.")
        raise InvalidArgumentError(message) from error
    return initialise(module.to_empty(device="cpu"), seed)


def initialise(module: nn.Module, seed: int) -> nn.Module:
    """Draw all weights anew: He's normal distribution (ICCV 2015, doi:10.1109/ICCV.2015.123), norms at one and zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                taps = layer.weight[0, 0].numel() if layer.weight.ndim > 2 else 1
                inputs = layer.weight.shape[0 if isinstance(layer, nn.ConvTranspose2d) else 1]
                spread = math.sqrt((1.0 if isinstance(layer, nn.ConvTranspose2d) else 2.0 / taps) / inputs)
                layer.weight.copy_(spread * torch.randn(layer.weight.shape, generator=generator))
                if layer.bias is not None:
                    layer.bias.zero_()
            elif hasattr(layer, "reset_running_stats"):
                layer.reset_running_stats()
                if layer.affine:
                    layer.weight.fill_(1.0)
                    layer.bias.zero_()
            elif isinstance(layer, nn.GroupNorm):
                layer.weight.fill_(1.0)
                layer.bias.zero_()
    return module
