"""Scores of a trained pairing and of its baselines on what was held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.spectra.baselines import (
    Baseline,
    fit_regressions,
    non_negative_parts,
    non_negative_shares,
    spectral_baselines,
)
from hs_deepatoms.spectra.blocks import LOOK, TEST, TRAIN, Split
from hs_deepatoms.spectra.fitting import small_blocks
from hs_deepatoms.spectra.intervals import inside_one_sigma, random_pit
from hs_deepatoms.spectra.scores import SpectrumScores, beats, edge_strength

FOR_PIT = 4_000_000  # measured channels that a coverage is counted on
FOR_PARTS = 3000  # spectra that non-negative components are made of
OWN = "model"
EDGE_WINDOW = 50.0  # eV


@dataclass(frozen=True, eq=False)
class SpectrumReport:
    """Scores by method, R2 by channel, and coverage.

    Attributes
    ----------
    table : dict of str to dict
        method -> score -> value.
    per_energy : dict of str to numpy.ndarray, shape (n,)
    gain, gain_std : float
        How much of the best baseline's error is removed, and its uncertainty.
    best : str
        Name of the best baseline.
    coverage : float
        Share of measured channels inside the predicted interval of 68 %.
    edges : dict of str to dict
        edge -> method -> R2 of net counts.
    error : numpy.ndarray, float32, shape (ny, nx)
        Root of the squared error over that expected from noise alone; NaN where not measured.
    """

    table: dict
    per_energy: dict
    gain: float
    gain_std: float
    best: str
    coverage: float
    edges: dict
    error: np.ndarray


def score_spectra(learned: Learned, energy: np.ndarray, edges: dict[str, float], seed: int) -> SpectrumReport:
    """Scores on the test pixels of all splits."""
    test, output, space = learned.part(TEST), learned.output, learned.space
    energy = energy if learned.rows.channels is None else energy[learned.rows.channels]
    found = [(split, _baselines(learned, split, seed)) for split in learned.splits]
    names = [OWN, *found[0][1]]
    scores = {name: SpectrumScores(space.mean, energy) for name in names}
    block = small_blocks(test.shape, max(2, -(-learned.window // learned.step)))
    strengths = {name: edge_strength(energy, onset, EDGE_WINDOW) for name, onset in edges.items()}
    net: dict = {name: {m: [] for m in ("measured", *names)} for name, s in strengths.items() if s is not None}
    rng = np.random.default_rng([seed, 31])
    skip = max(1, int(test.sum()) * len(energy) // FOR_PIT)
    error = np.full(test.shape, np.nan, np.float32)
    inside = [0, 0]
    for place, spectra in learned.rows.blocks(learned.valid):
        here = learned.valid[place]
        out = learned.paired.held_out[(slice(None), *place)][:, here]
        totals = learned.totals[place][here]
        measured, predicted = spectra[here] / totals[:, None], output.shapes(out)
        noise = space.noise(measured, totals)
        part = np.full(here.shape, np.nan, np.float32)
        part[here] = np.sqrt(((measured - predicted) ** 2).sum(1) / np.maximum(noise.sum(1), 1e-30))
        error[place] = part
        for split, baselines in found:
            mine = split.of(TEST)[place][here]
            if not mine.any():
                continue
            where = tuple(axis[mine] for axis in np.nonzero(here))
            where = tuple(axis + piece.start for axis, piece in zip(where, place, strict=True))
            guesses = {OWN: predicted[mine], **{name: one.at(where) for name, one in baselines.items()}}
            for name, guess in guesses.items():
                scores[name].add(measured[mine], guess, noise[mine], block[where])
            for edge, values in net.items():
                for name, guess in {"measured": measured[mine], **guesses}.items():
                    values[name].append(strengths[edge](guess))
            hits = _covered(output, out[:, mine], spectra[here][mine], skip, rng)
            inside[0] += int(hits.sum())
            inside[1] += hits.size
    table = {name: one.result() for name, one in scores.items()}
    best = max((name for name in names if name != OWN), key=lambda name: table[name]["r2"])
    gain, gain_std = beats(scores[OWN], scores[best])
    return SpectrumReport(table, {name: one.per_energy() for name, one in scores.items()}, gain, gain_std, best,
                          inside[0] / max(1, inside[1]), _edge_table(net), error)  # fmt: skip


def _covered(output, out: np.ndarray, measured: np.ndarray, skip: int, rng) -> np.ndarray:
    """Whether measured channels, every ``skip``-th, lie in their predicted interval."""
    mean, variance = output.spectra(out)[:, ::skip], output.variance(out, noise=True)[:, ::skip]
    counts = measured[:, ::skip]
    discrete = output.space.poisson and bool((counts >= 0).all() and (counts == np.round(counts)).all())
    return inside_one_sigma(random_pit(counts, mean, variance, rng, discrete=discrete))


def _baselines(learned: Learned, split: Split, seed: int) -> dict[str, Baseline]:
    """Baselines fitted on the training pixels of one split, predicted on its test."""
    rng = np.random.default_rng([seed, 32])
    space = learned.space
    train, look, test = (split.of(part) for part in (TRAIN, LOOK, TEST))
    weights = (space.basis.astype(float) ** 2).sum(1)
    regressed = fit_regressions(learned.image, learned.window, learned.step, learned.scores, train, look, weights,
                                test, rng)  # fmt: skip
    parts = _non_negative(learned, split, rng)
    mean = space.spectra(learned.scores[:, train].mean(1)[None])[0]
    return spectral_baselines(space, regressed, parts, mean)


def _non_negative(learned: Learned, split: Split, rng: np.random.Generator) -> dict:
    """Regressed shares of non-negative components; nothing for spectra that are negative."""
    space = learned.space
    if not space.poisson:
        return {}
    train, look, test = (split.of(part) for part in (TRAIN, LOOK, TEST))
    places = np.argwhere(train)
    places = places[np.sort(rng.permutation(len(places))[:FOR_PARTS])]
    scores = learned.scores[:, places[:, 0], places[:, 1]].T
    basis = non_negative_parts(scores, space, space.k + 1, rng)
    rest = np.argwhere(look)
    rest = rest[np.sort(rng.permutation(len(rest))[: FOR_PARTS // 3])]
    shares = np.zeros((len(basis), *train.shape), np.float32)
    for some in (places, rest):
        found = learned.scores[:, some[:, 0], some[:, 1]].T
        shares[:, some[:, 0], some[:, 1]] = non_negative_shares(found, space, basis).T
    chosen = [np.zeros(train.shape, bool) for _ in range(2)]
    for mask, some in zip(chosen, (places, rest), strict=True):
        mask[some[:, 0], some[:, 1]] = True
    weights = (basis.astype(float) ** 2).sum(1)
    regressed = fit_regressions(learned.image, learned.window, learned.step, shares, *chosen, weights, test, rng)
    return {"scores": np.maximum(regressed["ridge"], 0), "basis": basis}


def _edge_table(net: dict) -> dict:
    table: dict = {}
    for edge, values in net.items():
        measured = np.concatenate(values.pop("measured"))
        around = ((measured - measured.mean()) ** 2).sum()
        table[edge] = {name: float(1 - ((np.concatenate(parts) - measured) ** 2).sum() / around) if around > 0
                       else np.nan for name, parts in values.items()}  # fmt: skip
    return table


@dataclass(frozen=True, eq=False)
class ImageReport:
    """As `SpectrumReport`, for images; ``error`` is in standard deviations of the image."""

    table: dict
    gain: float
    gain_std: float
    best: str
    coverage: float
    error: np.ndarray


def score_images(learned: Learned, seed: int) -> ImageReport:
    """Scores on the test pixels of all splits."""
    tiles, held_out = learned.tiles, learned.paired.held_out
    k = len(tiles)
    weights = np.full(k, 1 / k)
    sums: dict[str, dict[int, np.ndarray]] = {}
    block = small_blocks(tiles.shape[1:], max(2, learned.window))
    for split in learned.splits:
        train, look, test = (split.of(part) for part in (TRAIN, LOOK, TEST))
        rng = np.random.default_rng([seed, 33])
        found = fit_regressions(learned.image, learned.window, 1, tiles, train, look, weights, test, rng)
        mean = tiles[:, train].mean(1)[:, None]
        guesses = {OWN: held_out[:k, test], "mean": np.broadcast_to(mean, (k, int(test.sum()))),
                   "knn": found["knn"][:, test], "pca_ridge": found["ridge"][:, test]}  # fmt: skip
        around = ((tiles[:, test] - mean) ** 2).sum(0)
        for name, guess in guesses.items():
            square = ((tiles[:, test] - guess) ** 2).sum(0)
            own = sums.setdefault(name, {})
            for key in np.unique(block[test]):
                mine = block[test] == key
                own.setdefault(int(key), np.zeros(3))
                own[int(key)] += [square[mine].sum(), around[mine].sum(), k * mine.sum()]
    totals = {name: np.sum(list(own.values()), 0) for name, own in sums.items()}
    table = {name: {"r2": float(1 - t[0] / t[1]), "rmse": float(np.sqrt(t[0] / t[2]))} for name, t in totals.items()}
    best = max((name for name in table if name != OWN), key=lambda name: table[name]["r2"])
    gains = np.array([sums[best][key][0] - sums[OWN][key][0] for key in sums[OWN]])
    spread = gains.std(ddof=1) * np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    held = learned.part(TEST)
    inside = np.abs(tiles[:, held] - held_out[:k, held]) < held_out[k : 2 * k, held]
    width = tiles[:, learned.valid].std()
    error = np.where(learned.valid, np.sqrt(((tiles - held_out[:k]) ** 2).mean(0)) / width, np.nan)
    return ImageReport(table, float(gains.sum() / totals[best][0]), float(spread / totals[best][0]), best,
                       float(inside.mean()), error.astype(np.float32))  # fmt: skip
