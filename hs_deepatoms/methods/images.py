"""What the image verbs share: read and check the input, find the model, survey the columns, plan the blocks."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidImageError, explain
from hs_deepatoms._core.numbers import is_number
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.checks import check_image_source
from hs_deepatoms.bridge.lengths import read_length, unit_factor
from hs_deepatoms.bridge.source import Source, read_source

if TYPE_CHECKING:
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.engine.plan import Block
    from hs_deepatoms.prepare.scaling import FrameScale
    from hs_deepatoms.prepare.survey import Appearance

CONTRASTS = ("auto", "bright", "dark")
# up to so many frames all are looked at before the first block; else this many of the middle half of the stack (an even
# number: the same of a stack that runs backwards), and more until so many have contrast
SURVEY_ALL, SURVEY_SOME, SURVEY_ENOUGH = 12, 6, 3
NARROWEST = 0.72  # pixels, column sigma
CLOSEST = 2  # pixels, spacing of columns
LOWEST = 0.05  # probability below which the detector's cells are not looked at
MEMORY = 320 * 2**20  # bytes for the activations of one task; two tasks may be at work
WHOLE_FRAME_BYTES = 320 * 2**20  # smaller lazy frames are loaded whole for the survey
SCALING_PIXELS, SCALING_FRAMES = (
    2**20,
    16,
)  # a frame too large for one task is measured on a regular subset of about this many pixels


@dataclass(frozen=True)
class Model:
    """A model file and what it says about itself."""

    path: str
    sha256: str
    name: str
    threshold: float
    calibration: tuple[float, float]
    order: tuple[float, ...] | None
    heights: tuple[float, float, float] | None
    reliability: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    contrasts: tuple[str, ...] = CONTRASTS[1:]


def read_images(signal: Any, *, signal_dims=None, operation: str) -> Source:
    """Images of any kind of input, checked."""
    source = read_source(signal, signal_dims=signal_dims, n_signal=2, operation=operation)
    check_image_source(source, operation)
    if source.data.dtype == bool:
        source = replace(source, data=source.data.astype(np.uint8))
    return source


def frame_of(source: Source, k: int):
    """Frame ``k`` of the flattened navigation space, shape (ny, nx), lazy if the source is."""
    return source.data[np.unravel_index(k, source.data.shape[:-2])] if source.navigation else source.data


def find_model(model: str | Path | None) -> Model:
    """The shipped detector, another one that ships by name, or the file the user names."""
    from hs_deepatoms.modelfile.files import read_info
    from hs_deepatoms.modelfile.registry import model_path

    if not (model is None or isinstance(model, str | os.PathLike)):
        got = f"model={model!r} of type {type(model).__name__}"
        raise InvalidArgumentError(explain(got, "the path of a model file", "Leave it out for the shipped model."))
    path = model_path(model)
    info = read_info(path)
    preprocessing, card = info.get("preprocessing", {}), info.get("card", {})
    order, heights = (tuple(preprocessing.get(name) or ()) or None for name in ("order", "heights"))
    reliability = tuple(map(tuple, preprocessing.get("reliability") or ())) or None
    return Model(str(path), info["sha256"], card.get("name", path.stem), float(preprocessing.get("threshold", 0.5)),
                 tuple(preprocessing.get("calibration", (1.0, 0.0))), order, heights, reliability,
                 tuple(preprocessing.get("contrasts", CONTRASTS[1:])))  # fmt: skip


def suited_model(dark: bool) -> Model:
    """The shipped model for columns of this contrast: one that was made for it alone, else the default."""
    from hs_deepatoms.modelfile.registry import shipped_models

    own = ("dark" if dark else "bright",)
    known = list(shipped_models())
    others = (find_model(name) for name in known[1:])
    return next((other for other in others if other.contrasts == own), None) or find_model(known[0])


def read_mask(mask: Any, shape: tuple[int, ...], name: str, dims: tuple[str, ...] = ()) -> np.ndarray | None:
    """A boolean mask (True: leave out, as in HyperSpy) from an array, signal or DataArray (read by its dims)."""
    if mask is None:
        return None
    if isinstance(mask, xr.DataArray) and set(mask.dims) == set(dims):
        mask = mask.transpose(*dims)
    data = getattr(mask, "data", mask)
    data = np.asarray(data.compute() if hasattr(data, "compute") else data)
    if data.shape != shape or data.dtype.kind not in ("bui" if shape else "b"):
        message = explain(f"{name} of shape {data.shape} and dtype {data.dtype}", f"a boolean mask of shape {shape}",
                          "True marks what is left out.")  # fmt: skip
        raise InvalidArgumentError(message)
    return data.astype(bool)


def read_threshold(threshold: float | str, default: float, *, probability: bool = True) -> float:
    """A probability (or, for the blob finders, a signal-to-noise ratio), or the default."""
    if isinstance(threshold, str) and threshold == "auto":
        return default
    low, top, what = (
        (LOWEST, 1.0, f"a probability above {LOWEST} and below 1")
        if probability
        else (0, np.inf, "a signal-to-noise ratio above 0")
    )
    if not is_number(threshold) or not low < threshold < top:
        message = explain(f"threshold={threshold!r}", f"'auto' or {what}", f"Leave it out, or try {default}.")
        raise InvalidArgumentError(message)
    return float(threshold)


def pixel_size_nm(axes: tuple[Axis, ...]) -> float | None:
    """Mean pixel size of the signal axes in nm, or None without a length calibration."""
    sizes = []
    for axis in axes:
        if axis.units == "px" or not axis.step:
            return None
        try:
            sizes.append(axis.step * unit_factor(axis.units, "nm"))
        except ValueError:
            return None
    return float(np.sqrt(np.prod(sizes)))


def width_limits(spacing: Any, axes: tuple[Axis, ...]) -> tuple[tuple[float, float] | None, float | None]:
    """Smallest and largest column sigma for a given spacing of columns, and the spacing, all in pixels."""
    if spacing is None:
        return None, None
    pixels, side = read_length(spacing, axes[-1]), min(axis.size for axis in axes[-2:])
    if not CLOSEST <= pixels < side:
        allowed = f"{CLOSEST} px or more, and less than the shorter side of the image, {side} px"
        todo = f"Give the distance of neighbouring columns; a pixel is {axes[-1].step:.4g} {axes[-1].units}."
        raise InvalidArgumentError(explain(f"spacing={spacing!r}, {pixels:.4g} px", allowed, todo))
    return (pixels / 12, pixels / 2.3), pixels


def names(axes: tuple[Axis, ...]) -> tuple[str, ...]:
    """Names of axes, in order."""
    return tuple(axis.name for axis in axes)


def frames_to_use(n: int, navigation_mask: np.ndarray | None) -> np.ndarray:
    """Flattened indices of the frames that are not masked."""
    return np.arange(n) if navigation_mask is None else np.flatnonzero(~navigation_mask.ravel())


def survey(source: Source, model: Model, frames: np.ndarray, *, contrast, limits, masked, device) -> Appearance:
    """Column width and contrast of a source, from a few of its frames."""
    from hs_deepatoms.atoms.survey import survey_classifier
    from hs_deepatoms.prepare.survey import survey_images

    frame_bytes = source.data.dtype.itemsize * np.prod(source.data.shape[-2:])
    small = frame_bytes <= WHOLE_FRAME_BYTES

    # lazy frames of moderate size are loaded once, not once per window
    @lru_cache(maxsize=int(np.clip(WHOLE_FRAME_BYTES // max(frame_bytes, 1), 1, SURVEY_ALL)))
    def load(frame: int) -> np.ndarray:
        pixels = frame_of(source, frame)
        # a part of a chunk would keep all of it
        return pixels if isinstance(pixels, np.ndarray) else np.asarray(pixels).copy()

    def read(frame: int, rows: slice, columns: slice) -> np.ndarray:
        return load(frame)[rows, columns] if small else np.asarray(frame_of(source, frame)[rows, columns])

    classify, first, step = survey_classifier(model.path, model.sha256, device)
    return survey_images(
        read,
        together(frames),
        source.data.shape[-2:],
        classify,
        first=first,
        step=step,
        pixel_nm=pixel_size_nm(source.signal),
        contrast=contrast,
        limits=limits,
        masked=masked,
        enough=SURVEY_ENOUGH,
    )


def plan(
    source: Source,
    job: Detection,
    *,
    batch_size: int | None,
    frames_per_block: int | None = None,
    bytes_per_grid_pixel: float | None = None,
) -> tuple[list[Block], Detection]:
    """Blocks for the engine, and the job completed with what tiles need (by default, those of the detector)."""
    from hs_deepatoms.atoms.detect import BYTES_PER_GRID_PIXEL
    from hs_deepatoms.engine.plan import choose_tile, plan_blocks
    from hs_deepatoms.engine.resident import NETWORKS

    shape = source.data.shape[-2:]
    per_pixel = (bytes_per_grid_pixel or BYTES_PER_GRID_PIXEL) * job.zoom**2 + (40 if job.refine == "none" else 80)
    # columns tens of pixels wide need a halo that the budget does not hold: the smallest tile that works, then
    memory = max(MEMORY, int(per_pixel * (3 * job.source_halo + 16) ** 2))
    tile, most = choose_tile(shape, bytes_per_pixel=per_pixel, halo=job.source_halo, memory=memory, largest=8192)
    blocks = plan_blocks(
        source.data.shape[:-2] or 1,
        shape,
        tile=tile,
        halo=job.source_halo,
        frames_per_block=frames_per_block or batch_size or most,
        chunks=_chunks_of_frames(source.data),
        align=1,
    )
    if batch_size is not None:
        grid = int(np.prod([np.ceil(s * job.zoom) + 8 for s in shape]))
        job = replace(job, batch_pixels=batch_size * grid)
    elif job.device == "cpu":  # several networks may be at work; as many or not, or a bit of the result would change
        job = replace(job, batch_pixels=job.batch_pixels // NETWORKS)
    if blocks and blocks[0].core_shape != tuple(shape):
        job = replace(job, scalings=_scalings(source, job.masked))
    return blocks, job


def _chunks_of_frames(data) -> tuple[tuple[int, ...], ...] | None:
    """Chunks along the navigation axes alone: tiles that followed those of the image would give other results, in the
    last digits, for other chunks of the same data."""
    if not hasattr(data, "chunks"):
        return None
    return (*data.chunks[:-2], *((n,) for n in data.shape[-2:]))


def assemble(parts: list[np.ndarray], blocks: list[Block], shape: tuple[int, ...]) -> np.ndarray:
    """Image-shaped results of the blocks, shape (f, h, w) each, as one array of the source's shape."""
    out = np.zeros((int(np.prod(shape[:-2])), *shape[-2:]), parts[0].dtype)
    for part, block in zip(parts, blocks, strict=True):
        y0, y1, x0, x1 = block.core
        out[block.frames[0] : block.frames[1], y0:y1, x0:x1] = part
    return out.reshape(shape)


def _scalings(source: Source, masked: np.ndarray | None) -> list[FrameScale]:
    """Intensity scale of every frame that is too large for one task, from a regular subset of its pixels.

    Block by block through the engine, so that a lazy frame is never gathered; the subset does not depend on the blocks.
    """
    from hs_deepatoms.engine.plan import plan_blocks

    shape = source.data.shape[-2:]
    stride = max(1, int(np.sqrt(np.prod(shape) / SCALING_PIXELS)))
    blocks = plan_blocks(
        source.data.shape[:-2] or 1,
        shape,
        tile=2048 // stride * stride,
        halo=0,
        chunks=getattr(source.data, "chunks", None),
        align=stride,
    )
    # a few frames at a time: the subsets of a long stack would fill the memory
    groups = groupby(blocks, lambda block: block.frames[0] // SCALING_FRAMES)
    return [scale for _, group in groups for scale in _group_scalings(source.data, list(group), stride, masked)]


def _group_scalings(data, blocks: list[Block], stride: int, masked: np.ndarray | None) -> list[FrameScale]:
    from hs_deepatoms.engine.mapping import map_blocks
    from hs_deepatoms.prepare.blank import LineRange, blank_lines
    from hs_deepatoms.prepare.scaling import scale_without

    parts = map_blocks(data, blocks, _subset, arguments=(stride,), show_progressbar=False)
    first, stop = blocks[0].frames[0], blocks[-1].frames[1]
    shape = data.shape[-2:]
    pixels = {k: np.empty([-(-n // stride) for n in shape], data.dtype) for k in range(first, stop)}
    lines = {k: LineRange.none(shape) for k in range(first, stop)}
    for block, part in zip(blocks, parts, strict=True):
        y0, y1, x0, x1 = block.core
        for k, (subset, ranges) in enumerate(part, block.frames[0]):
            pixels[k][y0 // stride : -(-y1 // stride), x0 // stride : -(-x1 // stride)] = subset
            lines[k].merge(ranges, y0, x0)
    masked = None if masked is None else masked[::stride, ::stride]
    return [scale_without(blank_lines(lines[k], pixels[k]), pixels[k], masked, stride) for k in range(first, stop)]


def spread_out(frames: np.ndarray) -> list[int]:
    """All frames, a dozen that are spread over the whole stack first."""
    if not len(frames):
        return []
    first = np.unique(np.linspace(0, len(frames) - 1, SURVEY_ALL).round().astype(int))
    # the middle of the stack before its ends, where beams are blanked
    first = first[np.argsort(np.abs(first - (len(frames) - 1) / 2), kind="stable")]
    return [int(f) for f in np.concatenate([frames[first], np.delete(frames, first)])]


def together(frames: np.ndarray) -> list[tuple[int, ...]]:
    """The frames in groups to be looked at as a whole, which are the same for a stack that runs backwards.

    All of a short stack; of a longer one some that are spread around its middle, then pairs: those of a dozen that are
    spread over all of it, and the rest.
    """
    if len(frames) <= SURVEY_ALL:
        return [tuple(map(int, frames))]
    spread = spread_out(frames)
    few, rest = spread[:SURVEY_ALL], spread[SURVEY_ALL:]
    pairs = [*zip(few[SURVEY_SOME::2], few[SURVEY_SOME + 1 :: 2], strict=True)]
    half = len(rest) // 2
    pairs += [*zip(rest[:half], rest[::-1][:half], strict=True), *((f,) for f in rest[half : len(rest) - half])]
    return [tuple(few[:SURVEY_SOME]), *pairs]


def _subset(frames: np.ndarray, block: Block, stride: int) -> list:
    from hs_deepatoms.prepare.blank import LineRange

    return [(frame[::stride, ::stride].copy(), LineRange.of(frame)) for frame in frames]


def warn_of_nothing(sigma: float | None = None) -> None:
    """Say why a table is empty: it may be noise, or columns were expected that the detector did not see."""
    text = "This looks like noise or a film without columns, so none are reported. Give spacing= if there are some."
    if sigma is not None:
        text = (f"No columns are found, although there seem to be some with a sigma of about {sigma:.2g} px. Give "
                "spacing=, the distance of neighbouring columns.")  # fmt: skip
    warn_user(text)


def warn_of_much_left(sigma: float) -> None:
    """Say that there is more in an image than the columns that are found."""
    text = (f"Columns with a sigma of about {sigma:.2g} px leave much of the image unexplained: some that touch may be "
            "found as one. Look at them; spacing=, the distance of neighbouring columns, may help.")  # fmt: skip
    warn_user(text)


def warn_of_spacing(spacing: float, count: int, poor: bool) -> None:
    """Say that a given distance (pixels) does not fit what is seen: nothing is found, or much is left unexplained."""
    if count and not poor:
        return
    what = "much of the image is left unexplained" if count else "no columns are found"
    text = f"With columns {spacing:.3g} px apart, as spacing= says, {what}. Without it the distance is measured."
    warn_user(text)


def warn_of_oblong(ratio: float, ellipses: bool, frames: int | None = None) -> None:
    """Say that columns are not round, or those of so many frames of a stack, and what became of it."""
    where = "" if frames is None else f" of {frames} frame{'s' if frames > 1 else ''} that differ{'s' * (frames == 1)}"
    long = f"The columns{where} are {ratio:.2f} times as long as wide"
    if ellipses:
        text = (f"{long}, all in one direction, and are fitted as ellipses: astigmatism, a tilt or drift, or pairs too "
                "close to be told apart. elliptical=True fits ellipses without this warning.")  # fmt: skip
    else:
        text = f"{long} and are fitted as round ones: the error bars are too large for that."
        text += " elliptical=True fits their shape."
    warn_user(text)


def warn_of_doubt(sigma: float, dark: bool, count: int, *, either: bool) -> None:
    """Say that columns are reported of which neither width nor contrast is sure, or not the contrast."""
    kind = f"{count} {'dark' if dark else 'bright'} columns with a sigma of about {sigma:.2g} px are reported"
    why = f"{'Bright' if dark else 'Dark'} ones explain the image about as well" if either else (
        "It is not sure that there are any: neither their width nor their contrast is plain to see")  # fmt: skip
    text = (f"{kind}. {why}. Look at them: contrast='{'bright' if dark else 'dark'}', or spacing=, the distance of "
            "neighbouring columns, may be right.")  # fmt: skip
    warn_user(text)


def warn_of_indecision(sigma: float, share: float) -> None:
    """Say that many of the columns that are reported may be none."""
    text = (f"Of the columns that seem to be there, with a sigma of about {sigma:.2g} px, {share:.0%} are in doubt. "
            "Look at them; spacing= (of neighbouring columns), contrast= or threshold= may help.")  # fmt: skip
    warn_user(text)


def refuse_blank(source: Source, seen: Appearance, frames: np.ndarray, masked: np.ndarray | None = None) -> None:
    """Data without a single frame that has contrast; blank frames inside a good stack simply have no columns."""
    if seen.frames:
        return
    first = np.asarray(frame_of(source, int(frames[0])), float)
    finite = np.isfinite(first)
    valid = first[finite if masked is None else finite & ~masked]
    several = len(frames) > 1  # of these only the first is described: the others may be blank in another way
    image, its = (f"{len(frames)} images", " of the first") if several else ("an image", "")
    if masked is not None and masked.all():
        got, todo = f"{image} of which everything is masked", "True marks what is left out: invert the mask?"
    elif valid.size:
        constant = f"{image} without contrast" if several else "a constant image"
        got, todo = (
            f"{constant}: every valid pixel{its} is {valid[0]:g}",
            "Check the detector, and how the file was read.",
        )
    else:
        left = "NaN, infinite or masked" if finite.any() else _not_finite(first)
        without = "without contrast" if several else "without a valid pixel"
        got, todo = f"{image} {without}: every pixel{its} is {left}", "Check how the file was read."
    raise InvalidImageError(explain(got, "an image with contrast", todo))


def _not_finite(image: np.ndarray) -> str:
    missing = np.isnan(image)
    return "NaN" if missing.all() else "NaN or infinite" if missing.any() else "infinite"
