"""What a decomposition gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms.decompose.model import Model


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Everything per valid sample, component or class.

    Attributes
    ----------
    scores : numpy.ndarray, float64, shape (n_valid, k)
        Of classes: probabilities, or 1 for the class and 0 for the others.
    model : Model
    components : numpy.ndarray, shape (k, n_features), or None
        Unit norm; None where the method has none.
    variance : numpy.ndarray, shape (k,), or None
        How much of the samples' variance goes with each component's scores.
    total_variance : float or None
        Sum of the variances of all features.
    scree : numpy.ndarray or None
        Variances of the first principal components.
    classes : numpy.ndarray, int, shape (n_valid,), or None
        By size, the largest first; -1 is noise.
    bic : dict of int to float
        Bayesian information criterion by number of classes.
    inner : (numpy.ndarray, numpy.ndarray) or None
        Principal components inside each class, (n_classes, m, n_features), and their variances (n_classes, m).
    """

    scores: np.ndarray
    model: Model
    components: np.ndarray | None = None
    variance: np.ndarray | None = None
    total_variance: float | None = None
    scree: np.ndarray | None = None
    classes: np.ndarray | None = None
    bic: dict | None = None
    inner: tuple[np.ndarray, np.ndarray] | None = None
