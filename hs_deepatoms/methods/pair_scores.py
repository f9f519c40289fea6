"""Scores of a trained pairing and of its baselines on what was held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.spectra.baselines import (
    Baseline,
    fit_regressions,
    lowest,
    non_negative_kept,
    non_negative_parts,
    non_negative_shares,
    spectral_baselines,
)
from hs_deepatoms.spectra.blocks import LOOK, TEST, TRAIN, Split, small_blocks
from hs_deepatoms.spectra.intervals import inside_one_sigma, random_pit
from hs_deepatoms.spectra.scores import HeldOut, SpectrumScores, beats, edge_strength, sum_over_blocks

FOR_PIT = 2_000_000  # measured channels that a coverage is counted on
FOR_PEAKS = 10_000  # spectra that a peak is looked for in
WHOLE = 0.99  # of the measured channels: they are counts, and the rest of them repaired
FOR_PARTS = 3000  # spectra that non-negative components are made of
OWN = "model"
IMAGE_BASELINES = ("mean", "knn", "pca_ridge")
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
    coverage, coverage_std : float
        Share of measured channels inside the predicted interval of 68 %, and its uncertainty.
    edges : dict of str to dict
        edge -> method -> R2 of net counts, against those of the mean spectrum.
    error : numpy.ndarray, float32, shape (ny, nx)
        Root of the squared error over that expected from noise alone; NaN where not measured.
    channel : float
        Width of a channel, in the units of the energy.
    """

    table: dict
    per_energy: dict
    gain: float
    gain_std: float
    best: str
    coverage: float
    coverage_std: float
    edges: dict
    error: np.ndarray
    channel: float = 0.0


def score_spectra(learned: Learned, energy: np.ndarray, edges: dict[str, float], seed: int) -> SpectrumReport:
    """Scores on the test pixels of all splits."""
    energy = energy if learned.rows.channels is None else energy[learned.rows.channels]
    made = [(split, _baselines(learned, split, seed)) for split in learned.splits]
    tally = _Tally(learned, energy, edges, [OWN, *made[0][1]], np.random.default_rng([seed, 31]))
    error = np.full(learned.valid.shape, np.nan, np.float32)
    for place, spectra in learned.rows.blocks(learned.valid):
        here = learned.valid[place]
        error[place][here] = tally.errors(place, here, spectra[here])
        for split, baselines in made:
            mine = split.of(TEST)[place]
            if mine.any():
                tally.add(place, mine, spectra[mine], baselines)
    table = {name: one.result() for name, one in tally.scores.items()}
    best = max((name for name in table if name != OWN), key=lambda name: table[name]["r2"])
    gain, gain_std = beats(tally.scores[OWN].blocks, tally.scores[best].blocks)
    per_energy = {name: one.per_energy() for name, one in tally.scores.items()}
    width = float(np.median(np.abs(np.diff(energy)))) if len(energy) > 1 else 0.0
    return SpectrumReport(table, per_energy, gain, gain_std, best, *tally.coverage(), tally.edges(), error, width)


class _Tally:
    """Scores of all predictions, gathered part by part of the map."""

    def __init__(self, learned: Learned, energy: np.ndarray, edges: dict[str, float], names: list[str], rng):
        self.learned, self.output, self.energy, self.rng = learned, learned.output, energy, rng
        self.scores = {name: SpectrumScores(len(energy)) for name in names}
        self.block = small_blocks(learned.valid.shape, max(2, -(-learned.window // learned.step)))
        made = {name: edge_strength(energy, onset, EDGE_WINDOW) for name, onset in edges.items()}
        self.strengths = {name: one for name, one in made.items() if one is not None}
        self.errors_of_edges = {name: dict.fromkeys(names, 0.0) for name in self.strengths}
        self.skip = max(1, int(learned.part(TEST).sum()) * len(energy) // FOR_PIT)
        self.every = max(1, int(learned.part(TEST).sum()) // FOR_PEAKS)
        self.inside: dict[int, np.ndarray] = {}

    def errors(self, place: tuple, here: np.ndarray, spectra: np.ndarray) -> np.ndarray:
        """Errors (m,) over those expected from noise, of the pixels ``here`` of a part of the map."""
        measured, predicted, noise = self._pair(place, here, spectra)
        return np.sqrt(((measured - predicted) ** 2).sum(1) / np.maximum(noise.sum(1), 1e-30))

    def add(self, place: tuple, here: np.ndarray, spectra: np.ndarray, baselines: dict) -> None:
        """Test pixels of one split with the baselines that were fitted on its training."""
        measured, predicted, noise = self._pair(place, here, spectra)
        where = tuple(axis + piece.start for axis, piece in zip(np.nonzero(here), place, strict=True))
        held = HeldOut(self.energy, measured, noise, self.block[where], baselines["mean"].offset, self.every)
        guesses = {OWN: predicted, **{name: one.at(where) for name, one in baselines.items()}}
        for name, guess in guesses.items():
            self.scores[name].add(held, guess)
        for edge, strength in self.strengths.items():
            net = strength(measured)
            for name, guess in guesses.items():
                self.errors_of_edges[edge][name] += float(((strength(guess) - net) ** 2).sum())
        out = self.learned.held_out[(slice(None), *where)]
        hits, judged = _covered(self.output, out, spectra, self.skip, self.rng)
        for key in np.unique(held.block):
            mine = held.block == key
            found = np.array([hits[mine].sum(), judged[mine].sum()])
            self.inside[int(key)] = self.inside.get(int(key), 0) + found

    def coverage(self) -> tuple[float, float]:
        """Share of measured channels inside their interval, and one sigma of it from the scatter over blocks."""
        keys = np.array(sorted(self.inside))
        hits, count = np.array([self.inside[key] for key in keys]).T.astype(float)
        share = hits.sum() / count.sum()
        return float(share), sum_over_blocks(hits - share * count, keys)[1] / float(count.sum())

    def edges(self) -> dict:
        """R2 of the net counts of every edge against those of the mean spectrum."""
        return {edge: {name: 1 - one / errors["mean"] if errors["mean"] > 0 else np.nan for name, one in errors.items()}
                for edge, errors in self.errors_of_edges.items()}  # fmt: skip

    def _pair(self, place: tuple, here: np.ndarray, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measured and predicted normalised spectra (m, n), and the variance of the noise."""
        totals = self.learned.totals[place][here]
        measured = spectra / totals[:, None]
        predicted = self.output.shapes(self.learned.held_out[(slice(None), *place)][:, here])
        return measured, predicted, self.learned.space.shape_noise(measured, totals)


def _covered(output, out: np.ndarray, measured: np.ndarray, skip: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Whether measured channels, every ``skip``-th, lie in their predicted interval, and which can be judged.

    Among whole numbers, those that are none are spikes that were repaired: they were not measured.
    """
    mean, variance = output.spectra(out)[:, ::skip], output.variance(out, noise=True)[:, ::skip]
    counts = measured[:, ::skip]
    whole = (counts >= 0) & (counts == np.round(counts))
    discrete = output.space.poisson and whole.mean() > WHOLE
    judged = whole if discrete else np.ones_like(whole)
    return judged & inside_one_sigma(random_pit(counts, mean, variance, rng, discrete=discrete)), judged


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
    """Regressed shares of non-negative components, of spectra above the lowest value where there are negative ones."""
    space = learned.space
    train, look, test = (split.of(part) for part in (TRAIN, LOOK, TEST))
    places = np.argwhere(train)
    places = places[np.sort(rng.permutation(len(places))[:FOR_PARTS])]
    scores = learned.scores[:, places[:, 0], places[:, 1]].T
    floor = lowest(scores, space)
    basis = non_negative_parts(scores, space, space.k + 1, rng, floor)
    rest = np.argwhere(look)
    rest = rest[np.sort(rng.permutation(len(rest))[: FOR_PARTS // 3])]
    shares = np.zeros((len(basis), *train.shape), np.float32)
    for some in (places, rest):
        found = learned.scores[:, some[:, 0], some[:, 1]].T
        shares[:, some[:, 0], some[:, 1]] = non_negative_shares(found, space, basis, floor).T
    chosen = [np.zeros(train.shape, bool) for _ in range(2)]
    for mask, some in zip(chosen, (places, rest), strict=True):
        mask[some[:, 0], some[:, 1]] = True
    weights = (basis.astype(float) ** 2).sum(1)
    regressed = fit_regressions(learned.image, learned.window, learned.step, shares, *chosen, weights, test, rng)
    return {"scores": non_negative_kept(regressed["ridge"], basis), "basis": basis, "offset": floor * space.scale}


@dataclass(frozen=True, eq=False)
class ImageReport:
    """As `SpectrumReport`, for images; ``error`` is in standard deviations of the image."""

    table: dict
    gain: float
    gain_std: float
    best: str
    coverage: float
    coverage_std: float
    error: np.ndarray


def score_images(learned: Learned, seed: int) -> ImageReport:
    """Scores on the test pixels of all splits."""
    tiles, held_out, test = learned.tiles, learned.held_out, learned.part(TEST)
    k = len(tiles)
    block = small_blocks(tiles.shape[1:], max(2, learned.window))
    guesses = _image_guesses(learned, seed)
    squares = {name: ((tiles - one) ** 2).sum(0) for name, one in guesses.items()}
    around = float(squares["mean"][test].sum())
    table = {name: {"r2": 1 - float(one[test].sum()) / around if around > 0 else np.nan,
                    "rmse": float(np.sqrt(one[test].mean() / k))} for name, one in squares.items()}  # fmt: skip
    best = max((name for name in table if name != OWN), key=lambda name: table[name]["r2"])
    level = float(squares[best][test].sum())
    gain, spread = sum_over_blocks((squares[best] - squares[OWN])[test], block[test])
    inside = (np.abs(tiles - held_out[:k]) < held_out[k : 2 * k])[:, test].mean(0)
    covered = sum_over_blocks(inside - inside.mean(), block[test])[1] / inside.size
    error = np.where(learned.valid, np.sqrt(squares[OWN] / k) / tiles[:, learned.valid].std(), np.nan)
    return ImageReport(table, gain / level, spread / level, best, float(inside.mean()), covered,
                       error.astype(np.float32))  # fmt: skip


def _image_guesses(learned: Learned, seed: int) -> dict[str, np.ndarray]:
    """Tiles (k, ny, nx) by method; of baselines those of the tests alone, each by what its own split was trained on."""
    tiles = learned.tiles
    out = {OWN: learned.held_out[: len(tiles)], **{name: np.zeros_like(tiles) for name in IMAGE_BASELINES}}
    for split in learned.splits:
        train, look, test = (split.of(part) for part in (TRAIN, LOOK, TEST))
        weights, rng = np.full(len(tiles), 1 / len(tiles)), np.random.default_rng([seed, 33])
        found = fit_regressions(learned.image, learned.window, 1, tiles, train, look, weights, test, rng)
        out["mean"][:, test] = tiles[:, train].mean(1)[:, None]
        out["knn"][:, test], out["pca_ridge"][:, test] = (found[name][:, test] for name in ("knn", "ridge"))
    return out
