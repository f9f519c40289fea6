"""From a pair of signals to a trained model: masks, targets, splits, training, scores."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidImageError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_rows import Measured, measure
from hs_deepatoms.methods.pair_sources import Pair
from hs_deepatoms.methods.pair_tiles import image_tiles
from hs_deepatoms.spectra.blocks import TRAIN, Split, block_splits, default_folds, given_split, random_split
from hs_deepatoms.spectra.fitting import Options, Paired, Pairing, fit_pairing
from hs_deepatoms.spectra.grid import aligned, first_pixel
from hs_deepatoms.spectra.output import SpectrumOutput
from hs_deepatoms.spectra.rows import SpectrumRows
from hs_deepatoms.spectra.space import SpectrumSpace, fit_space, with_channel_variance
from hs_deepatoms.spectra.targets import Slot, Targets
from hs_deepatoms.training.recipe import Recipe

LOG_WEIGHT = 0.2  # what the logarithm of the total counts in the training, next to the shape
LEAST = 64  # spectra
MOST_STEPS = {"scores": 1000, "spectrum": 2000}  # tiles of whole spectra are smaller, so that a step sees less


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
    slot : Slot, optional
        Where its targets are among those of the network.
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
    slot: Slot | None = None

    @property
    def output(self) -> SpectrumOutput:
        """How outputs become spectra."""
        model = self.paired.model
        return SpectrumOutput(self.space, self.slot.root(model.correlation.numpy()), bool(model.spectrum))

    @cached_property
    def held_out(self) -> np.ndarray:
        """Its outputs (2 * k + spectrum, ny, nx), by networks that have not seen a place where there are such."""
        return self.slot.of(self.paired.held_out)

    def part(self, which: int) -> np.ndarray:
        """Pixels (ny, nx) that belong to a part in one of the splits."""
        return np.any([split.of(which) for split in self.splits], axis=0)


def learn_spectra(pairs: list[Pair], window: int, asked: list[PairRequest]) -> list[Learned]:
    """Train on one image and its spectra, all by one network: from the image to each of the spectra."""
    step = max(line.step for line in pairs[0].lines)
    shared = max(line.shared for line in pairs[0].lines)
    prepared = prepare(pairs, window, max(1, -(-window // step)) + shared, asked)
    first = prepared[0]
    parts = [_spectral_targets(one, asked[0].target == "spectrum") for one in prepared]
    pairing = Pairing(first.image, parts, window, step, shared)
    paired = fit_pairing(pairing, first.splits, recipe_of(asked[0], first), options_of(asked[0]))
    every = paired.model.told.numpy() > 0
    for one, slot in zip(prepared, pairing.slots, strict=True):
        one.paired, one.slot = paired, slot
        told = every[slot.first : slot.first + slot.count]
        silent = [f"score {score}" for score in np.flatnonzero(~told[: one.space.k])]
        one.notes["not_told"] = ", ".join(silent if told[one.space.k :].all() else [*silent, "the total"])
    return prepared


def _spectral_targets(learned: Learned, whole: bool) -> Targets:
    space, rows = learned.space, learned.rows
    values, noise = targets_of(learned)
    spread = None if space.poisson else space.channel_variance
    return Targets(values, noise, target_weights(space), _reader(rows, space) if whole else None,
                   rows.n_channels if whole else 0, spread, _log(space.mean) if space.poisson else space.mean,
                   space.k if whole else 0, channel_noise(learned))  # fmt: skip


def learn_image(pairs: list[Pair], window: int, asked: list[PairRequest]) -> list[Learned]:
    """Train on an image and its spectra: from ``window`` x ``window`` places to the pixels in their middle.

    All spectra of a place are looked at together.
    """
    step = max(line.step for line in pairs[0].lines)
    shared = max(line.shared for line in pairs[0].lines)
    prepared = prepare(pairs, step, window + shared, asked)
    tiles = image_tiles(prepared[0].image, step)
    maps = np.concatenate([spectral_maps(one.space, one.scores, one.totals, one.valid) for one in prepared])
    weights = np.full(len(tiles), 1 / len(tiles))
    pairing = Pairing(padded(maps, window), [Targets(tiles, np.zeros_like(tiles), weights)], window, 1, shared)
    paired = fit_pairing(pairing, prepared[0].splits, recipe_of(asked[0], prepared[0]), options_of(asked[0]))
    for one in prepared:
        one.image, one.window, one.step, one.tiles = pairing.image, window, 1, tiles
        one.paired, one.slot = paired, pairing.slots[0]
        one.notes["not_told"] = "" if (paired.model.told.numpy() > 0).any() else "the image"
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


def prepare(pairs: list[Pair], window: int, gap: int, asked: list[PairRequest]) -> list[Learned]:
    """Everything up to the training: which spectra are used, their scores, the split.

    Of several spectra, places are used where all of them can be.
    """
    pair, shape = pairs[0], pairs[0].inside.shape
    steps = {line.step for line in pair.lines}
    step = max(steps)
    lines = tuple(pair.lines) if len(steps) == 1 else tuple(replace(line, forced=step) for line in pair.lines)
    image, holes = _filled(aligned(pair.images, lines, window))
    _check_contrast(image, holes)
    measured = [measure(one, own) for one, own in zip(pairs, asked, strict=True)]
    valid = np.all([one.valid for one in measured], axis=0)
    in_holes = valid & _windows_with(holes, window, step, shape)
    if in_holes.any():
        warn_user(f"{int(in_holes.sum())} spectra are left out, in whose windows the image has NaN")
    valid &= ~in_holes
    count = int(valid.sum())
    if count < LEAST:
        got = f"{count} usable spectra, of {valid.size}"
        raise InvalidImageError(explain(got, f"at least {LEAST}", "Check the masks, NaN and the overlap."))
    splits = _splits(valid, gap, asked[0])
    return [_scored(one, own, valid, splits, image, window, step) for one, own in zip(measured, asked, strict=True)]


def _scored(measured: Measured, asked: PairRequest, valid: np.ndarray, splits: list[Split], image: np.ndarray,
            window: int, step: int) -> Learned:  # fmt: skip
    """What is learned of the spectra alone, from those of the training."""
    rows, poisson = measured.rows, measured.poisson
    train = np.any([split.of(TRAIN) for split in splits], axis=0)
    _check_components(asked, rows, int(train.sum()))
    space, values = fit_space(rows, train, poisson=poisson, counted=measured.counted, n_components=asked.n_components)
    if asked.likelihood == "learned":
        space = with_channel_variance(space, rows, train, asked.n_components)
    space = replace(space, non_negative=measured.non_negative)
    scores = scores_of(space, rows, valid)
    notes = {**measured.notes, "spikes": rows.repaired, "components": space.k, "gain": float(space.gain),
             "pixels": int(valid.sum()), "likelihood": "poisson" if poisson else "gaussian",
             "eigenvalues": values[: space.k + 5].tolist(), "folds": len(splits)}  # fmt: skip
    return Learned(rows, space, None, splits, image, window, step, measured.totals, scores, valid, notes)


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
    most = MOST_STEPS["spectrum" if asked.target == "spectrum" else "scores"]
    steps = asked.steps or int(np.clip(count / 16, 300, most))
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
