"""From a pair of signals to a trained model: masks, targets, splits, training, scores."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidImageError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_sources import Pair
from hs_deepatoms.methods.pair_tiles import image_tiles
from hs_deepatoms.spectra.blocks import TRAIN, Split, block_splits, default_folds, given_split, random_split
from hs_deepatoms.spectra.fitting import Options, Paired, Pairing, fit_pairing
from hs_deepatoms.spectra.grid import aligned, first_pixel
from hs_deepatoms.spectra.noise import noise_of
from hs_deepatoms.spectra.output import SpectrumOutput
from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.space import SpectrumSpace, fit_space, with_channel_variance
from hs_deepatoms.spectra.spikes import learn_spikes
from hs_deepatoms.training.recipe import Recipe

COUNTED = ("EELS", "EDS_TEM", "EDS_SEM", "EDS")
NEGATIVE = 0.02  # of the sum: negative values up to this are the read-out noise of a detector that counts
LOG_WEIGHT = 0.2  # what the logarithm of the total counts in the training, next to the shape
LEAST = 64  # spectra
FEWEST_CHANNELS = 4
ZLP = 0.02  # of its height: where the zero loss ends


@dataclass(eq=False)
class Learned:
    """What was learned, with all that the scores need.

    Attributes
    ----------
    rows : SpectrumRows
    space : SpectrumSpace
    paired : Paired
    splits : list of Split
    image : numpy.ndarray
        The aligned, padded images (c, H, W).
    window : int
    totals : numpy.ndarray, shape (ny, nx)
    scores : numpy.ndarray, shape (k, ny, nx)
    valid : numpy.ndarray of bool, shape (ny, nx)
    notes : dict
        What was decided or left out.
    tiles : numpy.ndarray, shape (c, ny, nx), optional
        Pixels of the image, where these are the targets.
    """

    rows: SpectrumRows
    space: SpectrumSpace
    paired: Paired
    splits: list[Split]
    image: np.ndarray
    window: int
    step: int
    totals: np.ndarray
    scores: np.ndarray
    valid: np.ndarray
    notes: dict = field(default_factory=dict)
    tiles: np.ndarray | None = None

    @property
    def output(self) -> SpectrumOutput:
        """How outputs become spectra."""
        model = self.paired.model
        return SpectrumOutput(self.space, model.correlation.numpy(), bool(model.spectrum))

    def part(self, which: int) -> np.ndarray:
        """Pixels (ny, nx) that belong to a part in one of the splits."""
        return np.any([split.of(which) for split in self.splits], axis=0)


def learn_spectra(pair: Pair, window: int, asked: PairRequest) -> Learned:
    """Train on a pair: from the image to the spectra."""
    step = max(line.step for line in pair.lines)
    prepared = prepare(pair, window, max(1, -(-window // step)), asked)
    rows, space, image, splits = prepared.rows, prepared.space, prepared.image, prepared.splits
    targets, noise = targets_of(prepared)
    whole = asked.target == "spectrum"
    spread = None if space.poisson else space.channel_variance
    pairing = Pairing(image, targets, noise, target_weights(space), window, step,
                      _reader(rows, space) if whole else None, rows.n_channels if whole else 0, spread,
                      _log(space.mean) if space.poisson else space.mean, space.k if whole else 0,
                      channel_noise(prepared))  # fmt: skip
    prepared.paired = fit_pairing(pairing, splits, recipe_of(asked, prepared), options_of(asked))
    told = prepared.paired.model.told.numpy() > 0
    silent = [f"score {one}" for one in np.flatnonzero(~told[: space.k])]
    prepared.notes["not_told"] = ", ".join(silent if told[space.k :].all() else [*silent, "the total"])
    return prepared


def learn_image(pair: Pair, window: int, asked: PairRequest) -> Learned:
    """Train on a pair: from ``window`` x ``window`` spectra to the pixels of the image in their middle."""
    step = max(line.step for line in pair.lines)
    prepared = prepare(pair, step, window, asked)
    tiles = image_tiles(prepared.image, step)
    maps = spectral_maps(prepared.space, prepared.scores, prepared.totals, prepared.valid)
    prepared.image, prepared.window, prepared.step = padded(maps, window), window, 1
    prepared.tiles = tiles
    weights = np.full(len(tiles), 1 / len(tiles))
    pairing = Pairing(prepared.image, tiles, np.zeros_like(tiles), weights, window, 1)
    prepared.paired = fit_pairing(pairing, prepared.splits, recipe_of(asked, prepared), options_of(asked))
    told = prepared.paired.model.told.numpy() > 0
    prepared.notes["not_told"] = "" if told.any() else "the image"
    return prepared


def spectral_maps(space: SpectrumSpace, scores: np.ndarray, totals: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Scores and the logarithm of the total of every spectrum, (k + 1, ny, nx); those without one have the mean's."""
    if not space.normalised:
        return scores
    log = np.log(np.where(valid & (totals > 0), totals, 1)).astype(np.float32)
    log[~valid] = np.median(log[valid]) if valid.any() else 0
    return np.concatenate([scores, log[None]])


def padded(maps: np.ndarray, window: int) -> np.ndarray:
    """Maps with mirrored rims, so that every pixel has a window."""
    before = first_pixel(window, 1)
    after = window - 1 - before
    return np.pad(maps, ((0, 0), (before, after), (before, after)), mode="symmetric")


def prepare(pair: Pair, window: int, gap: int, asked: PairRequest) -> Learned:
    """Everything up to the training: which spectra are used, their scores, the split."""
    shape = pair.inside.shape
    steps = {line.step for line in pair.lines}
    step = max(steps)
    lines = tuple(pair.lines) if len(steps) == 1 else tuple(replace(line, forced=step) for line in pair.lines)
    image, holes = _filled(aligned(pair.images, lines, window))
    _check_contrast(image, holes)
    rows = _rows(pair, asked)
    valid, totals, notes = _usable(rows, pair, asked)
    in_holes = valid & _windows_with(holes, window, step, shape)
    if in_holes.any():
        warn_user(f"{int(in_holes.sum())} spectra are left out, in whose windows the image has NaN")
    valid &= ~in_holes
    count = int(valid.sum())
    if count < LEAST:
        got = f"{count} usable spectra, of {valid.size}"
        raise InvalidImageError(explain(got, f"at least {LEAST}", "Check the masks, NaN and the overlap."))
    splits = _splits(valid, gap, asked)
    poisson, counted, non_negative = (notes.pop(name) for name in ("poisson", "counted", "non_negative"))
    train = np.any([split.of(TRAIN) for split in splits], axis=0)
    _check_components(asked, rows, int(train.sum()))
    space, values = fit_space(rows, train, poisson=poisson, counted=counted, n_components=asked.n_components)
    if asked.likelihood == "learned":
        space = with_channel_variance(space, rows, train)
    space = replace(space, non_negative=non_negative)
    scores = scores_of(space, rows, valid)
    notes |= {"spikes": rows.repaired, "components": space.k, "gain": float(space.gain), "pixels": count,
              "likelihood": "poisson" if poisson else "gaussian", "eigenvalues": values[: space.k + 5].tolist(),
              "folds": len(splits)}  # fmt: skip
    return Learned(rows, space, None, splits, image, window, step, totals, scores, valid, notes)


def _check_components(asked: PairRequest, rows: SpectrumRows, spectra: int) -> None:
    most = min(rows.n_channels, spectra)
    if asked.n_components is not None and asked.n_components > most:
        got = f"n_components={asked.n_components} for {spectra} training spectra of {rows.n_channels} channels"
        todo = "Leave it out: as many as stand out of the noise are taken."
        raise InvalidArgumentError(explain(got, f"at most {most}", todo))


def scores_of(space: SpectrumSpace, rows: SpectrumRows, valid: np.ndarray) -> np.ndarray:
    """Scores (k, ny, nx) of all valid spectra, 0 for the others."""
    scores = np.zeros((space.k, *valid.shape), np.float32)
    for place, block in rows.blocks(valid):
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.moveaxis(space.scores(space.shapes(block)), -1, 0)
        scores[(slice(None), *place)] = np.where(valid[place], found, 0)
    return scores


def targets_of(learned: Learned) -> tuple[np.ndarray, np.ndarray]:
    """Targets (k, ny, nx) and the variance of their noise."""
    space = learned.space
    totals = np.where(learned.valid, learned.totals, 1).astype(np.float32)
    noise = space.score_noise(totals).astype(np.float32)
    if not space.normalised:
        return learned.scores, noise
    own = space.gain / totals if space.poisson else space.channel_variance.sum() / totals**2
    return np.concatenate([learned.scores, np.log(totals)[None]]), np.concatenate([noise, own[None]]).astype(np.float32)


def channel_noise(learned: Learned) -> np.ndarray | None:
    """Variance (ny, nx) of the noise of a channel of average brightness, relative to it; None without a total."""
    space = learned.space
    if not space.normalised:
        return None
    totals = np.where(learned.valid, learned.totals, 1).astype(np.float32)
    bright = max(abs(float(space.mean.mean())), 1e-12) * totals
    return space.gain / bright if space.poisson else float(space.channel_variance.mean()) / bright**2


def target_weights(space: SpectrumSpace) -> np.ndarray:
    """What each target counts: scores by what they change in the normalised spectrum."""
    weights = (space.basis.astype(float) ** 2).sum(1)
    weights = weights / weights.sum()
    return np.append(weights * (1 - LOG_WEIGHT), LOG_WEIGHT) if space.normalised else weights


def recipe_of(asked: PairRequest, learned: Learned) -> Recipe:
    """Length and schedule of the training."""
    count = int(learned.splits[0].of(TRAIN).sum())
    steps = asked.steps or int(np.clip(count / 16, 300, 2000))
    return Recipe(steps=steps, learning_rate=asked.learning_rate, seed=asked.seed, patience=7, weight_decay=1e-3,
                  validate_every=max(1, steps // 24))  # fmt: skip


def options_of(asked: PairRequest) -> Options:
    """How it is trained."""
    return Options(latent_dim=asked.latent_dim, variational=asked.variational, members=asked.members,
                   batch_size=asked.batch_size, device=asked.device, checkpoint=asked.checkpoint,
                   show_progressbar=asked.show_progressbar)  # fmt: skip


def _filled(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images with NaN replaced by the median, and where there was one, (H, W)."""
    holes = ~np.isfinite(image).all(0)
    if holes.all():
        raise InvalidImageError(explain("images without a finite pixel", "numbers", "Check the image."))
    if holes.any():
        for channel in image:
            bad = ~np.isfinite(channel)
            channel[bad] = np.median(channel[~bad]) if not bad.all() else 0
    return image, holes


def _check_contrast(image: np.ndarray, holes: np.ndarray) -> None:
    """Refuse images (c, H, W) that have the same value everywhere."""
    values = image[:, ~holes]
    if (values == values[:, :1]).all():
        got = f"an image that is {values[0, 0]:.4g} everywhere where the spectra are"
        raise InvalidImageError(explain(got, "an image with contrast", "Check how it was read, its region and shift."))


def _windows_with(holes: np.ndarray, window: int, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Windows (ny, nx) in which there is a hole."""
    if not holes.any():
        return np.zeros(shape, bool)
    views = np.lib.stride_tricks.sliding_window_view(holes, (window, window))[::step, ::step]
    return views.any((2, 3))


def _rows(pair: Pair, asked: PairRequest) -> SpectrumRows:
    n = pair.spectra.signal[0].size
    channels = None
    if asked.signal_mask is not None:
        mask = np.asarray(getattr(asked.signal_mask, "data", asked.signal_mask), bool)
        if mask.shape != (n,) or (~mask).sum() < FEWEST_CHANNELS:
            got = f"a signal_mask of shape {mask.shape} with {int((~mask).sum())} channels left"
            allowed = f"({n},), True for channels to leave out, at least {FEWEST_CHANNELS} left"
            raise InvalidArgumentError(explain(got, allowed, "Give one value per channel."))
        channels = np.flatnonzero(~mask)
    return SpectrumRows(pair.spectra.data, channels, None, asked.num_workers)


def _usable(rows: SpectrumRows, pair: Pair, asked: PairRequest) -> tuple[np.ndarray, np.ndarray, dict]:
    """Which spectra are used, their totals, and how they are normalised."""
    sample = _without_dead_channels(rows, rows.some(2000, np.random.default_rng([asked.seed, 21])))
    sample = sample[np.isfinite(sample).all(1)]
    if not len(sample) or not sample.any():
        got = "spectra that are all NaN or 0 (in a sample of 2000)"
        raise InvalidImageError(explain(got, "spectra with counts", "Check how the data were read."))
    counts, poisson, normalisation = _kind(sample, pair, asked)
    mean = sample.mean(0)
    counted = _counted(mean, normalisation)
    if asked.spikes and poisson:
        rows.spikes = learn_spikes(sample, noise_of(sample, poisson))
    valid, totals = pair.inside.copy(), np.ones(pair.inside.shape, np.float32)
    masked = _navigation_mask(asked.navigation_mask, valid.shape)
    nan = empty = 0
    for place, block in rows.blocks():
        fine = np.isfinite(block).all(-1)
        if counted.any():
            with np.errstate(invalid="ignore"):
                totals[place] = np.where(fine, block[..., counted].sum(-1), 0)
        nan += int((~fine & valid[place]).sum())
        full = totals[place] > 0
        empty += int((fine & ~full & valid[place]).sum())
        valid[place] &= fine & full
    valid &= ~masked
    if nan:
        warn_user(f"{nan} spectra with NaN are left out")
    if empty:
        warn_user(f"{empty} spectra whose counts do not add up to more than 0 are left out")
    notes = {"nan": nan, "empty": empty, "masked": int(masked.sum()), "normalisation": normalisation,
             "poisson": poisson, "counted": counted,
             "non_negative": counts if asked.non_negative is None else bool(asked.non_negative)}  # fmt: skip
    return valid, totals, notes


def _without_dead_channels(rows: SpectrumRows, sample: np.ndarray) -> np.ndarray:
    """The sample (m, n) without channels that are NaN in all spectra, which are left out as if they were masked."""
    alive = np.isfinite(sample).any(0)
    if alive.all() or alive.sum() < FEWEST_CHANNELS:
        return sample
    rows.channels = (np.arange(alive.size) if rows.channels is None else rows.channels)[alive]
    warn_user(f"{int((~alive).sum())} channels that are NaN in every spectrum are left out")
    return sample[:, alive]


def _kind(sample: np.ndarray, pair: Pair, asked: PairRequest) -> tuple[bool, bool, str]:
    """Whether spectra are counts, whether their noise is taken for Poisson's, and how they are normalised."""
    below = float(-np.minimum(sample, 0).sum() / max(float(np.abs(sample).sum()), 1e-30))
    whole = bool((sample[:200] == np.round(sample[:200])).all())
    known = pair.spectra.signal_type in COUNTED
    counts = below <= NEGATIVE and (known or (whole and below == 0))
    if asked.likelihood == "poisson" and below > NEGATIVE:
        got = f"spectra with negative values ({100 * below:.1f} % of the sum of all) and likelihood='poisson'"
        todo = "Leave likelihood out, or undo what made them negative (a subtracted background)."
        raise InvalidImageError(explain(got, "counts of 0 and more", todo))
    if known and below > NEGATIVE and asked.likelihood == "auto":
        warn_user(f"{100 * below:.1f} % of the sum of the spectra is negative: they are not taken for counts, and "
                  "their noise for the same everywhere")  # fmt: skip
    poisson = counts if asked.likelihood == "auto" else asked.likelihood == "poisson"
    if asked.normalisation == "zlp":
        _check_zero_loss(pair)
    if asked.normalisation != "auto":
        return counts or poisson, poisson, asked.normalisation
    return counts or poisson, poisson, "area" if poisson or (known and sample.sum(1).min() > 0) else "none"


def _check_zero_loss(pair: Pair) -> None:
    axis = pair.spectra.signal[0]
    low, high = np.sort(axis.coordinates())[[0, -1]]
    if not low <= 0 <= high:
        got = f"normalisation='zlp' for spectra from {low:g} to {high:g} {axis.units}"
        todo = "Choose 'area', or align the zero loss with 0 first (align_zero_loss_peak)."
        raise InvalidArgumentError(explain(got, "an energy axis that has the zero loss, at 0", todo))


def _counted(mean: np.ndarray, normalisation: str) -> np.ndarray:
    """Channels whose sum is the total."""
    counted = np.full(len(mean), normalisation != "none")
    if normalisation == "zlp":
        top = int(np.argmax(mean))
        low = mean < ZLP * mean[top]
        first = top - int(np.argmax(low[top::-1])) if low[: top + 1].any() else 0
        last = top + int(np.argmax(low[top:])) if low[top:].any() else len(mean) - 1
        counted[:] = False
        counted[first : last + 1] = True
    return counted


def _navigation_mask(given: Any, shape: tuple[int, int]) -> np.ndarray:
    if given is None:
        return np.zeros(shape, bool)
    mask = np.asarray(getattr(given, "data", given))
    mask = np.asarray(mask.compute() if hasattr(mask, "compute") else mask, bool)
    if mask.shape != shape:
        got = f"a navigation_mask of shape {mask.shape}"
        raise InvalidArgumentError(explain(got, f"{shape}, True for spectra to leave out", "Give one value each."))
    return mask


def _splits(valid: np.ndarray, gap: int, asked: PairRequest) -> list[Split]:
    if not isinstance(asked.split, str):
        given = np.asarray(getattr(asked.split, "data", asked.split), bool)
        if given.shape != valid.shape:
            got = f"split of shape {given.shape}"
            raise InvalidArgumentError(explain(got, f"{valid.shape}, True for the test", "Give one value each."))
        test = int((given & valid).sum())
        if test in (0, int(valid.sum())):
            got = f"split with {test} of {int(valid.sum())} usable spectra in the test"
            raise InvalidArgumentError(explain(got, "some of them, not all", "True is the test, False the training."))
        return given_split(valid, given, gap, asked.seed)
    if asked.split == "random":
        warn_user("split='random': windows of the test overlap those of the training, so the scores are those of "
                  "an interpolation between neighbours, and too good")  # fmt: skip
        return random_split(valid, asked.seed)
    folds = asked.folds or default_folds(int(valid.sum()), valid.shape, gap)
    return block_splits(valid, gap, folds, asked.seed)


def _log(mean: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(mean, 1e-6 * mean.mean()))


def _reader(rows: SpectrumRows, space: SpectrumSpace):
    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        spectra = rows.read((slice(y0, y1), slice(x0, x1)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(space.shapes(spectra))

    return read
