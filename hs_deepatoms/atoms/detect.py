"""Detect columns in one block of frames: scale, repair, resample, run the network, decode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import ndtr, ndtri

from hs_deepatoms.atoms.decode import APART, Points, decode
from hs_deepatoms.atoms.ground import KNOT
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.engine.resident import at_most, turn_of_network
from hs_deepatoms.modelfile.cache import cached_module
from hs_deepatoms.prepare.lone import lone_pixels
from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.prepare.resample import (
    resample,
    resampled_size,
    resampling_matrix,
    source_window,
    to_grid,
    to_source,
)
from hs_deepatoms.prepare.roundness import Smoothing, smoothed
from hs_deepatoms.prepare.scaling import FrameScale, apply_scaling, frame_scale

BYTES_PER_GRID_PIXEL = 160.0  # activations of the detector alive at its peak, measured in float32
GRID_SIGMA = 2.0  # column sigma on the grid, pixels: what the network was trained on
SETTLE = 8  # grid pixels around the core that may still point into it
LOST = 0.5  # share of a column's weight on pixels without a value from which it is not seen but guessed
# the same before a fit, half a column sigma farther in: beside such pixels, which are filled with what is next to them,
# the detector is off by as much
DEEP = 0.69
# pixels: as much farther out than a frame's outermost pixels reach columns are kept at its rim, where half a column is
# easily off by as much; so they are at the rim of what was recorded
FARTHER = 0.5
FIT_REACH = 8.0  # knots of the background around a core that are fitted with it


@dataclass(frozen=True)
class Detection:
    """Everything a task needs to know besides its pixels; small, and picklable for other processes.

    Attributes
    ----------
    model, sha256, device : str
    zoom : float
        Grid pixels per source pixel.
    shape : tuple of int
        (ny, nx) of a frame in source pixels.
    dark : bool
        Columns are darker than their surroundings.
    threshold : float
        Smallest probability of the detector's candidates.
    reported : float
        Smallest probability that is kept once the crystal has been asked; by default ``threshold``.
    calibration : tuple of float
        See :func:`~hs_deepatoms.atoms.decode.decode`.
    order : tuple of float, optional
        Weights of :func:`~hs_deepatoms.atoms.order.reconsidered`; by default the crystal is not asked.
    heights : tuple of float, optional
        Weights of :func:`~hs_deepatoms.atoms.alike.weighed`; by default fitted heights decide nothing.
    halo, multiple : int
        The network's reach and the multiple its input size must have, grid pixels.
    batch_pixels : int
        Largest number of grid pixels that meet the network at once.
    scalings : list or dict (by frame) of FrameScale, optional
        Scale of every frame; by default each block's frames are whole and are measured in the task.
    lone : dict (by frame) of tuple of ndarray, optional
        Pixels (y, x) that are hot or dead, counted over the whole frame; by default they are looked for in each window.
    masked : ndarray, bool, shape (ny, nx), optional
    skipped : ndarray, bool, shape (n_frames,), optional
        Frames to leave out.
    apart : float, optional
        Of two columns nearer than this (source pixels) the less probable is dropped.
    refine : {"none", "quick", "full"}
    knot : float, optional
        Distance of the knots of the background, pixels, where it is not that of the column sigma; see `knots`.
    elliptical : bool
        Columns are fitted as ellipses.
    ellipse : tuple of float, optional
        Their common shape, plus and cross (see :func:`~hs_deepatoms.prepare.roundness.to_round`), where it is known.
    rounding : Smoothing, optional
        By what oblong columns are made round before the network sees them.
    certain : float
        Probability from which a column takes part in the refinement.
    noises : list of Noise, optional
        Of every frame, where frames are tiled; by default they are measured in the task.
    """

    model: str
    sha256: str
    device: str
    zoom: float
    shape: tuple[int, int]
    dark: bool = False
    threshold: float = 0.5
    reported: float = 0.0
    calibration: tuple[float, float] = (1.0, 0.0)
    order: tuple[float, ...] | None = None
    heights: tuple[float, float, float] | None = None
    halo: int = 80
    multiple: int = 8
    batch_pixels: int = 2**21
    scalings: list[FrameScale] | dict[int, FrameScale] | None = None
    lone: dict[int, tuple[np.ndarray, np.ndarray]] | None = None
    masked: np.ndarray | None = None
    skipped: np.ndarray | None = None
    apart: float | None = None
    refine: str = "none"
    knot: float | None = None
    elliptical: bool = False
    ellipse: tuple[float, float] | None = None
    rounding: Smoothing | None = None
    certain: float = 0.0
    noises: list[Noise | None] | None = None

    @property
    def column_sigma(self) -> float:
        """Column sigma in source pixels."""
        return GRID_SIGMA / self.zoom / (1.0 if self.rounding is None else self.rounding.stretch)

    @property
    def knots(self) -> float:
        """Distance of the knots of the background, pixels."""
        return self.knot or KNOT * self.column_sigma

    @property
    def fit_reach(self) -> int:
        """Source pixels around a core that are fitted with it."""
        return int(np.ceil(FIT_REACH * self.knots))

    @property
    def fit_device(self) -> str:
        """Where columns are fitted: some accelerators have no double precision."""
        return "cpu" if self.device.startswith("mps") else self.device

    @property
    def smoothing_reach(self) -> int:
        """Source pixels to every side that a smoothed one depends on."""
        return 0 if self.rounding is None else self.rounding.reach

    @property
    def source_halo(self) -> int:
        """Source pixels a block must see around its core."""
        grid = self.halo + SETTLE + 2 * self.multiple
        seen = int(np.ceil(grid / self.zoom + 2 * max(1.0, 1 / self.zoom))) + 6 + self.smoothing_reach
        return seen if self.refine == "none" else max(seen, self.fit_reach)


@dataclass(frozen=True)
class GridWindow:
    """The part of the grid that a block runs through the network, along one axis."""

    start: int
    stop: int
    source: tuple[int, int]


def grid_window(core: tuple[int, int], size: int, job: Detection) -> GridWindow:
    """Grid samples (start a multiple of the network's) that cover ``core`` and everything its cells depend on."""
    n, m = resampled_size(size, job.zoom), job.multiple
    reach = job.halo + SETTLE
    start = max(0, int(np.floor(to_grid(core[0], job.zoom))) - reach) // m * m
    stop = min(n, int(np.ceil(to_grid(core[1] - 1, job.zoom))) + 1 + reach)
    stop = min(-(-stop // m) * m, n)
    low, high = source_window(start, stop, job.zoom, size)
    return GridWindow(start, stop, (max(0, low - job.smoothing_reach), min(size, high + job.smoothing_reach)))


def detect(frames: np.ndarray, block: Block, job: Detection) -> Points:
    """Columns of one block and around it, in source pixels of the whole frame; ``frame`` counts over the whole signal.

    Parameters
    ----------
    frames : ndarray, shape (f, h, w)
        Source pixels ``block.padded`` of each frame, any real dtype.
    block : Block
    job : Detection
    """
    windows, views = block_views(frames, block, job)
    apart = APART if job.apart is None else max(APART, job.apart * job.zoom)
    parts = []
    with at_most(2, "detect"):  # one prepares while the other infers
        for numbers, maps in network_maps(views, windows, job):
            points = decode(maps, job.threshold, apart=apart, calibration=job.calibration)
            parts.append(replace(points, frame=np.asarray(numbers)[points.frame] + block.frames[0]))
    return in_source(Points.join(parts) if parts else Points.none(), job, windows)


def block_views(frames: np.ndarray, block: Block, job: Detection):
    """The grid windows (y, x) of a block, and an iterator of (frame's number in the block, its view on the grid)."""
    windows = [grid_window(block.core[2 * k : 2 * k + 2], job.shape[k], job) for k in (0, 1)]
    matrices = [
        resampling_matrix(w.start, w.stop, job.zoom, w.source, size) for w, size in zip(windows, job.shape, strict=True)
    ]
    views = ((k, network_view(frame, block, job, windows, matrices, k)) for k, frame in enumerate(frames))
    return windows, ((k, view) for k, view in views if view is not None)


def network_maps(views, windows, job: Detection):
    """Yield (numbers of the frames, network output) for batches of views that fit the memory budget."""
    for batch in batched(views, views_at_once(windows, job)):
        numbers, images = zip(*batch, strict=True)
        yield numbers, run_detector(np.stack(images), job)


def views_at_once(windows, job: Detection) -> int:
    """Views in a batch."""
    return max(1, int(job.batch_pixels // np.prod([w.stop - w.start for w in windows])))


def batched(items, n: int):
    """Lists of up to ``n`` successive items (itertools.batched needs Python 3.12)."""
    items = iter(items)
    while batch := list(islice(items, n)):
        yield batch


def network_view(frame, block, job, windows, matrices, k) -> np.ndarray | None:
    """One frame on the grid window, scaled and repaired; None if it is skipped, constant or has nothing valid."""
    (y0, y1), (x0, x1) = (w.source for w in windows)
    scaled, bad, scaling = scaled_window(frame, block, job, k, (y0, y1, x0, x1))
    if scaling.span == 0:
        return None
    scaled = fill_invalid(scaled, bad)
    if job.rounding is not None:
        scaled = smoothed(scaled, job.rounding)
    return resample(-scaled if job.dark else scaled, *matrices)


def measured(frames, block: Block, job: Detection) -> Detection:
    """The job with the scale and the lone pixels of every frame of a block: measured once for all who need them."""
    first = block.frames[0]
    job = replace(job, scalings={first + k: one_scaling(frame, block, job, k) for k, frame in enumerate(frames)})
    return replace(job, lone={first + k: _lone(frame, block, job, k) for k, frame in enumerate(frames)})


def _lone(frame, block: Block, job: Detection, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (y, x) of one frame of a block that are hot or dead, counted over the whole frame."""
    scaled, bad, _ = _without_lone(frame, block, job, k, block.padded)
    if scaled is None:
        return np.empty(0, int), np.empty(0, int)
    lone = lone_pixels(scaled, bad, job.column_sigma)
    y, x = np.divmod(np.flatnonzero(lone), lone.shape[1])  # flat: in a hundredth of the time
    return y + block.padded[0], x + block.padded[2]


def one_scaling(frame, block: Block, job: Detection, k: int) -> FrameScale:
    """Scale of a frame; span 0 for one that is left out."""
    if job.skipped is not None and job.skipped[block.frames[0] + k]:
        return FrameScale(0.0, 0.0)
    if job.scalings is None:  # then the block holds whole frames
        return frame_scale(frame, job.masked)
    return job.scalings[block.frames[0] + k]


def scaled_window(frame, block, job, k, window):
    """Pixels ``window`` (y0, y1, x0, x1) of a frame, scaled; which of them mean nothing; and the frame's scale."""
    scaled, bad, scaling = _without_lone(frame, block, job, k, window)
    if scaled is None:
        return scaled, bad, scaling
    if job.lone is None:
        return scaled, bad | lone_pixels(scaled, bad, job.column_sigma), scaling
    y, x = (c - window[2 * a] for a, c in enumerate(job.lone[block.frames[0] + k]))
    inside = (y >= 0) & (x >= 0) & (y < bad.shape[0]) & (x < bad.shape[1])
    bad[y[inside], x[inside]] = True
    return scaled, bad, scaling


def _without_lone(frame, block, job, k, window):
    """As :func:`scaled_window`, before lone pixels are looked for."""
    scaling = one_scaling(frame, block, job, k)
    (y0, y1, x0, x1), top, left = window, block.padded[0], block.padded[2]
    if scaling.span == 0:
        return None, None, scaling
    scaled = apply_scaling(frame[y0 - top : y1 - top, x0 - left : x1 - left], scaling[:2])
    return scaled, invalid_pixels(scaled, left_out(scaling, job, window)), scaling


def left_out(scaling: FrameScale, job: Detection, window) -> np.ndarray | None:
    """Pixels of a window that the user masked or that were never recorded; None if there are none."""
    y0, y1, x0, x1 = window
    masked = None if job.masked is None else job.masked[y0:y1, x0:x1]
    if scaling.blank is None:
        return masked
    blank = scaling.blank[0][y0:y1, None] | scaling.blank[1][x0:x1]
    return blank if masked is None else masked | blank


def on_data(points: Points, frames: np.ndarray, block: Block, job: Detection, limit: float = LOST) -> np.ndarray:
    """False for columns more than ``limit`` of which lies on pixels that are masked or without a value, shape (n,).

    A column on a lost line stays: it is seen beside the line. One at the rim of what was recorded stays as far out as
    at the rim of a frame (`in_frame`), a mask is meant to the pixel.
    """
    good, (y0, y1, x0, x1) = np.ones(len(points.y), bool), block.padded
    masked = None if job.masked is None else job.masked[y0:y1, x0:x1]
    outside = float(ndtr(ndtri(limit) + FARTHER / job.column_sigma))
    for k, frame in enumerate(frames):
        lost = left_out(one_scaling(frame, block, job, k), job, block.padded)
        if frame.dtype.kind == "f" and not (finite := np.isfinite(frame)).all():
            lost = ~finite if lost is None else lost | ~finite
        here = np.flatnonzero(points.frame == block.frames[0] + k)
        for pixels, most in ((masked, limit), (lost, outside)):
            if pixels is not None and pixels.any() and len(here):
                good[here] &= ~mostly_lost(points.y[here], points.x[here], pixels, block, job.column_sigma, most)
    return good


def mostly_lost(y, x, lost: np.ndarray, block: Block, sigma: float, limit: float = LOST) -> np.ndarray:
    """True where more than ``limit`` of a column's weight falls on lost pixels of a block."""
    share = gaussian_filter(lost.astype(np.float32), sigma, mode="nearest", truncate=3)
    places = np.asarray(y) - block.padded[0], np.asarray(x) - block.padded[2]
    return map_coordinates(share, places, order=1, mode="nearest") > limit


def run_detector(views: np.ndarray, job: Detection) -> torch.Tensor:
    """Network output for a batch of views, shape (n, h, w) -> (n, 6, h' / 2, w' / 2), where doubles are known: on the
    device of the fit."""
    views = np.pad(views, [(0, 0), *((0, n % 2) for n in views.shape[1:])], mode="edge")  # whole cells
    pad = [-n % job.multiple for n in views.shape[1:]]
    tensor = torch.from_numpy(np.pad(views, [(0, 0), (0, pad[0]), (0, pad[1])], mode="constant"))[:, None]
    module = cached_module(job.model, job.sha256, job.device, name="detector")
    half = job.device.startswith("cuda")
    with turn_of_network(job.device), torch.inference_mode():
        tensor = tensor.to(job.device, memory_format=torch.channels_last)
        with torch.autocast(job.device.split(":")[0], dtype=torch.bfloat16, enabled=half):
            out = module(tensor, views.shape[1:]).float().to(job.fit_device)
    return out[:, :, : views.shape[1] // 2, : views.shape[2] // 2]


def in_source(points: Points, job: Detection, windows) -> Points:
    """Grid window -> pixels of the whole frame."""
    y = to_source(points.y + windows[0].start, job.zoom)
    x = to_source(points.x + windows[1].start, job.zoom)
    # millions of columns: single precision is plenty but for the positions
    scaled = {name: (getattr(points, name) / job.zoom).astype(np.float32) for name in ("y_std", "x_std", "width")}
    scaled["probability"] = points.probability.astype(np.float32)
    return replace(points, y=y, x=x, **scaled)


def owned(points: Points, block: Block, job: Detection) -> np.ndarray:
    """True for columns of the frame in this block's core."""
    return in_core(points, block, job) & in_frame(points, job.shape)


def in_core(points: Points, block: Block, job: Detection) -> np.ndarray:
    """True for columns in this block's core, or beyond the rim of the frame beside it."""
    return _within(points.y, block.core[:2], job.shape[0]) & _within(points.x, block.core[2:], job.shape[1])


def in_frame(points: Points, shape: tuple[int, int], beyond: float = 1.0) -> np.ndarray:
    """False for columns whose centre is so many pixels or more beyond the outermost ones."""
    (y, x), (h, w) = (points.y, points.x), shape
    return (y > -beyond) & (x > -beyond) & (y < h - 1 + beyond) & (x < w - 1 + beyond)


def _within(position, core, size):
    """Half-open, so that every column has one owner; a column just outside the frame belongs to the border block."""
    low = -np.inf if core[0] == 0 else core[0] - 0.5
    high = np.inf if core[1] == size else core[1] - 0.5
    return (position >= low) & (position < high)
