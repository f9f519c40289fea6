"""Whether images are like those that an ensemble was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.atoms.agreement import variance_parts
from hs_deepatoms.atoms.detect import batched
from hs_deepatoms.atoms.pixelmaps import MapJob, probabilities
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.prepare.resample import resample, resampled_size, resampling_matrix
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scale
from hs_deepatoms.prepare.texture import cut_evenly, texture
from hs_deepatoms.training.familiarity import Familiarity

if TYPE_CHECKING:
    from hs_deepatoms.workflows.training_job import Ready

WINDOWS = 9  # of a frame that are looked at
LARGEST = 2048  # pixels, side of the part of a frame that they are cut from
FEWEST, MOST, PIXELS = 96, 160, 2**23  # training windows that are remembered, and their pixels in all
EXAMINED = 3  # frames before every prediction


def features(windows: np.ndarray, job: MapJob) -> np.ndarray:
    """What windows (n, h, w) look like, and how sure the members are about them; shape (n, d)."""
    parts = [_doubts(np.stack(batch), job) for batch in batched(windows, 16)]
    return np.column_stack([texture(windows), np.concatenate(parts)])


def learned_familiarity(ready: Ready, job: MapJob) -> Familiarity:
    """The training data, augmented as in the training, in feature space."""
    height, width = ready.training.window
    n = int(np.clip(PIXELS // (height * width), FEWEST, MOST))
    windows, image = _drawn(ready, n)
    return Familiarity.of(features(windows, job), image)


def frame_score(source: Source, frame: int, job: MapJob, seen: Familiarity, window: tuple[int, int]) -> float:
    """Median score of a frame's windows; NaN for a frame that is constant or left out."""
    view = job.view
    if view.skipped is not None and view.skipped[frame]:
        return float("nan")
    spans = [(max(0, n // 2 - LARGEST // 2), min(n, n // 2 + LARGEST // 2)) for n in view.shape]
    rows, columns = (slice(*span) for span in spans)
    pixels = np.asarray(images.frame_of(source, frame)[rows, columns])
    masked = None if view.masked is None else view.masked[rows, columns]
    scale = frame_scale(pixels, masked)
    if scale.span == 0:
        return float("nan")
    scaled = apply_scaling(pixels, scale[:2])
    scaled = fill_invalid(scaled, invalid_pixels(scaled, masked))
    if view.zoom != 1:
        scaled = resample(scaled, *(_to_grid(n, view.zoom) for n in scaled.shape))
    return float(np.median(seen.score(features(cut_evenly(scaled, window, WINDOWS), job))))


def examined(source: Source, job: MapJob, seen: Familiarity, window: tuple[int, int]) -> dict[str, Any]:
    """Score of some frames, with a warning if they are unlike the training data."""
    frames = images.spread_out(images.frames_to_use(int(np.prod(source.data.shape[:-2], dtype=np.int64)),
                                                    job.view.skipped))[:EXAMINED]  # fmt: skip
    scores = [frame_score(source, frame, job, seen, window) for frame in frames]
    known = [score for score in scores if np.isfinite(score)]
    worst = max(known, default=float("nan"))
    if worst > 1:
        text = (
            f"These images are unlike those that the ensemble was trained on: out-of-distribution score {worst:.1f}, "
            "expected below 1. Doubt what it finds; train it on such images, or adapt it with hs_deepatoms.elit()."
        )
        warn_user(text)
    return {"out_of_distribution": {"frames": frames, "scores": [round(score, 4) for score in scores]}}


def _doubts(windows: np.ndarray, job: MapJob) -> np.ndarray:
    """Shares of the classes, and both parts of the variance, as logarithms."""
    maps = probabilities(windows.astype(np.float32), job)
    maps = maps.reshape(len(maps), job.members, job.n_classes, *maps.shape[2:]).swapaxes(0, 1)
    _, aleatoric, epistemic = variance_parts(maps).mean((-1, -2))
    share = maps.mean((0, -1, -2))
    return np.column_stack([np.log10(share + 1e-3), np.log10(aleatoric + 1e-4), np.log10(epistemic + 1e-5)])


def _drawn(ready: Ready, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Augmented training windows (n, h, w), and the number of the image that each is cut from."""
    windows, image = [], []
    names: dict[tuple[int, int], int] = {}
    for k in range(n):
        rng = np.random.default_rng([ready.job.seed, k, 7])
        place = k % len(ready.training) if n >= len(ready.training) else k * len(ready.training) // n
        pixels, labels = (torch.from_numpy(part) for part in ready.training.get(place, rng))
        windows.append(ready.transform(pixels, labels, rng)[0][0].numpy())
        region = ready.training.places[place][0]
        image.append(names.setdefault((region.pair, region.frame), len(names)))
    return np.stack(windows), np.array(image)


def _to_grid(n: int, zoom: float):
    size = resampled_size(n, zoom)
    return resampling_matrix(0, size, zoom, (0, n), n)
