"""How wide are the columns of an image, and are they bright or dark? Measured from the image itself.

A few windows of a few frames are shown, at several magnifications, to the survey network; what it says at each
magnification is added up on one scale of absolute widths. A calibration, where there is one, is a gentle prior:
columns are between about 0.02 and 0.2 nm wide whatever the microscope.

Nothing depends on the order in which frames are given: they are put into one that follows from what they show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hs_deepatoms.prepare.masks import fill_invalid, invalid_pixels
from hs_deepatoms.prepare.resample import resample_frame
from hs_deepatoms.prepare.scaling import FrameScale, apply_scaling, frame_scale

MAGNIFICATIONS = (1, 2, 4, 8)
WINDOW = 128  # pixels of a window at every magnification
MOST_WINDOWS = {1: 5, 2: 4, 4: 2, 8: 2}  # of a frame, per magnification
IN_FULL = 3  # frames of which all windows are shown; of more as many in all, divided among them
TYPICAL_NM, SPREAD = 0.05, 1.0  # prior of the column sigma: median (nm) and standard deviation of its logarithm
DARK_CHANCE = 0.25  # prior odds of dark against bright columns
DOUBT = 0.14  # probability of "no columns" above which a few uncertain ones are not believed
# of the probability of the likelier contrast: from here on the other one is worth a look, and nearly as likely
RIVAL, CLOSE = 0.02, 0.1
NOTHING, CERTAINLY_NOTHING = 0.5, 0.8  # probability of "no columns" that has to be refuted, and that cannot be
NOTHING_CHANCE = 40.0  # prior weight of "no columns" against each single width (there are about fifty)
LARGEST = 32.0  # pixels: wider columns would need tiles too large for the memory budget
WIDEST = 8  # a column wider than this part of the frame is no column
NARROWEST = 0.72  # pixels: what is narrower is a pixel's noise; the detector has never been shown it
DEFAULT_SIGMA = 2.0  # pixels, where there is nothing to measure
TRAINED_SHARES = (0.026, 0.026, 0.42)  # of the samples: a width, bright or dark (kept rarer), and no columns
NEAR = 0.5  # octaves: widths that a frame may have by itself to show what is seen in all
FLOOR = 2e-3  # no single magnification may rule a width out


@dataclass(frozen=True)
class Appearance:
    """What the columns of an image look like.

    Attributes
    ----------
    sigma : float
        Column sigma, pixels.
    dark : bool
        Columns are darker than their surroundings.
    confidence : float
        Probability of this contrast and of widths within a factor 1.4, as the survey sees it.
    frames : tuple of int
        The frames with contrast that were looked at, those first that show such columns most clearly.
    doubtful : bool
        It may as well be noise, a film or vacuum: what is found has to be convincing as a whole.
    unlikely : bool
        Rather these than columns: only columns that explain the image refute it.
    rival : Appearance, optional
        The same for the other contrast, where that may be it: holes of a honeycomb look like dark columns.
    close : bool
        The rival is nearly as likely.
    """

    sigma: float
    dark: bool
    confidence: float
    frames: tuple[int, ...] = ()
    doubtful: bool = False
    unlikely: bool = False
    rival: Appearance | None = None
    close: bool = False


def survey_images(
    read: Callable[[int, slice, slice], np.ndarray],
    groups: Sequence[tuple[int, ...]],
    shape: tuple[int, int],
    classify: Callable[[np.ndarray], np.ndarray],
    *,
    first: float = 0.5,
    step: float = 0.25,
    pixel_nm: float | None = None,
    contrast: str = "auto",
    limits: tuple[float, float] | None = None,
    masked: np.ndarray | None = None,
    enough: int = 3,
) -> Appearance:
    """Estimate column width and contrast.

    Parameters
    ----------
    read : callable
        ``read(frame, rows, columns)`` returns pixels of one frame.
    groups : sequence of tuple of int
        Frames to look at; constant ones are skipped. Of a group all are looked at or none.
    shape : tuple of int
        (ny, nx) of a frame.
    classify : callable
        Crops, shape (n, 128, 128), to probabilities, shape (n, 2 * bins + 1); see
        :class:`~hs_deepatoms.nets.survey.SurveyNet`.
    first, step : float
        Width of the network's first bin (pixels) and the bins' spacing in octaves.
    pixel_nm : float, optional
        Pixel size, nm.
    contrast : {"auto", "bright", "dark"}
    limits : tuple of float, optional
        Smallest and largest sigma to consider, pixels.
    masked : ndarray, bool, shape (ny, nx), optional
    enough : int
        No further group is looked at after so many frames that are not constant.

    Returns
    -------
    Appearance
    """
    scalings = _scalings(read, groups, shape, masked, enough)
    if not scalings:
        return Appearance(_inside(DEFAULT_SIGMA, limits), contrast == "dark", 0.0)
    crops, levels, owner = _crops(read, scalings, shape, masked)
    said, levels, octave = classify(np.stack(crops)), np.array(levels), round(1 / step)
    evidence, nothing = _add_up(said, levels, octave)
    n = evidence.shape[1]
    sigma = first * 2 ** (step * np.arange(n))
    prior = _prior(sigma, pixel_nm, limits)
    prior[:, sigma > min(min(shape) / WIDEST, LARGEST)] -= 50
    if contrast != "auto":
        prior[0 if contrast == "dark" else 1] = -np.inf
    seen = _best(evidence, nothing, prior, sigma, limits)
    alone = {f: _add_up(said[owner == f], levels[owner == f], octave) for f in scalings}
    return replace(seen, frames=_clearest_first(alone, prior, sigma, seen))


def _scalings(read, groups, shape, masked, enough: int) -> dict[int, FrameScale]:
    """Frames that are not constant and their intensity scales, in an order that is told by the frames alone."""
    coarse = slice(0, None, _stride(shape))
    hidden = None if masked is None else masked[coarse, coarse]
    found, keys = {}, {}
    for group in groups:
        if len(found) >= enough:
            break
        for frame in group:
            pixels = read(frame, coarse, coarse)
            scaling = frame_scale(pixels, hidden)
            if scaling.span != 0:
                found[frame], keys[frame] = scaling, (scaling.span, scaling.centre, _mean(pixels))
    if len(set(keys.values())) < len(keys):  # of whole counts many a frame has the same
        keys = {f: (*key, hashlib.blake2b(_bytes(read(f, coarse, coarse))).digest()) for f, key in keys.items()}
    return {frame: found[frame] for frame in sorted(found, key=keys.__getitem__)}


def _mean(pixels: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):  # of infinities
        mean = float(np.mean(pixels, dtype=np.float64))
    return mean if np.isfinite(mean) else 0.0


def _bytes(pixels: np.ndarray) -> bytes:
    """The same for any type of pixels that holds these numbers."""
    return np.ascontiguousarray(pixels, np.float64).tobytes()


def _stride(shape) -> int:
    return max(1, int(np.sqrt(shape[0] * shape[1] / 2**18)))


def _crops(read, scalings: dict[int, FrameScale], shape, masked):
    """Windows at every magnification that fits the frame, scaled like whole frames are; and whose they are.

    Of many frames each shows some of its windows, the next frame the next ones: together they cover the field as
    evenly as a few frames do.
    """
    crops, levels, owner = [], [], []
    for number, (frame, scaling) in enumerate(scalings.items()):
        for level, most in MOST_WINDOWS.items():
            if level > 1 and min(shape) / level < 24:
                continue
            windows = _windows(shape, WINDOW * level, most=most)
            share = min(len(windows), -(-IN_FULL * len(windows) // len(scalings)))
            for k in range(share):
                rows, columns = windows[(number * share + k) % len(windows)] if share < len(windows) else windows[k]
                scaled = apply_scaling(read(frame, rows, columns), scaling[:2])
                hidden = _hidden(masked, scaling.blank, _stride(shape), rows, columns)
                scaled = fill_invalid(scaled, invalid_pixels(scaled, hidden))
                crops.append(_to_window(resample_frame(scaled, 1 / level) if level > 1 else scaled))
                levels.append(level)
                owner.append(frame)
    return crops, levels, np.array(owner)


def _clearest_first(alone: dict[int, tuple[np.ndarray, float]], prior, sigma, seen: Appearance) -> tuple[int, ...]:
    """Frames by how much more each by itself looks like these columns, or like any if none are seen, than nothing."""
    like, near = prior, np.abs(np.log2(sigma / seen.sigma)) <= NEAR
    if seen.confidence > 0 and near.any():
        like = np.full_like(prior, -np.inf)
        like[int(seen.dark), near] = 0
    clear = {frame: float((evidence + like).max()) - nothing for frame, (evidence, nothing) in alone.items()}
    return tuple(sorted(clear, key=lambda frame: -clear[frame]))


def _hidden(masked, blank, stride: int, rows: slice, columns: slice) -> np.ndarray | None:
    """Pixels of a window that are masked, or on a line that is blank as far as every ``stride``-th one tells."""
    hidden = None if masked is None else masked[rows, columns]
    if blank is None:
        return hidden
    y, x = (line[np.arange(s.start, s.stop) // stride] for line, s in zip(blank, (rows, columns), strict=True))
    lost = y[:, None] | x
    return lost if hidden is None else hidden | lost


def _windows(shape, side, most):
    """Up to ``most`` windows spread over the frame: the centre first, then towards the corners."""
    places = [(0.5, 0.5), (0.15, 0.15), (0.85, 0.85), (0.15, 0.85), (0.85, 0.15)]
    seen = []
    for fy, fx in places:
        top, left = (int(max(0, n - side) * f) for n, f in zip(shape, (fy, fx), strict=True))
        window = slice(top, min(shape[0], top + side)), slice(left, min(shape[1], left + side))
        if window not in seen:
            seen.append(window)
    return seen[:most]


def _to_window(image: np.ndarray) -> np.ndarray:
    image = image[:WINDOW, :WINDOW]
    missing = [WINDOW - n for n in image.shape]
    if any(missing):
        image = np.pad(image, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
    return image.astype(np.float32)


def _add_up(probability: np.ndarray, levels: np.ndarray, bins_per_octave: int) -> tuple[np.ndarray, float]:
    """Log likelihood of absolute widths, shape (2, n), and of there being no columns.

    Windows of a magnification are alternatives, magnifications are measurements. What the network says is divided by
    the share of its classes in training, which turns posteriors into likelihoods; dark columns, which are rarer there
    and in life, are not raised by it. A width that a magnification does not cover looks there like nothing.
    """
    bins = (probability.shape[1] - 1) // 2
    n = bins + bins_per_octave * int(np.log2(max(MAGNIFICATIONS)))
    usual = np.repeat(TRAINED_SHARES, [bins, bins, 1])
    evidence, nothing = np.zeros((2, n)), 0.0
    for level in np.unique(levels):
        likelihood = (probability[levels == level].mean(axis=0) + FLOOR) / usual
        absolute = np.full((2, n), likelihood[-1])
        shift = bins_per_octave * int(np.log2(level))
        absolute[:, shift : shift + bins] = likelihood[:-1].reshape(2, bins)
        evidence += np.log(absolute)
        nothing += np.log(likelihood[-1])
    return evidence, nothing


def _prior(sigma, pixel_nm, limits):
    """Log prior of bright and dark columns of each width, shape (2, n)."""
    prior = np.zeros_like(sigma)
    if pixel_nm:
        # heavy tails: a wrong calibration must not win against a clear picture
        prior = np.log(np.exp(-0.5 * (np.log(sigma * pixel_nm / TYPICAL_NM) / SPREAD) ** 2) + 0.01)
    if limits is not None:
        outside = (sigma < limits[0] / 1.1) | (sigma > limits[1] * 1.1)
        prior = np.where(outside, prior - 50, prior)
    return np.stack([prior, prior + np.log(DARK_CHANCE)])


def _best(evidence, nothing, prior, sigma, limits) -> Appearance:
    posterior = _normalised(np.append(evidence + prior, nothing + np.log(NOTHING_CHANCE)))
    doubtful = limits is None and bool(posterior[-1] > DOUBT)
    unlikely = limits is None and bool(posterior[-1] > NOTHING)
    if unlikely and posterior[-1] > CERTAINLY_NOTHING:
        return nothing_seen(not np.isfinite(prior[0, 0]))
    posterior = posterior[:-1].reshape(evidence.shape)
    both = [_peak(evidence[row], posterior[row], sigma, limits) for row in (0, 1)]
    # the peak of the posterior over a third of an octave, not a single bin
    row = int(both[1][2] > both[0][2])
    one, other = (Appearance(both[k][0], k == 1, both[k][1], doubtful=doubtful, unlikely=unlikely)
                  for k in (row, 1 - row))  # fmt: skip
    share = posterior[1 - row].sum() / max(posterior[row].sum(), 1e-30)
    return replace(one, rival=other if share > RIVAL else None, close=bool(share > CLOSE))


def nothing_seen(dark: bool = False) -> Appearance:
    """The appearance of an image in which no columns can be told."""
    return Appearance(DEFAULT_SIGMA, dark, 0.0, doubtful=True)


def _peak(evidence, posterior, sigma, limits) -> tuple[float, float, float]:
    """Width of the columns of one contrast, the posterior (n,) around it, and how high its peak is."""
    smooth = np.convolve(posterior, [0.5, 1, 0.5], "same")
    k = int(smooth.argmax())
    near = slice(max(0, k - 2), k + 3)
    # the prior chooses the peak, the image alone says where exactly it is
    weight = _normalised(evidence[near])
    width = max(float(np.exp((weight * np.log(sigma[near])).sum())), NARROWEST)
    return _inside(width, limits), float(posterior[near].sum()), float(smooth[k])


def _normalised(log_weight):
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def _inside(sigma, limits):
    return float(np.clip(sigma, *limits)) if limits is not None else float(sigma)
