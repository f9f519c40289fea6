"""How a job looks at its images: options read, the survey made, the width measured, before the first block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.prepare.survey import Appearance

SIGNAL_TO_NOISE = 5.0  # default threshold of the blob finders
UNCERTAIN = 0.1  # probability from which columns are looked at here
WIDTH_COLUMNS, WIDTH_WINDOW, WIDTH_DECIDED = 5, 320, 0.06  # columns, grid pixels, indecision
# a finer width to try; how many more columns must be seen there; the share of what was unexplained that may be left
FINER, MANY_MORE, EXPLAINED = 2**-0.5, 1.3, 0.7
REFUTED, MANY = 0.7, 30  # left unexplained by so many columns: there are columns, whatever the survey says


@dataclass(frozen=True)
class Look:
    """How this job looks at its images: everything decided before the first block."""

    method: str
    model: images.Model
    device: str
    sigma: float
    dark: bool
    confidence: float
    threshold: float
    spacing_px: float | None
    masked: np.ndarray | None
    skipped: np.ndarray | None
    doubtful: bool = False
    refine: str = "none"
    elliptical: bool = False


def look_at(
    source: Source,
    *,
    whole: Source | None = None,
    origin: tuple[int, int] = (0, 0),
    outside: np.ndarray | None = None,
    method: str = "network",
    model=None,
    contrast: str = "auto",
    threshold: float | str = "auto",
    spacing=None,
    refine: str = "none",
    elliptical: bool = False,
    device: str = "auto",
    signal_mask=None,
    navigation_mask=None,
) -> Look:
    """Read the options, find the model, and survey the images: everything that is decided before the first block."""
    whole = whole or source
    found = images.find_model(model)
    device = choose_device(device)
    limit = images.read_threshold(threshold, found.threshold if method == "network" else SIGNAL_TO_NOISE,
                                  probability=method == "network")  # fmt: skip
    masked = images.read_mask(signal_mask, whole.data.shape[-2:], "signal_mask", images.names(whole.signal))
    if masked is not None:
        height, width = source.data.shape[-2:]
        masked = masked[origin[0] : origin[0] + height, origin[1] : origin[1] + width]
    masked = outside if masked is None else masked if outside is None else masked | outside
    skipped = images.read_mask(navigation_mask, whole.data.shape[:-2], "navigation_mask",
                               images.names(whole.navigation))  # fmt: skip
    limits, spacing_px = images.width_limits(spacing, source.signal)
    frames = images.frames_to_use(int(np.prod(source.data.shape[:-2])), skipped)
    seen = images.survey(source, found, frames, contrast=contrast, limits=limits, masked=masked, device=device)
    if len(frames):
        images.refuse_blank(source, seen, masked)
    look = Look(method, found, device, seen.sigma, seen.dark, seen.confidence, limit, spacing_px, masked, skipped,
                seen.doubtful, refine, elliptical)  # fmt: skip
    if seen.unlikely or seen.rival is not None:
        look = _compared(source, look, seen, contrast)
    if look.confidence == 0:
        return look
    return replace(look, sigma=on_the_ladder(measured_width(source, look, seen.frames[0], limits)))


def _compared(source: Source, look: Look, seen: Appearance, contrast: str) -> Look:
    """The look of that contrast whose columns explain the middle of a frame better; of none if they hardly do."""
    from hs_deepatoms.atoms.block import unexplained, whole_residue
    from hs_deepatoms.atoms.pile import indecision
    from hs_deepatoms.prepare.survey import nothing_seen

    both = [one for one in (seen, seen.rival) if one is not None]
    looks = [replace(look, sigma=one.sigma, dark=one.dark, confidence=one.confidence) for one in both]
    window, masked = _middle(source, min(looks, key=lambda one: one.sigma), seen.frames[0])
    rests = []
    for one in looks:
        found, job = _columns_of(source, one, one.sigma, window, masked)
        rests.append((unexplained(whole_residue(found, window, job)), len(found.y), indecision(found.probability)))
    rest, number, doubt = min(rests)
    if seen.unlikely and (rest > REFUTED or number < MANY or doubt > WIDTH_DECIDED):
        return replace(look, sigma=nothing_seen().sigma, dark=contrast == "dark", confidence=0.0)
    return looks[rests.index((rest, number, doubt))]


def on_the_ladder(sigma: float) -> float:
    """The nearest of fixed widths, a tenth of an octave apart.

    A lost line or a hot pixel moves the measured width by a few thousandths; with it every sample of the resampled grid
    would move, and every position by its noise. On fixed widths the grid, and the result, stay as they are.
    """
    return float(max(2 ** (np.round(10 * np.log2(sigma)) / 10), images.NARROWEST))


def measured_width(source: Source, look: Look, frame: int, limits) -> float:
    """The survey's width, corrected by the detector where it sees columns clearly, in the middle of one frame."""
    from hs_deepatoms.atoms.block import fitted_width, whole_residue
    from hs_deepatoms.atoms.pile import indecision

    window, masked = _middle(source, look, frame)
    found, job = _columns_of(source, look, look.sigma, window, masked)
    if len(found.width) < WIDTH_COLUMNS:
        return look.sigma
    start = look.sigma
    finer = _resolved_width(source, look, window, masked, found, job)
    if finer is not None:
        start, width = finer
    elif indecision(found.probability) <= WIDTH_DECIDED:
        width = float(np.median(found.width))
    else:
        width = fitted_width(whole_residue(found, window, job)) or look.sigma
    sigma = start * float(np.clip(width / start, 0.75, 1.33))
    sigma = max(sigma, images.NARROWEST)
    return float(np.clip(sigma, *limits)) if limits else sigma


def _resolved_width(source: Source, look: Look, window, masked, found: Points, job: Detection):
    """A finer width to start from and the one measured there, where columns turn out to be several; else None.

    Two columns that just touch look like a wide one. If at a finer width many more are seen, and clearly, and these
    explain the image much better, they are right. A first look at a quarter of the window costs little.
    """
    from hs_deepatoms.atoms.block import unexplained, whole_residue
    from hs_deepatoms.atoms.pile import indecision

    sigma = FINER * look.sigma
    if sigma < images.NARROWEST:
        return None
    middle = tuple(slice(n // 4, n - n // 4) for n in window.shape)
    few, _ = _columns_of(source, look, sigma, window[middle], None if masked is None else masked[middle])
    rows, columns = middle
    here = (found.y > rows.start) & (found.y < rows.stop) & (found.x > columns.start) & (found.x < columns.stop)
    if len(few.y) <= MANY_MORE * here.sum() or indecision(few.probability) > WIDTH_DECIDED:
        return None
    finer, finer_job = _columns_of(source, look, sigma, window, masked)
    if len(finer.width) < WIDTH_COLUMNS:  # scaled as a whole the window may show none of them
        return None
    rests = [unexplained(whole_residue(p, window, j)) for p, j in ((found, job), (finer, finer_job))]
    return (sigma, float(np.median(finer.width))) if rests[1] < EXPLAINED * rests[0] else None


def _middle(source: Source, look: Look, frame: int):
    """The middle of a frame, and the mask there."""
    zoom = detection_job(source, look).zoom
    shape = source.data.shape[-2:]
    half = [int(min(n, WIDTH_WINDOW / zoom)) // 2 for n in shape]
    rows, columns = (slice(n // 2 - h, n // 2 + h) for n, h in zip(shape, half, strict=True))
    masked = None if look.masked is None else look.masked[rows, columns]
    return np.asarray(images.frame_of(source, frame)[rows, columns]), masked


def _columns_of(source: Source, look: Look, sigma: float, window: np.ndarray, masked) -> tuple[Points, Detection]:
    """What the detector sees in a small frame at one width, and the job that it did."""
    from hs_deepatoms.atoms.detect import detect
    from hs_deepatoms.engine.plan import Block

    look = replace(look, sigma=sigma, skipped=None, masked=None, threshold=UNCERTAIN, refine="quick")
    job = replace(detection_job(source, look), shape=window.shape, masked=masked, certain=look.model.threshold)
    whole = (0, window.shape[0], 0, window.shape[1])
    return detect(window[None], Block((0, 1), whole, whole), job), job


def detection_job(source: Source, look: Look) -> Detection:
    """What every block's task needs to know."""
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.modelfile.cache import cached_module

    network = cached_module(look.model.path, look.model.sha256, look.device, name="detector")
    return Detection(
        model=look.model.path,
        sha256=look.model.sha256,
        device=look.device,
        zoom=network.sigma / look.sigma,
        halo=network.halo,
        multiple=network.multiple,
        shape=tuple(source.data.shape[-2:]),
        dark=look.dark,
        threshold=look.threshold,
        calibration=look.model.calibration,
        masked=look.masked,
        skipped=None if look.skipped is None else look.skipped.ravel(),
        apart=None if look.spacing_px is None else 0.5 * look.spacing_px,
        refine=look.refine,
        elliptical=look.elliptical,
        certain=look.threshold,
    )
