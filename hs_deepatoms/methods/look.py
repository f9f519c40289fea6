"""How a job looks at its images: options read, the survey made, the width measured, before the first block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.methods.sight import (
    CLEAR,
    EXPLAINED,
    FIT_WINDOW,
    POOR,
    WIDTH_COLUMNS,
    Sight,
    best_sight,
    columns_of,
    inner,
    middle,
    resolved,
    sight_at,
)
from hs_deepatoms.methods.typical_frame import SeenFrame, seen_in, typical_frame
from hs_deepatoms.modelfile.registry import AUTO
from hs_deepatoms.prepare.roundness import Smoothing, to_round

if TYPE_CHECKING:
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.prepare.survey import Appearance

SIGNAL_TO_NOISE = 5.0  # default threshold of the blob finders
# the width that the detector sees in one that was fitted, on average; how far that may be from the measured one, times;
# columns of a window whose middle has enough for a fit
AS_SEEN, STILL, ENOUGH = 0.955, (0.8, 1.25), 200
# relative error up to which a fitted width stands still when the image changes a little; else rungs per octave of those
# that the knots of the background stand by, and how far these are from those of 30 an octave
SURE_WIDTH, KNOT_RUNGS, BETWEEN = 0.01, 3, 2 ** (1 / 60)
COARSE = (0.8, 1.0)  # pixels: fitted widths that count for nothing, and fully
WIDTH_DECIDED = 0.06  # indecision up to which columns tell their width
OBLONG, SURELY = 1.1, 8.0  # long over short width, and how sure of it, from which columns are not round
# grid pixels in which a common shape is measured, how often at most, its steps, and the share of what round columns
# leave unexplained that may be left by oblong ones
SHAPE_WINDOW, SHAPE_ROUNDS, SHAPE_STEP, AS_WELL = 192, 5, 0.05, 1.05
TRIED_SHAPES = (0.55, 0.0), (-0.55, 0.0), (0.0, 0.55), (0.0, -0.55)  # where the detector sees next to nothing
REFUTED, MANY = 0.7, 30  # left unexplained by so many columns: there are columns, whatever the survey says
# column sigmas (pixels) tried where the survey sees none and the detector does; how undecided they may be, before the
# crystal has been asked
TRIED, ANY_DOUBT, TRIED_WINDOW = (1.0, 2**0.5, 2.0, 2**1.5, 4.0), 0.4, 192  # the last in pixels
SAME = 0.2  # octaves: widths that are one
NEARLY, CLEARER = 1.05, 0.05  # unexplained by the other contrast, relative to this one; and its further indecision
# whiteness of what the columns leave over below which the other contrast is tried, as bright spots between dense dark
# columns are no Gaussians; at these shares of their width
IMPURE, GAPS = 0.9, (1.0, 0.75)
# the share of the unexplained that a contrast may leave, or how much more it must explain, to replace one that the
# survey finds much likelier
INSTEAD, BY_FAR = 0.8, 1.5
FILM = 0.25  # indecision of the grain of films; of columns it is less
TWICE = 1.4  # times as many columns, and more, as there are in a lattice between one and two


@dataclass(frozen=True)
class Look:
    """How this job looks at its images: everything decided before the first block."""

    method: str
    model: images.Model
    device: str
    sigma: float  # on a ladder, from the measured width on
    dark: bool
    confidence: float
    threshold: float
    spacing_px: float | None
    masked: np.ndarray | None
    skipped: np.ndarray | None
    doubtful: bool = False
    refine: str = "none"
    elliptical: bool | str = False  # as asked
    poor: bool = False  # a fit at this width leaves over much that is no noise
    either: bool = False  # columns of the other contrast explain the image about as well
    ellipse: tuple[float, float] | None = None  # plus and cross of the columns where these are plainly not round
    knot: float | None = None  # distance of the knots of the background, pixels
    rounded: bool = False  # oblong columns are made round before the detector sees them
    measured: int | None = None  # the frame whose columns told width and shape
    counts: bool = False  # what looks like columns is single counts

    @property
    def oblong(self) -> float | None:
        """How much longer than wide columns are that are plainly not round."""
        return None if self.ellipse is None else float(np.exp(np.hypot(*self.ellipse)))

    @property
    def ellipses(self) -> bool:
        """Columns are fitted as ellipses."""
        if self.elliptical == AUTO:
            return self.ellipse is not None and self.refine != "none"
        return bool(self.elliptical)

    @property
    def rounding(self) -> Smoothing | None:
        """By what they are made round."""
        return to_round(self.sigma, *self.ellipse) if self.rounded and self.ellipse is not None else None


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
    elliptical: bool | str = False,
    device: str = "auto",
    signal_mask=None,
    navigation_mask=None,
) -> Look:
    """Read the options, find the model, and survey the images: everything that is decided before the first block."""
    whole = whole or source
    found = images.find_model(model)
    device = choose_device(device)
    limit = _limit(threshold, found, method)
    masked = images.read_mask(signal_mask, whole.data.shape[-2:], "signal_mask", images.names(whole.signal))
    if masked is not None:
        height, width = source.data.shape[-2:]
        masked = masked[origin[0] : origin[0] + height, origin[1] : origin[1] + width]
    masked = outside if masked is None else masked if outside is None else masked | outside
    skipped = images.read_mask(navigation_mask, whole.data.shape[:-2], "navigation_mask",
                               images.names(whole.navigation))  # fmt: skip
    limits, spacing_px = images.width_limits(spacing, source.signal)
    frames = images.frames_to_use(int(np.prod(source.data.shape[:-2])), skipped)
    survey = partial(images.survey, source, found, contrast=contrast, limits=limits, masked=masked, device=device)
    seen = survey(frames)
    if len(frames):
        images.refuse_blank(source, seen, frames, masked)
    look = Look(method, found, device, seen.sigma, seen.dark, seen.confidence, limit, spacing_px, masked, skipped,
                seen.doubtful, refine, elliptical)  # fmt: skip
    if seen.unlikely or seen.rival is not None:
        look = _compared(source, look, seen, contrast)
    if look.confidence == 0:
        guess = _guessed(source, look, seen.frames, contrast) if method == "network" and limits is None else None
        if guess is None:
            return look
        look = guess
    if model is None or model == AUTO:
        look = _suited(source, look, seen.frames[0], threshold)
    # the grid that the width is measured on stands still, too; three rungs to one of those: the nearest stays that
    look = replace(look, sigma=on_the_ladder(look.sigma, rungs=30))
    round_ones = replace(look, elliptical=False)  # whose remains tell the shape
    if len(seen.frames) == 1:
        one = seen_in(source, round_ones, seen.frames[0])
    else:
        one = typical_frame(source, round_ones, seen.frames)
        alone = _of_one(round_ones, survey(np.array([one.frame])))
        if alone is not round_ones:
            round_ones, one = alone, seen_in(source, alone, one.frame)
    found = _measured(source, round_ones, one, limits, contrast)
    return replace(found, elliptical=elliptical, measured=one.frame)


def _suited(source: Source, look: Look, frame: int, threshold: float | str) -> Look:
    """The look with the shipped model for its contrast, if the default one sees columns that are not much in doubt.

    What was trained on dense columns of one contrast takes the grain of a fine film for them, and is surer of it.
    """
    from hs_deepatoms.atoms.pile import indecision

    suited = images.suited_model(look.dark)
    if suited.sha256 == look.model.sha256:
        return look
    if look.method == "network":
        seen = columns_of(source, look, look.sigma, *middle(source, look, frame))[0].probability
        if not len(seen) or indecision(seen) > FILM:
            return look
    return replace(look, model=suited, threshold=_limit(threshold, suited, look.method))


def _of_one(look: Look, alone: Appearance) -> Look:
    """The look at the width that one of several frames has by itself, where they differ: the survey adds up all."""
    if alone.doubtful or alone.dark != look.dark or abs(np.log2(alone.sigma / look.sigma)) < SAME:
        return look
    return replace(look, sigma=on_the_ladder(alone.sigma, rungs=30))


def _compared(source: Source, look: Look, seen: Appearance, contrast: str) -> Look:
    """The look of that contrast whose columns explain the middle of a frame better; of none if they hardly do."""
    from hs_deepatoms.prepare.survey import nothing_seen

    both = [one for one in (seen, seen.rival) if one is not None]
    looks = [replace(look, sigma=one.sigma, dark=one.dark, confidence=one.confidence) for one in both]
    window, masked = middle(source, min(looks, key=lambda one: one.sigma), seen.frames[0])
    sights = [resolved(source, one, sight_at(source, one, one.sigma, window, masked), window, masked) for one in looks]
    best = min(range(len(looks)), key=lambda k: sights[k].unexplained)
    by_far = _by_far(sights[best].unexplained, sights[0].unexplained) and not _are_gaps(sights[best], sights[0])
    best = best if seen.close or by_far else 0
    sight = sights[best]
    hardly = sight.unexplained > REFUTED or len(sight.columns.y) < MANY or sight.indecision > _decided(sight)
    if seen.unlikely and hardly:
        return replace(look, sigma=nothing_seen().sigma, dark=contrast == "dark", confidence=0.0)
    return replace(looks[best], sigma=sight.sigma, either=any(_as_good(s, sight) for s in sights if s is not sight))


def _decided(sight: Sight) -> float:
    """How undecided columns may be that are to be believed, the less the more they leave unexplained."""
    return CLEAR if sight.unexplained < POOR else WIDTH_DECIDED


def _are_gaps(other: Sight, this: Sight) -> bool:
    """Whether columns of the other contrast are so many that they are rather the gaps between these, two to a column,
    which make up for a flat top."""
    return len(other.columns.y) > TWICE * len(this.columns.y)


def _by_far(other: float, this: float) -> bool:
    """Whether this much unexplained is so much less that it outweighs what the survey saw."""
    return other < INSTEAD * this or 1 - other > BY_FAR * (1 - this)


def _as_good(other: Sight, best: Sight) -> bool:
    """Whether columns that are not clear have a rival of the other contrast, no less clear, that explains as much."""
    if best.indecision < CLEAR or len(other.columns.y) < MANY:
        return False
    return other.indecision < best.indecision + CLEARER and other.unexplained < NEARLY * best.unexplained


def _guessed(source: Source, look: Look, frames: tuple[int, ...], contrast: str) -> Look | None:
    """Where the survey is sure of nothing: the look of the columns that explain the middle of a frame best.

    None where the detector sees hardly any at the usual width, as in noise, in a film, or of a few single atoms.
    """
    from hs_deepatoms.atoms.pile import indecision

    if not frames:
        return None
    window, masked = middle(source, look, frames[0])
    rows, columns = (inner(n, TRIED_WINDOW) for n in window.shape)
    window, masked = window[rows, columns], None if masked is None else masked[rows, columns]
    usual = columns_of(source, look, look.sigma, window, masked)[0]
    if len(usual.y) < MANY or indecision(usual.probability) > ANY_DOUBT:
        return None
    contrasts = (False, True) if contrast == "auto" else (look.dark,)
    looks = [replace(look, sigma=sigma, dark=dark) for dark in contrasts for sigma in TRIED]
    sights = [(sight_at(source, one, one.sigma, window, masked), one) for one in looks]
    seen = [
        (s.unexplained, k) for k, (s, _) in enumerate(sights) if len(s.columns.y) >= MANY and s.indecision < ANY_DOUBT
    ]
    return sights[min(seen)[1]][1] if seen else None


def _limit(threshold: float | str, model: images.Model, method: str) -> float:
    """The threshold in the detector's own probabilities; in signal-to-noise ratio for the blob finders."""
    from hs_deepatoms.atoms.reliability import raw, reliable

    if method != "network":
        return images.read_threshold(threshold, SIGNAL_TO_NOISE, probability=False)
    if isinstance(threshold, str) and threshold == "auto":
        return model.threshold
    default = round(float(reliable(model.threshold, model.reliability)), 2)
    return float(raw(images.read_threshold(threshold, default), model.reliability))


def on_the_ladder(sigma: float, rungs: int = 10) -> float:
    """The nearest of fixed widths, by default a tenth of an octave apart.

    A lost line or a hot pixel moves the measured width by a few thousandths; with it every sample of the resampled grid
    would move, and every position by its noise. On fixed widths the grid, and the result, stay as they are.
    """
    return float(max(2 ** (np.round(rungs * np.log2(sigma)) / rungs), images.NARROWEST))


def _at_width(look: Look, width: float, still: float | None = None) -> Look:
    """The look at columns of a measured width.

    The knots of the background are not on the same ladder: where a lost line takes the width to the next rung they
    would all stand elsewhere, and move single atoms on a rough film. They follow a width that stands ``still`` (see
    `_still_width`); without one they are on a ladder of few rungs.
    """
    from hs_deepatoms.atoms.ground import KNOT

    still = _on_few_rungs(width / AS_SEEN) if still is None else still
    still = max(float(np.clip(AS_SEEN * still, *(share * width for share in STILL))), images.NARROWEST)
    return replace(look, sigma=on_the_ladder(width), knot=KNOT * still)


def _on_few_rungs(width: float) -> float:
    """The nearest of few widths; none that is on the other ladders stands midway between two of them."""
    return BETWEEN * on_the_ladder(width / BETWEEN, rungs=KNOT_RUNGS)


def _still_width(sight: Sight, found: Points, window: np.ndarray, job: Detection) -> float | None:
    """The column sigma (pixels) of a fit, which a lost line moves far less than what the detector says; of the whole
    window where columns are few; the nearest of few widths where it is not sure to a hundredth. None without a fit."""
    from hs_deepatoms.atoms.block import FEW_COLUMNS, whole_residue, widths

    few = FEW_COLUMNS <= len(found.y) < ENOUGH and np.isclose(sight.sigma, job.column_sigma)
    seen = widths(whole_residue(found, window, job) if few else sight.remains)
    if len(seen) < FEW_COLUMNS:
        return None
    logs = np.log(seen)
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    error = np.sqrt(np.pi / 2 / len(seen)) * spread  # of the median
    return float(np.median(seen)) if error < SURE_WIDTH else _on_few_rungs(float(np.median(seen)))


def _measured(source: Source, look: Look, one: SeenFrame, limits, contrast: str) -> Look:
    """The look at the width that the detector sees in the middle of one frame, and what is to be said of a fit there.

    That it leaves over much that is no noise; that the columns are not round.
    """
    from hs_deepatoms.atoms.residue import oblongness
    from hs_deepatoms.atoms.single_counts import are_single_counts

    window, masked, found, job = one.window, one.masked, one.found, one.job
    sight = best_sight(source, look, found, job, window, masked)
    if contrast == "auto" and (width := _inverted(source, look, sight, job, window, masked)) is not None:
        look = replace(look, dark=not look.dark, sigma=on_the_ladder(width, rungs=30))
        found, job = columns_of(source, look, look.sigma, window, masked)
        sight = best_sight(source, look, found, job, window, masked)
    if limits is None and are_single_counts(sight.remains, sight.sigma):
        return replace(look, confidence=0.0, doubtful=True, counts=True)
    width = _width(look, sight, found, window, job, limits)
    look = _at_width(replace(look, poor=sight.poor), width, _still_width(sight, found, window, job))
    rows, columns = (inner(n, SHAPE_WINDOW / job.zoom) for n in window.shape)
    window, masked = window[rows, columns], None if masked is None else masked[rows, columns]
    shape, sureness = oblongness(sight.remains)
    if np.hypot(*shape) < np.log(OBLONG) or sureness < SURELY:
        shape = _tried_shape(source, look, sight, window, masked)
    return look if shape is None else _oblong(source, look, shape, window, masked, limits)


def _inverted(source: Source, look: Look, sight: Sight, job: Detection, window: np.ndarray, masked) -> float | None:
    """The width of columns of the other contrast that explain the middle of a frame much better than those seen.

    None if there are none. Asked only where the columns seen leave over what is no noise; the others must not.
    """
    from hs_deepatoms.atoms.block import whiteness

    if look.method != "network" or len(sight.columns.y) < MANY or whiteness(sight.remains) > IMPURE:
        return None
    rows, columns = (inner(n, FIT_WINDOW / job.zoom) for n in window.shape)
    masked = None if masked is None else masked[rows, columns]
    widths = [share * sight.sigma for share in GAPS if share * sight.sigma >= images.NARROWEST]
    other = replace(look, dark=not look.dark)
    sights = [sight_at(source, other, width, window[rows, columns], masked) for width in widths]
    # many small ones explain noise that was blurred, too, but they are not clear
    seen, most = [s for s in sights if len(s.columns.y) >= MANY and s.indecision <= CLEAR], INSTEAD * sight.unexplained
    # gaps, of which there are many, are fitted last: they only count against others
    if not any(s.unexplained <= most and s.indecision <= _decided(s) for s in seen if not _are_gaps(s, sight)):
        return None
    best = min((s for s in seen if s.indecision <= _decided(s)), key=lambda s: s.unexplained)
    if _are_gaps(best, sight) or whiteness(best.remains) < IMPURE:
        return None
    return best.sigma


def _tried_shape(source: Source, look: Look, sight: Sight, window: np.ndarray, masked) -> tuple[float, float] | None:
    """The shape of columns so oblong and so dense that the detector hardly sees any before they are made round."""
    if look.method != "network" or (len(sight.columns.y) >= MANY and sight.indecision <= CLEAR):
        return None
    looks = [replace(look, ellipse=shape, rounded=True, elliptical=True) for shape in TRIED_SHAPES]
    sights = [sight_at(source, one, one.sigma, window, masked) for one in looks]
    clear = [k for k, one in enumerate(sights) if len(one.columns.y) >= MANY and one.indecision < CLEAR]
    best = min(clear, key=lambda k: sights[k].unexplained, default=None)
    if best is None or sights[best].unexplained > EXPLAINED * min(sight.unexplained, 1.0):
        return None
    return TRIED_SHAPES[best]


def _oblong(source: Source, look: Look, shape, window: np.ndarray, masked, limits) -> Look:
    """The look at columns of a common shape: their width and that shape, as the detector sees them made round.

    Who sees long columns as two each hardly sees how long they are; with these made rounder it sees more, and so on.
    Nothing is made round where the columns seen then explain the image less well: those are pairs.
    """
    from hs_deepatoms.atoms.shape import common_shape

    one = replace(look, elliptical=True)
    for _ in range(SHAPE_ROUNDS):
        before, one = one, replace(one, ellipse=_on_the_grid(shape), rounded=look.method == "network")
        if one.ellipse == before.ellipse and one.sigma == before.sigma:
            break
        sight = sight_at(source, one, one.sigma, window, masked)
        seen = common_shape(sight.remains)
        if seen is None:
            return look
        width, *shape = seen
        one = _at_width(one, float(np.clip(width, *limits)) if limits else width)
    if one.rounding is not None and not sight.explains:
        plain = sight_at(source, replace(look, elliptical=True), look.sigma, window, masked)
        if not sight.unexplained < AS_WELL * plain.unexplained:
            return replace(look, ellipse=_on_the_grid(common_shape(plain.remains)[1:]))
    return replace(one, elliptical=look.elliptical, poor=sight.poor)


def _on_the_grid(shape) -> tuple[float, float]:
    """The nearest of fixed shapes, as widths are on a ladder."""
    return tuple(float(np.round(v / SHAPE_STEP) * SHAPE_STEP) for v in shape)


def _width(look: Look, sight: Sight, found: Points, window: np.ndarray, job: Detection, limits) -> float:
    """The survey's column sigma (pixels), corrected where the detector sees columns clearly, or a fit does."""
    from hs_deepatoms.atoms.block import fitted_width, whole_residue
    from hs_deepatoms.atoms.pile import indecision

    if sight.sigma < look.sigma:
        width = _told(fitted_width(sight.remains), float(np.median(sight.columns.width)))
    elif len(found.width) < WIDTH_COLUMNS:
        return look.sigma
    elif indecision(found.probability) <= WIDTH_DECIDED:
        width = float(np.median(found.width))
    else:
        width = _told(fitted_width(whole_residue(found, window, job)), look.sigma)
    sigma = max(sight.sigma * float(np.clip(width / sight.sigma, 0.75, 1.33)), images.NARROWEST)
    return float(np.clip(sigma, *limits)) if limits else sigma


def _told(fitted: float | None, otherwise: float) -> float:
    """The fitted width (pixels), or another one where there is none, or where it is too narrow for pixels to tell it.

    In between something of both, or noise would decide for one or the other.
    """
    if fitted is None:
        return otherwise
    share = float(np.clip((fitted - COARSE[0]) / (COARSE[1] - COARSE[0]), 0, 1))
    return otherwise ** (1 - share) * max(fitted, COARSE[1]) ** share
