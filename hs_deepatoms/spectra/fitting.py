"""Networks for pairs of maps on honest splits: members, predictions of what was held out, calibrated widths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from hs_deepatoms.spectra.blocks import LOOK, TEST, TRAIN, Split, near, small_blocks
from hs_deepatoms.spectra.intervals import calibrate, inflation
from hs_deepatoms.spectra.learn import PairedMaps, train_pairs
from hs_deepatoms.spectra.model import PairModel, applied, rotate_latents
from hs_deepatoms.spectra.network import PairLoss
from hs_deepatoms.spectra.scores import sum_over_blocks
from hs_deepatoms.spectra.targets import Slot, Targets, slots
from hs_deepatoms.training.recipe import Recipe

TELLING = 0.1  # of the variance that must be explained on held-out blocks, for a target to be predicted at all
MOST_BLOCKS = 100  # of a test


@dataclass(frozen=True, eq=False)
class Pairing:
    """Everything that the networks are trained on.

    Attributes
    ----------
    image : numpy.ndarray, float32, shape (c, H, W)
        Padded input map.
    parts : list of Targets
        Of every spectrum, or of an image. All of them count the same.
    window, step : int
    shared : int
        Places by which windows have to be farther apart, as pixels were interpolated.
    """

    image: np.ndarray
    parts: list[Targets]
    window: int
    step: int
    shared: int = 0

    @cached_property
    def slots(self) -> list[Slot]:
        """Where each of the parts is among all targets."""
        return slots([len(one.values) for one in self.parts], [one.length for one in self.parts])

    @cached_property
    def owner(self) -> np.ndarray:
        """The part (k,) that each target is of."""
        return np.repeat(np.arange(len(self.parts)), [len(one.values) for one in self.parts])

    @cached_property
    def targets(self) -> np.ndarray:
        """Of all parts (k, ny, nx)."""
        return _joined([one.values for one in self.parts])

    @cached_property
    def noise(self) -> np.ndarray:
        """Their variance from noise (k, ny, nx)."""
        return _joined([one.noise for one in self.parts])

    @property
    def weights(self) -> np.ndarray:
        """What each target counts (k,); the sum is 1."""
        return _joined([one.weights / len(self.parts) for one in self.parts])

    @property
    def tied(self) -> np.ndarray:
        """Targets (k,) that follow from spectra which are decoded whole."""
        return _joined([np.arange(len(one.values)) < one.tied for one in self.parts])

    @property
    def lengths(self) -> int | list[int]:
        """Channels that are decoded whole: of the only spectrum, or of each of several that there are."""
        found = [one.length for one in self.parts]
        return found[0] if len(found) == 1 else found if any(found) else 0

    def spectra(self, *box: int) -> np.ndarray:
        """Whole spectra (h, w, n) of a tile, of all parts."""
        return _joined([one.spectra(*box) for one in self.parts if one.length], -1)


def _joined(parts: list[np.ndarray], axis: int = 0) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


@dataclass(frozen=True, eq=False)
class Options:
    """How it is trained."""

    latent_dim: int = 8
    width: int = 48
    spread: int = 64
    variational: bool = False
    beta: float = 1e-3
    members: int = 1
    batch_size: int = 6
    device: str = "cpu"
    checkpoint: Any = None
    show_progressbar: bool | None = None


@dataclass(eq=False)
class Paired:
    """The result.

    Attributes
    ----------
    model : PairModel
        All members of all splits.
    held_out : numpy.ndarray, float32, shape (2 * k + spectrum, ny, nx)
        Means, calibrated deviations and spectra, for every pixel by the members that have not been trained on it where
        there are such, else by all.
    histories : list of xarray.Dataset
    steps : list of int
    """

    model: PairModel
    held_out: np.ndarray
    histories: list = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def fit_pairing(pairing: Pairing, splits: list[Split], recipe: Recipe, options: Options) -> Paired:
    """Train the members of every split, calibrate their widths on held-out blocks, and put them together."""
    used = np.any([split.of(TRAIN) | split.of(LOOK) | split.of(TEST) for split in splits], axis=0)
    k = len(pairing.targets)
    net = {"channels": len(pairing.image), "window": pairing.window, "step": pairing.step, "outputs": k,
           "latent_dim": options.latent_dim, "width": options.width, "spectrum": pairing.lengths,
           "variational": options.variational, "spread": options.spread}  # fmt: skip
    scaling = _scaling(pairing, splits)
    models, histories, steps = [], [], []
    for number, split in enumerate(splits):
        model = _scaled_model(PairModel(net, options.members, k), scaling)
        maps, loss = _maps_and_loss(pairing, model, used, options)
        for member in range(options.members):
            own = replace(recipe, seed=recipe.seed + number * options.members + member)
            done = train_pairs(model.nets[member], maps, split.of(TRAIN), split.of(LOOK), loss, own,
                               batch=options.batch_size, device=options.device,
                               checkpoint=_numbered(options.checkpoint, number, member),
                               show_progressbar=options.show_progressbar)  # fmt: skip
            model.nets[member] = done.module
            histories.append(done.history)
            steps.append(done.best_step)
        models.append(model.to(options.device).eval())
    whole = _together(models, net, k, scaling)
    held_out = _predicted(models, whole.to(options.device).eval(), pairing, splits, options.device)
    _calibrate(whole, held_out, pairing, splits)
    rotate_latents(whole, pairing.image, used, options.device)
    return Paired(whole.to("cpu"), held_out, histories, steps)


def _scaling(pairing: Pairing, splits: list[Split]) -> dict[str, np.ndarray]:
    """Centre and width of input and targets, from what is trained on."""
    train = np.any([split.of(TRAIN) for split in splits], axis=0)
    flat = pairing.image.reshape(len(pairing.image), -1)
    width = flat.std(1)
    targets = pairing.targets[:, train]
    spread = targets.std(1)
    return {"centre": flat.mean(1), "width": np.where(width > 0, width, 1), "target_centre": targets.mean(1),
            "target_width": np.where(spread > 0, spread, 1)}  # fmt: skip


def _scaled_model(model: PairModel, scaling: dict[str, np.ndarray]) -> PairModel:
    for name, values in scaling.items():
        getattr(model, name).copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def _maps_and_loss(pairing: Pairing, model: PairModel, used: np.ndarray, options: Options):
    width = model.target_width.numpy()
    targets = (pairing.targets - model.target_centre.numpy()[:, None, None]) / width[:, None, None]
    noise = pairing.noise / (width**2)[:, None, None]
    level = noise[:, used].mean(1)
    own = [pairing.owner == part for part in range(len(pairing.parts))]
    base = [noise[one].sum(0) / max(float(level[one].sum()), 1e-30) for one in own]
    image = (pairing.image - model.centre.numpy()[:, None, None]) / model.width.numpy()[:, None, None]
    stacked = np.concatenate([targets, base, used[None]]).astype(np.float32)
    whole = [one for one in pairing.parts if one.length]
    maps = PairedMaps(image.astype(np.float32), stacked, pairing.window, pairing.step,
                      pairing.spectra if whole else None, [one.start for one in whole], len(own))  # fmt: skip
    spreads = [None if one.spread is None else torch.tensor(one.spread).float() for one in pairing.parts]
    loss = PairLoss(torch.tensor(pairing.weights, dtype=torch.float32), torch.tensor(level, dtype=torch.float32),
                    pairing.lengths, spreads, options.beta if options.variational else 0.0,
                    pairing.owner.tolist())  # fmt: skip
    return maps, loss


def _numbered(checkpoint: Any, split: int, member: int) -> Any:
    """A file of its own for every training."""
    return None if checkpoint is None else f"{checkpoint}.{split}.{member}" if split or member else checkpoint


def _together(models: list[PairModel], net: dict, k: int, scaling: dict) -> PairModel:
    if len(models) == 1:
        return models[0]
    whole = _scaled_model(PairModel(net, sum(len(model.nets) for model in models), k), scaling)
    whole.nets = torch.nn.ModuleList(member for model in models for member in model.nets)
    return whole


def _predicted(models, whole, pairing: Pairing, splits: list[Split], device: str) -> np.ndarray:
    """Every pixel by the model that has not seen it, where there is one."""
    out = applied(whole, pairing.image, device=device)
    if len(models) > 1:
        for model, split in zip(models, splits, strict=True):
            test = split.of(TEST)
            out[:, test] = applied(model, pairing.image, device=device)[:, test]
    return out


def _calibrate(whole: PairModel, held_out: np.ndarray, pairing: Pairing, splits: list[Split]) -> None:
    """Widths from held-out blocks, and what is not predicted at all.

    Those of ``held_out``, which are judged on the test, come from other blocks, as `_judged` says. Those of the model,
    for data to come, come from all blocks that were held out.
    """
    k = len(pairing.targets)
    held = [split.of(TEST) for split in splits] + ([splits[0].of(LOOK)] if len(splits) == 1 else [])
    known = np.any([split.of(TRAIN) | split.of(LOOK) | split.of(TEST) for split in splits], axis=0)
    width = whole.target_width.cpu().numpy()
    everything = _widths(held_out, pairing, width, np.any(held, axis=0), known, splits[0].block)
    scaled = held_out[: 2 * k].copy()
    for test, others, split in _judged(splits, -(-pairing.window // pairing.step) + pairing.shared):
        where = others if others.any() else np.any(held, axis=0)
        own = _widths(held_out, pairing, width, where, split.of(TRAIN), split.block)
        scaled[:k, test] = np.where(own.told, scaled[:k, test].T, own.centre).T
        wide = (scaled[k:, test].T / width) ** own.stretch * own.factors * width
        scaled[k:, test] = np.where(own.told, wide, own.spread).T
    held_out[: 2 * k] = scaled
    factors = np.where(everything.told, everything.factors, everything.spread / width)
    centre = np.where(everything.told, whole.target_centre.cpu().numpy(), everything.centre)
    for buffer, values in ((whole.stretch, everything.stretch), (whole.inflation, factors),
                           (whole.correlation, everything.root), (whole.told, everything.told),
                           (whole.target_centre, centre)):  # fmt: skip
        buffer.copy_(torch.from_numpy(values.astype(np.float32)))


def _judged(splits: list[Split], gap: int) -> Iterator[tuple[np.ndarray, np.ndarray, Split]]:
    """Parts of the tests, pixels (ny, nx) that say how wide their intervals are, and the split.

    Of several splits these are the tests of the others; of a single one its validation and all blocks of its test that
    are not near: few blocks are held out, and errors are alike within them, so that none can be spared (leave-one-out
    conformal intervals: Barber et al., Ann. Stat. 49, 486 (2021), doi:10.1214/20-AOS1965).
    """
    tests = [split.of(TEST) for split in splits]
    if len(splits) > 1:
        for number, (split, test) in enumerate(zip(splits, tests, strict=True)):
            yield test, np.any([one for j, one in enumerate(tests) if j != number], axis=0), split
        return
    block, look = splits[0].block, splits[0].of(LOOK)
    names = np.unique(block[tests[0]])
    if len(names) > MOST_BLOCKS:  # pixels drawn at random
        yield tests[0], look, splits[0]
        return
    for name in names:
        own = tests[0] & (block == name)
        yield own, (look | tests[0]) & ~near(own, gap), splits[0]


class _Widths(NamedTuple):
    """By target (k,): whether it is predicted, power and factor of its deviation; else its mean and deviation.

    ``root`` (k, k) is that of the correlation of errors.
    """

    told: np.ndarray
    stretch: np.ndarray
    factors: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    root: np.ndarray


def _widths(
    held_out: np.ndarray, pairing: Pairing, width: np.ndarray, where: np.ndarray, known: np.ndarray, region: np.ndarray
) -> _Widths:
    """What the pixels ``where``, which were held out, say about predictions; means and spreads are of ``known``."""
    k = len(pairing.targets)
    block = small_blocks(pairing.targets.shape[1:], max(2, -(-pairing.window // pairing.step)))
    own, measured, noise = block[where], pairing.targets[:, where], pairing.noise[:, where]
    centre = pairing.targets[:, known].mean(1, dtype=float)
    tied = pairing.tied
    told = np.array([tied[one] or _tells(measured[one], held_out[one, where], centre[one], noise[one], own)
                     for one in range(k)])  # fmt: skip
    spread = np.array([1.0 if told[one] else _spread(pairing.targets[one, known], pairing.noise[one, known],
                                                     region[known], block[known])
                       for one in range(k)])  # fmt: skip
    residual = measured - np.where(told, held_out[:k, where].T, centre).T
    deviation = np.where(told, held_out[k : 2 * k, where].T, spread).T
    extra: list[np.ndarray | None] = [None] * k
    for part, slot in zip(pairing.parts, pairing.slots, strict=True):
        if part.channel_noise is not None:
            total = slot.first + slot.count - 1
            extra[total] = part.channel_noise[where] / width[total] ** 2
    unit = width[:, None]
    stretch, factors, root = calibrate(residual / unit, deviation / unit, noise / unit**2, own, extra)
    return _Widths(told, stretch, factors, centre, spread, root)


def _spread(target: np.ndarray, noise: np.ndarray, region: np.ndarray, block: np.ndarray) -> float:
    """How far 68 % of targets (n,) of a region that is not known would be from the mean of those that are.

    Regions are compared with the mean of the others, brought from one region less to one more than there are.
    """
    _, own = np.unique(region, return_inverse=True)
    count, total = np.bincount(own), np.bincount(own, target)
    if len(count) > 1:
        others = (total.sum() - total) / (count.sum() - count)
        away = np.sqrt(1 - 1 / len(count) ** 2) * (total / count - others)
        target = target - (total / count - away)[own]
    width = max(float(target.std(dtype=float)), 1e-12)
    return width * inflation(target - target.mean() * (len(count) == 1), np.full(len(target), width**2), noise, block)


def _tells(measured: np.ndarray, predicted: np.ndarray, centre: float, noise: np.ndarray, block: np.ndarray) -> bool:
    """Whether predictions (n,) are nearer than the mean, by more than their scatter over blocks and than a little."""
    around = (measured.astype(float) - centre) ** 2
    gain, spread = sum_over_blocks(around - (measured - predicted) ** 2, block)
    level = float((around - noise).sum())
    return level <= 0 or gain > max(TELLING * level, spread)
