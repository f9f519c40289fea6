"""Samples with known parts."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.decompose.samples import Samples, survey_samples


def as_samples(rows: np.ndarray, incremental: bool | None = None) -> Samples:
    return survey_samples(lambda start, stop: rows[start:stop], *rows.shape, incremental=incremental)


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Magnitude of the correlation (k,) of each true column with the found column that is its own."""
    from scipy.optimize import linear_sum_assignment

    k = truth.shape[1]
    table = np.abs(np.corrcoef(found.T, truth.T)[:-k, -k:])
    return table[linear_sum_assignment(-table)].clip(0, 1)


def cosines(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Magnitude of the cosine (k,) of each true row with the found row that is its own."""
    from scipy.optimize import linear_sum_assignment

    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth)]
    table = np.abs(unit[0] @ unit[1].T)
    return table[linear_sum_assignment(-table)]


def blobs(seed: int = 0, n: int = 300, f: int = 60, k: int = 3, noise: float = 0.3):
    """Rows (n, f) around k centres, and their classes (n,) of unequal size."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(k, n, p=np.arange(k, 0, -1) / np.arange(1, k + 1).sum())
    centres = rng.standard_normal((k, f))
    return centres[classes] + noise * rng.standard_normal((n, f)), classes
