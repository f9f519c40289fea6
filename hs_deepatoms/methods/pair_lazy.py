"""Spectra of an image made when they are asked for: one task per block of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.pair_tree import Stored
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
    n : int
        Channels of a spectrum.
    """

    stored: Stored
    source: Source
    stack: Any
    lines: tuple[Line, Line]
    frames: list[Axis]
    axes: list[Axis]
    device: str
    n: int


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


def lazy_spectra(asked: AskedImage, function: Callable[[np.ndarray], np.ndarray]) -> da.Array:
    """``function`` of the outputs of all frames, (*frames, ny, nx, n), in chunks of about 64 MB."""
    import dask
    import dask.array as da

    ny, nx = (axis.size for axis in asked.axes)
    side = max(1, int(np.sqrt(CHUNK / (4 * asked.n))))
    pad, work = dask.delayed(padded_frame, pure=False), dask.delayed(_block, pure=False)
    shared = dask.delayed(asked)
    parts = []
    for k in range(len(asked.stack)):
        frame = pad(asked.stack[k], shared)
        rows = []
        for y in range(0, ny, side):
            spans = [(y, min(y + side, ny), x, min(x + side, nx)) for x in range(0, nx, side)]
            shapes = [(b - a, d - c, asked.n) for a, b, c, d in spans]
            made = [work(shared, frame, span, function) for span in spans]
            rows.append(da.concatenate([da.from_delayed(one, shape, np.float32)
                                        for one, shape in zip(made, shapes, strict=True)], 1))  # fmt: skip
        parts.append(da.concatenate(rows, 0))
    whole = da.stack(parts) if asked.frames else parts[0]
    return whole.reshape((*(axis.size for axis in asked.frames), ny, nx, asked.n)) if len(asked.frames) > 1 else whole


def _block(asked: AskedImage, padded: np.ndarray, span: tuple[int, int, int, int], function) -> np.ndarray:
    """Spectra (h, w, n) of some rows and columns."""
    a, b, c, d = span
    model = asked.stored.model
    s, w = model.step, model.window
    return function(outputs_of(model, padded[:, a * s : (b - 1) * s + w, c * s : (d - 1) * s + w], asked.device))
