"""What the networks refuse when they are built, and when an image has the wrong number of channels."""

from __future__ import annotations

import torch

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.nets.blocks import NORMS

UPSAMPLINGS = ("bilinear", "nearest", "transposed")


def check_net(
    *,
    channels_in: int,
    channels_out: int,
    filters: int,
    norm: str,
    dropout: float,
    upsampling: str = "bilinear",
    **more,
) -> None:
    """Refuse a configuration that cannot be built; ``more`` are further counts of 1 or more.

    Raises
    ------
    InvalidArgumentError
    """
    counts = {"channels_in": channels_in, "channels_out": channels_out, "filters": filters, **more}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _refused(name, value, "a whole number of 1 or more")
    if norm not in NORMS:
        raise _refused("norm", norm, ", ".join(map(repr, NORMS)))
    if upsampling not in UPSAMPLINGS:
        raise _refused("upsampling", upsampling, ", ".join(map(repr, UPSAMPLINGS)))
    if not 0 <= dropout < 1:
        raise _refused("dropout", dropout, "a share of at least 0 and less than 1")


def check_layers(layers, depth: int) -> tuple[int, ...]:
    """Convolutions per level, ``depth + 1`` of them; a single number stands for all levels."""
    found = (layers,) * (depth + 1) if isinstance(layers, int) else tuple(layers)
    if len(found) != depth + 1 or min(found, default=0) < 1:
        raise _refused("layers", layers, f"{depth + 1} numbers of 1 or more (depth={depth} poolings), or one for all")
    return tuple(int(n) for n in found)


def check_image(image, channels: int) -> None:
    """Refuse a tensor that is not (n, channels, h, w)."""
    if image.ndim != 4 or image.shape[1] != channels:
        got = f"a tensor of shape {tuple(image.shape)}"
        todo = "Add the missing axes, or build the network with other channels_in."
        raise InvalidArgumentError(explain(got, f"(n, {channels}, h, w)", todo))


def _refused(name: str, value, allowed: str) -> InvalidArgumentError:
    return InvalidArgumentError(explain(f"{name}={value!r}", allowed, "Choose another value."))


def check_maps(net: torch.nn.Module, channels: int, shape: tuple[int, int]) -> None:
    """Whether a network makes one map per channel, of the image's size, of an image (1, 1, *shape).

    Raises
    ------
    InvalidArgumentError
        Another shape, or an image that the network cannot take.
    """
    first = next(net.parameters(), None)
    was, image = net.training, torch.zeros(1, 1, *shape, device=None if first is None else first.device)
    try:
        with torch.no_grad():
            found = tuple(net.eval()(image).shape)
    except Exception as error:
        found = f"an error ({error})"
    finally:
        net.train(was)
    if found != (1, channels, *shape):
        got = f"a network ({type(net).__name__}) that makes {found} of an image of shape {tuple(image.shape)}"
        todo = "One class: 1 channel; several: the background first, unless they overlap. Pad convolutions."
        raise InvalidArgumentError(explain(got, f"logits of shape {(1, channels, *shape)}", todo))
