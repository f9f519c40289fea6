"""Spectra of an image made when they are asked for: one task per block of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.pair_stored import Stored
from hs_deepatoms.spectra.grid import Line, aligned
from hs_deepatoms.spectra.model import PairModel, applied

if TYPE_CHECKING:
    import dask.array as da

CHUNK = 64 * 2**20  # bytes of spectra in a chunk


@dataclass(frozen=True, eq=False)
class AskedImage:
    """An image whose spectra were asked for.

    Attributes
    ----------
    stored : Stored
    source : Source
    stack : numpy or dask array, shape (frames, c, h, w)
    lines : (Line, Line)
        Where its spectra lie.
    frames, axes : list of Axis
        Of the frames, and of the spectra in a frame.
    device : str
    """

    stored: Stored
    source: Source
    stack: Any
    lines: tuple[Line, Line]
    frames: list[Axis]
    axes: list[Axis]
    device: str


def padded_frame(frame: Any, asked: AskedImage) -> np.ndarray:
    """A frame (c, h, w) on the grid of its spectra, with the rim that their windows need."""
    channels = np.asarray(frame.compute() if hasattr(frame, "dask") else frame, np.float32)
    return aligned(channels, asked.lines, asked.stored.model.window)


def outputs_of(model: PairModel, padded: np.ndarray, device: str, what: str = "forward") -> np.ndarray:
    """The model's outputs (k, ny, nx) of a padded frame, NaN where a window has NaN."""
    holes = ~np.isfinite(padded).all(0)
    out = applied(model.to(device), np.nan_to_num(padded), what=what, device=device)
    if holes.any():
        views = np.lib.stride_tricks.sliding_window_view(holes, (model.window,) * 2)[:: model.step, :: model.step]
        out[:, views.any((2, 3))] = np.nan
    return out


def lazy_spectra(asked: AskedImage, wanted: list[tuple[Callable[[np.ndarray], np.ndarray], int]]) -> list[da.Array]:
    """What functions say of the outputs of all frames, each (*frames, ny, nx, n), in chunks of at most about 64 MB.

    Parameters
    ----------
    asked : AskedImage
    wanted : list of (callable, int)
        ``function(outputs)`` gives (h, w, n) of the outputs (k, h, w) of a block, which are computed once for all of
        them; and n.
    """
    import dask
    import dask.array as da

    ny, nx = (axis.size for axis in asked.axes)
    side = max(1, int(np.sqrt(CHUNK / (4 * max(n for _, n in wanted)))))
    pad, work, shared = dask.delayed(padded_frame, pure=False), dask.delayed(_block, pure=False), dask.delayed(asked)
    made = [dask.delayed(function, pure=False) for function, _ in wanted]
    frames: list[list] = [[] for _ in wanted]
    for k in range(len(asked.stack)):
        frame = pad(asked.stack[k], shared)
        rows: list[list] = [[] for _ in wanted]
        for y in range(0, ny, side):
            spans = [(y, min(y + side, ny), x, min(x + side, nx)) for x in range(0, nx, side)]
            outputs = [work(shared, frame, span) for span in spans]
            for row, own, (_, n) in zip(rows, made, wanted, strict=True):
                shapes = [(b - a, d - c, n) for a, b, c, d in spans]
                row.append(da.concatenate([da.from_delayed(own(one), shape, np.float32)
                                           for one, shape in zip(outputs, shapes, strict=True)], 1))  # fmt: skip
        for parts, row in zip(frames, rows, strict=True):
            parts.append(da.concatenate(row, 0))
    return [_framed(parts, asked) for parts in frames]


def _framed(parts: list[da.Array], asked: AskedImage) -> da.Array:
    """Maps (ny, nx, n) of all frames as one array."""
    import dask.array as da

    whole = da.stack(parts) if asked.frames else parts[0]
    sizes = tuple(axis.size for axis in asked.frames)
    return whole.reshape((*sizes, *parts[0].shape)) if len(sizes) > 1 else whole


def _block(asked: AskedImage, padded: np.ndarray, span: tuple[int, int, int, int]) -> np.ndarray:
    """Outputs (k, h, w) of some rows and columns."""
    a, b, c, d = span
    model = asked.stored.model
    s, w = model.step, model.window
    return outputs_of(model, padded[:, a * s : (b - 1) * s + w, c * s : (d - 1) * s + w], asked.device)
