"""Layers that stay as they are while the others are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from hs_deepatoms._core.errors import InvalidArgumentError, explain


@contextmanager
def frozen(module: nn.Module, names: Sequence[str]) -> Iterator[nn.Module]:
    """Parameters whose names begin with one of these need no gradient inside the body.

    Raises
    ------
    InvalidArgumentError
        If no parameter has such a name.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> with frozen(net, ["0"]):
    ...     [p.requires_grad for p in net.parameters()]
    [False, False, True, True]
    """
    names = [names] if isinstance(names, str) else list(names)
    own = dict(module.named_parameters())
    for name in names:
        if not any(key.startswith(name) for key in own):
            first = sorted({key.split(".")[0] for key in own})
            raise InvalidArgumentError(explain(f"freeze={name!r}", f"beginnings of names, such as {first}", "Fix it."))
    chosen = [p for key, p in own.items() if p.requires_grad and any(key.startswith(name) for name in names)]
    for parameter in chosen:
        parameter.requires_grad_(False)
    try:
        yield module
    finally:
        for parameter in chosen:
            parameter.requires_grad_(True)


def is_frozen(layer: nn.Module) -> bool:
    """Whether a layer has parameters of its own, and none is trained; its statistics then stay as well."""
    own = list(layer.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def norms_of(module: nn.Module) -> list[str]:
    """Names (for `frozen`) of the batch norms: a few images have other statistics than all those of the training."""
    return [f"{name}." for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)]


def with_gradients_of(module: nn.Module, like: nn.Module) -> nn.Module:
    """The module, its parameters trainable where those of another module of the same names are."""
    wanted = {name: parameter.requires_grad for name, parameter in like.named_parameters()}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(wanted[name])
    return module
