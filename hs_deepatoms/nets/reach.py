"""How far an output pixel of a network looks."""

from __future__ import annotations

from collections.abc import Sequence


def encoder_decoder_halo(layers: Sequence[int]) -> int:
    """Pixels around an output pixel of an encoder and decoder with ``layers`` convolutions per level.

    The reach of all convolutions at the size of their pixels, of bilinear upsampling, and of the coarsest cell itself;
    a multiple of that cell.

    Examples
    --------
    >>> encoder_decoder_halo([1, 2])
    10
    """
    depth = len(layers) - 1
    convolutions = sum(n * 2**k * (1 if k == depth else 2) for k, n in enumerate(layers))
    reach = convolutions + sum(2**k for k in range(1, depth + 1)) + 2**depth
    return -(-reach // 2**depth) * 2**depth
