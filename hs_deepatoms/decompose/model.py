"""A fitted decomposition as arrays and plain numbers, and what it says about new samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain

SWEEPS = 500  # most sweeps of the non-negative fit
TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Model:
    """What is needed to give new samples their scores.

    Attributes
    ----------
    method : str
        Name of the method; only ``ENCODERS`` can encode.
    arrays : dict of str to numpy.ndarray
    parameters : dict
        JSON-able.
    """

    method: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)


def encode_samples(model: Model, rows: np.ndarray) -> np.ndarray:
    """Scores (n, k) of samples (n, n_features); NaN where a sample has NaN.

    Raises
    ------
    InvalidArgumentError
        A method that has no scores for new samples, or samples of another size.
    """
    if model.method not in ENCODERS:
        got = f"new data for {model.method!r}"
        todo = "Decompose all of them together, or choose one of these methods."
        raise InvalidArgumentError(explain(got, f"a method that can score them: {', '.join(ENCODERS)}", todo))
    expected = model.arrays["mean"].size
    if rows.shape[1] != expected:
        got = f"patches of {rows.shape[1]} values for a model of {expected}"
        raise InvalidArgumentError(explain(got, "patches cut as those of the model", "Use the same window."))
    good = np.isfinite(rows).all(axis=1)
    scores = ENCODERS[model.method](model.arrays, np.asarray(rows, float)[good])
    out = np.full((rows.shape[0], scores.shape[1]), np.nan)
    out[good] = scores
    return out


def non_negative_scores(rows: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Scores (n, k) >= 0 that bring scores @ components nearest to rows (n, n_features).

    Coordinate descent, one component of all rows at a time (HALS: Cichocki and Phan, IEICE Trans. Fundamentals E92-A,
    708 (2009), doi:10.1587/transfun.E92.A.708).
    """
    gram, target = components @ components.T, rows @ components.T
    gram[np.diag_indices_from(gram)] += 1e-12 * (np.trace(gram) + 1e-300)
    scores = np.maximum(target @ np.linalg.pinv(gram), 0)
    size = np.abs(scores).max(initial=0)
    for _ in range(SWEEPS):
        change = 0.0
        for k in range(len(gram)):
            step = (target[:, k] - scores @ gram[:, k]) / gram[k, k]
            step = np.maximum(step, -scores[:, k])
            scores[:, k] += step
            change = max(change, float(np.abs(step).max(initial=0)))
        if change <= TOLERANCE * size:
            break
    return scores


def nearest_node(points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Index (n,) of the nearest of the nodes (k, d) to each point (n, d)."""
    return np.argmin((nodes**2).sum(1) - 2 * points @ nodes.T, axis=1)


def gaussian_probabilities(points: np.ndarray, weights, means, factors) -> np.ndarray:
    """Probability (n, k) of each Gaussian; ``factors`` (k, d, d) are Cholesky factors of the inverse covariances."""
    from scipy.special import softmax

    distance = np.stack([((points - m) @ f) ** 2 for m, f in zip(means, factors, strict=True)]).sum(-1).T
    volume = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    return softmax(np.log(weights) + volume - 0.5 * distance, axis=1)


def one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    """Scores (n, k): 1 for the class of each sample, all 0 for noise (-1)."""
    return (labels[:, None] == np.arange(k)).astype(float)


def _linear(arrays: dict, rows: np.ndarray) -> np.ndarray:
    return (rows - arrays["mean"]) @ arrays["unmixing"].T


def _nmf(arrays: dict, rows: np.ndarray) -> np.ndarray:
    return non_negative_scores(np.maximum(rows - arrays["offset"], 0), arrays["components"])


def _gmm(arrays: dict, rows: np.ndarray) -> np.ndarray:
    return gaussian_probabilities(_linear(arrays, rows), arrays["weights"], arrays["means"], arrays["factors"])


def _nearest(arrays: dict, rows: np.ndarray) -> np.ndarray:
    return one_hot(nearest_node(_linear(arrays, rows), arrays["nodes"]), len(arrays["nodes"]))


ENCODERS = {"pca": _linear, "ica": _linear, "nmf": _nmf, "gmm": _gmm, "kmeans": _nearest, "som": _nearest}
