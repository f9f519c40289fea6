"""How unlike the training data something is: a distance in a space of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

QUANTILE = 0.99  # of training samples whose whole image was left out of the fit, whose distance is the limit
FOLDS = 4
FEW = 3  # images: with fewer nobody knows how images differ
MARGIN = 1.5  # factor of the limit then


@dataclass(frozen=True)
class Familiarity:
    """The training data as a Gaussian in feature space.

    Attributes
    ----------
    mean, scale : ndarray, shape (d,)
        Of every feature.
    precision : ndarray, shape (d, d)
        Inverse of the shrunk covariance of the features in units of ``scale``.
    limit : float
        Distance that 1 % of the training samples exceed when their image is left out of the fit.

    Notes
    -----
    Mahalanobis distance (Lee et al., NeurIPS 2018, arXiv:1807.03888) with the covariance of Ledoit & Wolf
    (J. Multivar. Anal. 88, 365 (2004), doi:10.1016/S0047-259X(03)00096-4).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> seen = Familiarity.of(rng.normal(size=(200, 3)))
    >>> score = seen.score(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    >>> bool(score[0] < 1 < score[1])
    True
    """

    mean: np.ndarray
    scale: np.ndarray
    precision: np.ndarray
    limit: float

    @classmethod
    def of(cls, features: np.ndarray, image: np.ndarray | None = None) -> Familiarity:
        """From training samples, shape (n, d); ``image``, shape (n,), says which image each is a part of."""
        features = np.asarray(features, float)
        whole = cls(*_gaussian(features), 1.0)
        image = np.arange(len(features)) if image is None else np.unique(image, return_inverse=True)[1]
        few = image.max() + 1 < FEW
        fold = (np.arange(len(features)) if few else image) % FOLDS
        left = [cls(*_gaussian(features[fold != k]), 1.0).distance(features[fold == k])
                for k in range(FOLDS) if (fold != k).any()]  # fmt: skip
        limit = float(np.quantile(np.concatenate(left), QUANTILE)) * (MARGIN if few else 1.0)
        return cls(whole.mean, whole.scale, whole.precision, limit or 1.0)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of every sample, shape (n,)."""
        away = (np.asarray(features, float) - self.mean) / self.scale
        return np.sqrt(np.einsum("ni,ij,nj->n", away, self.precision, away).clip(0))

    def score(self, features: np.ndarray) -> np.ndarray:
        """Distance in units of the limit, shape (n,): above 1 is unlike the training data."""
        return self.distance(features) / self.limit

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "precision": self.precision.tolist(),
                "limit": self.limit}  # fmt: skip

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Familiarity:
        """From what `as_dict` gave."""
        return cls(*(np.array(entry[k]) for k in ("mean", "scale", "precision")), float(entry["limit"]))


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.covariance import ledoit_wolf

    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 1e-6, scale, 1e-6 + np.abs(mean) * 1e-3)
    covariance = ledoit_wolf((features - mean) / scale)[0]
    return mean, scale, np.linalg.pinv(covariance, hermitian=True)
