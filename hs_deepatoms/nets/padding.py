"""Any image size for networks that halve it several times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F


def padded_call(
    forward: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, multiple: int, *, scale: int = 1
) -> torch.Tensor:
    """``forward`` of an image whose sides are made multiples of a number, cropped back to the image.

    Rows and columns are added at the bottom and on the right, so that pixels keep their place on the coarse grids; they
    repeat the last ones, since zeros would be an edge that is not there.

    Parameters
    ----------
    forward : callable
        (n, c, h', w') -> (n, k, h' / scale, w' / scale).
    image : tensor, shape (n, c, h, w)
    multiple : int
        h' and w' are multiples of it.
    scale : int
        Image pixels per output pixel.

    Returns
    -------
    tensor, shape (n, k, ceil(h / scale), ceil(w / scale))
    """
    height, width = image.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return forward(image)
    out = forward(F.pad(image, (0, right, 0, below), mode="replicate"))
    return out[..., : -(-height // scale), : -(-width // scale)]
