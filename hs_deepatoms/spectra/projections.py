"""Principal and independent components, classes and embeddings of spectra, from their projections."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hs_deepatoms.decompose.fit import LINEAR, fit_samples
from hs_deepatoms.decompose.model import Model, encode_samples
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.decompose.samples import survey_samples
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.reduce import Reduced, brightness_of, find_repairs, look_over

NUMBERED = ("pca", "ica", "kmeans")  # methods whose None means: as many as stand out of the noise


@dataclass(frozen=True, eq=False)
class Projected:
    """Scores (m, k), components (k, channels), what these mean, and the decomposition of the projections."""

    scores: np.ndarray
    components: np.ndarray
    meaning: str
    reason: str
    decomposition: Decomposition | None = None
    origin: np.ndarray | None = None  # what was taken away before, of components that add up


@dataclass(frozen=True, eq=False)
class Projector:
    """What gives new spectra their scores: ``rows @ down``, brought to the sum ``typical`` for shapes, then a model."""

    down: np.ndarray
    typical: float
    shapes: bool
    k: int
    model: Model | None = None

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Scores (m, k) of spectra (m, channels)."""
        points = rows @ self.down
        if self.shapes:
            points = points / brightness_of(rows.sum(1, dtype=float), self.typical)[:, None]
        return points[:, : self.k] if self.model is None else encode_samples(self.model, points)


def encode_blocks(cube: Cube, projector: Projector, noise: Noise, spikes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places (m,) and scores (m, k) of the spectra of a cube; with ``spikes`` a pass before repairs these."""
    some = cube.some()
    some = some[np.isfinite(some).all(1)]
    if spikes and some.size:
        survey = look_over(cube, noise.poisson and bool(some.mean() > 0), True)
        if survey.cube.n_channels == cube.n_channels:  # else every spectrum has NaN
            cube = replace(cube, repair=find_repairs(survey)[1].repair)
    parts = [(index, projector.scores(rows)) for index, rows in cube.blocks("encoding")]
    if not parts:
        return np.empty(0, int), np.empty((0, projector.k))
    return np.concatenate([index for index, _ in parts]), np.concatenate([scores for _, scores in parts])


def project(reduced: Reduced, method, n_components: int | None, seed) -> Projected:
    """Decompose the projections of spectra by a method of `decompose.fit`, or ``"svd"``.

    Classes and embeddings see the shapes of the spectra, divided by their sums: thickness is no class.
    """
    reason = "asked for" if n_components else "as the method has it"
    k = n_components
    if k is None and (method in NUMBERED or method == "svd"):
        k, reason = reduced.rank
    if method == "svd":
        return Projected(reduced.points[:, :k], reduced.up[:k], "component", reason)
    linear = method in LINEAR
    rows = reduced.points if linear else shapes(reduced)
    samples = survey_samples(lambda start, stop: rows[start:stop], *rows.shape, incremental=False)
    result = fit_samples(samples, method, k, seed)
    if result.bic:
        reason = f"the lowest BIC of {min(result.bic)} to {max(result.bic)} classes"
    if linear:
        return Projected(result.scores, result.components @ reduced.up, "component", reason, result,
                         None if method == "nmf" else samples.mean @ reduced.up)  # fmt: skip
    weights, meaning = _weights(result)
    return Projected(result.scores, weights.T @ rows @ reduced.up, meaning, reason, result)


def shapes(reduced: Reduced) -> np.ndarray:
    """Projections (m, r) of spectra brought to the mean sum."""
    total = reduced.total
    if not total.mean() > 0:
        return reduced.points
    return reduced.points / reduced.brightness[:, None]


def _weights(result: Decomposition) -> tuple[np.ndarray, str]:
    """Weights (m, k) of spectra whose sums show what a score means."""
    scores = result.scores
    if result.classes is not None:
        return scores / np.maximum(scores.sum(0), 1e-300), "class"
    centred = scores - scores.mean(0)
    return centred / np.maximum(centred.std(0), 1e-300) / len(scores), "covariance"
