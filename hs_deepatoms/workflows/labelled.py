"""Labelled samples for training: windows of images and their labels, read when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hs_deepatoms._core.errors import InvalidImageError, explain
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods.labels import Labels
from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.prepare.scaling import FrameScale, apply_scaling, frame_scale

KEPT = 256 * 2**20  # bytes of lazy frames that are kept in memory
FEW_FRAMES = 4  # fewer frames than these are not held out whole: a part of each is


@dataclass(frozen=True)
class Region:
    """A part of one frame that samples are cut from: rows and columns ``box`` = (y0, y1, x0, x1)."""

    pair: int
    frame: int
    box: tuple[int, int, int, int]


class LabelledSet:
    """Images with labels, from which windows of one size are cut.

    Every frame is scaled as ``find_atoms`` scales it, by its own robust percentiles; pixels without a value are filled,
    and their labels set to "not labelled".

    Parameters
    ----------
    pairs : sequence of (Source, Labels)
        Images of any size; lazy ones are read frame by frame, and only a few frames are kept.
    window : (int, int)
        Height and width of a sample.
    regions : sequence of Region, optional
        Where samples come from; by default all frames.
    fixed : bool
        Windows that tile the regions, always the same ones (validation), instead of random ones.
    """

    def __init__(self, pairs: Sequence[tuple[Source, Labels]], window: tuple[int, int], regions=None, fixed=False):
        self.pairs, self.window = list(pairs), window
        self.regions = whole_frames(self.pairs) if regions is None else list(regions)
        self.places = [place for region in self.regions for place in self._places(region, fixed)]
        self._frames: OrderedDict[tuple[int, int], tuple[np.ndarray, FrameScale]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.places)

    def get(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Image (1, h, w), float32, and target of one sample."""
        region, corner = self.places[index]
        if corner is None:
            corner = [int(rng.integers(high - low - n + 1)) + low for (low, high), n in zip(
                (region.box[:2], region.box[2:]), self.window, strict=True)]  # fmt: skip
        rows, columns = (slice(start, start + n) for start, n in zip(corner, self.window, strict=True))
        frame, scale = self._frame(region.pair, region.frame)
        scaled = apply_scaling(frame[rows, columns], scale[:2])
        bad = invalid_pixels(scaled)
        target = self.pairs[region.pair][1].read(region.frame, rows, columns)
        if bad.any():
            target = np.where(bad, target.dtype.type(-1), target)
        return fill_invalid(scaled, bad)[None], target

    def labelled(self, index: int) -> bool:
        """Whether a sample of a fixed place has a label; its image is not read for that."""
        region, (y, x) = self.places[index]
        return self.pairs[region.pair][1].any(region.frame, slice(y, y + self.window[0]), slice(x, x + self.window[1]))

    def class_shares(self, n_classes: int, samples: int = 200) -> np.ndarray:
        """Share of the pixels of every class, the background first; from some of the samples."""
        total = np.zeros(n_classes + 1)
        for index in np.unique(np.linspace(0, len(self) - 1, samples).astype(int)):
            target = self.get(index, np.random.default_rng([0, int(index)]))[1]
            if target.ndim == 2:
                total += np.bincount(target[target >= 0], minlength=n_classes + 1)
            else:
                share = target.clip(0).sum((1, 2))
                total += np.concatenate([[target[0].size - share.sum()], share])
        return total.clip(1) / total.clip(1).sum()

    def _places(self, region: Region, fixed: bool):
        """What an epoch takes from a region: as many windows as it takes to cover it."""
        y0, y1, x0, x1 = region.box
        counts = [-(-(b - a) // n) for (a, b), n in zip(((y0, y1), (x0, x1)), self.window, strict=True)]
        if not fixed:
            return [(region, None)] * int(np.prod(counts))
        starts = [np.linspace(a, b - n, c).astype(int) for (a, b), n, c in zip(
            ((y0, y1), (x0, x1)), self.window, counts, strict=True)]  # fmt: skip
        return [(region, (int(y), int(x))) for y in starts[0] for x in starts[1]]

    def _frame(self, pair: int, frame: int) -> tuple[np.ndarray, FrameScale]:
        key = (pair, frame)
        if key not in self._frames:
            data = self.pairs[pair][0].data
            pixels = np.asarray(data[np.unravel_index(frame, data.shape[:-2])] if data.ndim > 2 else data)
            scale = frame_scale(pixels)
            if scale.span == 0:
                got = f"frame {frame} of image {pair}, which is constant or has no valid pixel"
                raise InvalidImageError(explain(got, "images with contrast", "Leave this frame out."))
            self._frames[key] = pixels, scale
        self._frames.move_to_end(key)
        while len(self._frames) > 1 and sum(p.nbytes for p, _ in self._frames.values()) > KEPT:
            self._frames.popitem(last=False)
        return self._frames[key]


def whole_frames(pairs) -> list[Region]:
    """Every frame of every pair."""
    return [
        Region(k, frame, (0, source.data.shape[-2], 0, source.data.shape[-1]))
        for k, (source, _) in enumerate(pairs)
        for frame in range(int(np.prod(source.data.shape[:-2], dtype=np.int64)))
    ]


def window_of(pairs, largest: int = 256) -> tuple[int, int]:
    """The square window that fits into every image, at most ``largest``."""
    side = min(min(source.data.shape[-2:]) for source, _ in pairs)
    return (min(side, largest),) * 2


def held_out(share: float, number: int) -> int:
    """How many of some frames are held out: at least one, and one is left to train on."""
    return min(max(1, round(share * number)), number - 1)


def split(
    regions: Sequence[Region],
    share: float,
    window: tuple[int, int],
    seed: int,
    labelled: Callable[[Region], bool] = lambda region: True,
):
    """Regions for training and for validation, which have no pixel in common.

    Whole frames where enough of them have labels, else a strip at the bottom of each that has; no validation where
    images are too small for that. Frames without a label stay in the training: held out they would say nothing.
    """
    if share <= 0:
        return list(regions), []
    known = [k for k, region in enumerate(regions) if labelled(region)]
    if len(known) >= FEW_FRAMES:
        order = np.random.default_rng([seed, 5]).permutation(len(regions))
        held = set(order[np.isin(order, known)][: held_out(share, len(known))])
        return [r for k, r in enumerate(regions) if k not in held], [regions[k] for k in sorted(held)]
    training, validation = [], []
    for k, region in enumerate(regions):
        parts = _strips(region, share, window) if k in known else None
        if parts is None or not all(map(labelled, parts)):
            training.append(region)
            continue
        training.append(parts[0])
        validation.append(parts[1])
    return training, validation


def _strips(region: Region, share: float, window: tuple[int, int]) -> tuple[Region, Region] | None:
    """The upper part of a region and a strip at its bottom; None where it is too small for both."""
    y0, y1, x0, x1 = region.box
    cut = y1 - max(window[0], round(share * (y1 - y0)))
    if cut - y0 < window[0]:
        return None
    return Region(region.pair, region.frame, (y0, cut, x0, x1)), Region(region.pair, region.frame, (cut, y1, x0, x1))


def has_labels(pairs: Sequence[tuple[Source, Labels]], region: Region) -> bool:
    """Whether any pixel of a region is labelled."""
    y0, y1, x0, x1 = region.box
    return pairs[region.pair][1].any(region.frame, slice(y0, y1), slice(x0, x1))
