"""What a model must beat: the mean spectrum, nearest neighbours, and linear regression on components."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hs_deepatoms.spectra.space import SpectrumSpace

NEIGHBOURS = (1, 3, 10, 30)
ALPHAS = np.logspace(-3, 6, 10)  # of the ridge, times the mean square of the inputs
MOST = 12000  # pixels that a baseline is fitted on
KNN_FEATURES = 24  # principal components of a patch that distances are measured in
PARTS = (3, 5, 8)  # non-negative components that are tried


@dataclass(frozen=True, eq=False)
class Baseline:
    """A prediction of normalised spectra: ``offset + scores @ basis``.

    Attributes
    ----------
    scores : numpy.ndarray, float32, shape (k, ny, nx)
    basis : numpy.ndarray, float32, shape (k, n)
    offset : numpy.ndarray, float32, shape (n,)
    """

    scores: np.ndarray
    basis: np.ndarray
    offset: np.ndarray

    def at(self, where: tuple) -> np.ndarray:
        """Normalised spectra (..., n) of some pixels."""
        return np.moveaxis(self.scores[(slice(None), *where)], 0, -1) @ self.basis + self.offset


def patch_rows(image: np.ndarray, window: int, step: int, places: np.ndarray) -> np.ndarray:
    """Windows of output pixels ``places`` (n, 2) of a padded map (c, H, W), as rows (n, c * window ** 2)."""
    views = np.lib.stride_tricks.sliding_window_view(image, (window, window), axis=(1, 2))
    found = views[:, places[:, 0] * step, places[:, 1] * step]
    return found.transpose(1, 0, 2, 3).reshape(len(places), -1)


def fit_regressions(image: np.ndarray, window: int, step: int, targets: np.ndarray, train: np.ndarray,
                    look: np.ndarray, weights: np.ndarray, wanted: np.ndarray,
                    rng: np.random.Generator) -> dict:  # fmt: skip
    """Nearest neighbours and ridge regression from patches to targets.

    Parameters
    ----------
    image : numpy.ndarray, shape (c, H, W)
        Padded map.
    window, step : int
    targets : numpy.ndarray, shape (k, ny, nx)
    train, look, wanted : numpy.ndarray of bool, shape (ny, nx)
        Pixels to fit on, to choose the strength or the number of neighbours by, and to predict.
    weights : numpy.ndarray, shape (k,)
        What the squared error of each target counts in this choice.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to numpy.ndarray
        ``"knn"`` and ``"ridge"``: targets (k, ny, nx), 0 where not wanted.
    """
    image = _standardised(image)
    some = _some(train, MOST, rng)
    chosen = _some(look if look.any() else train, MOST // 4, rng)
    rows, checked = (patch_rows(image, window, step, places) for places in (some, chosen))
    known, checks = (targets[:, p[:, 0], p[:, 1]].T for p in (some, chosen))
    reduce = _reduction(rows)
    ridge = _best_ridge(reduce.transform(rows), known, reduce.transform(checked), checks, weights)
    near = _best_neighbours(reduce.transform(rows)[:, :KNN_FEATURES], known,
                            reduce.transform(checked)[:, :KNN_FEATURES], checks, weights)  # fmt: skip
    out = {name: np.zeros_like(targets) for name in ("knn", "ridge")}
    places = np.argwhere(wanted)
    for start in range(0, len(places), 4096):
        part = places[start : start + 4096]
        inner = reduce.transform(patch_rows(image, window, step, part))
        out["ridge"][:, part[:, 0], part[:, 1]] = ridge.predict(inner).T
        out["knn"][:, part[:, 0], part[:, 1]] = near.predict(inner[:, :KNN_FEATURES]).reshape(len(part), -1).T
    return out


def spectral_baselines(space: SpectrumSpace, regressed: dict, parts: dict, mean: np.ndarray) -> dict[str, Baseline]:
    """The baselines of a spectrum, from regressed scores and from regressed non-negative components."""
    k = space.k
    shape = regressed["ridge"].shape[1:]
    nothing = np.zeros((0, len(mean)), np.float32)
    found = {"mean": Baseline(np.zeros((0, *shape), np.float32), nothing, mean.astype(np.float32))}
    for name, own in (("knn", "knn"), ("ridge", "pca_ridge")):
        found[own] = Baseline(regressed[name][:k], space.basis, space.mean.astype(np.float32))
    found["nmf_ridge"] = Baseline(parts["scores"], parts["basis"], parts["offset"].astype(np.float32))
    return found


def lowest(scores: np.ndarray, space: SpectrumSpace) -> float:
    """Lowest scaled value of the spectra of scores (m, s), at most 0: what they are above is not negative."""
    return min(0.0, float((space.spectra(scores) / space.scale).min()))


def non_negative_parts(
    scores: np.ndarray, space: SpectrumSpace, k: int, rng: np.random.Generator, floor: float = 0.0
) -> np.ndarray:
    """Non-negative components (k, n) of the spectra of scores (m, s) above ``floor``, in the scaling of the space.

    Spectra made from scores are free of most of the noise. There are fewer than ``k`` of few spectra or channels.
    """
    from sklearn.decomposition import NMF

    scaled = np.maximum(space.spectra(scores) / space.scale - floor, 0)
    k = min(k, *scaled.shape)
    norm = scaled.mean() or 1.0
    model = NMF(k, init="nndsvda", max_iter=200, tol=1e-3, random_state=int(rng.integers(2**31)))
    _quiet(lambda: model.fit(scaled / norm))
    return (model.components_ * space.scale).astype(np.float32)


def non_negative_shares(scores: np.ndarray, space: SpectrumSpace, basis: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Non-negative shares (n, k) of components in the spectra of scores (n, s) above ``floor``."""
    from sklearn.decomposition import non_negative_factorization

    scaled = np.maximum(space.spectra(scores) / space.scale - floor, 0).astype(float)
    fixed = (basis / space.scale).astype(float)
    return _quiet(lambda: non_negative_factorization(scaled, H=fixed, n_components=len(basis), update_H=False,
                                                     max_iter=100, tol=1e-3)[0])  # fmt: skip


def non_negative_kept(shares: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Shares (k, ny, nx) without negative ones, their spectra with the sums they had.

    What is cut off would else be added to the total: an error of the whole spectrum, larger than that of its shape.
    """
    sums, cut = basis.sum(1, dtype=float), np.maximum(shares, 0)
    before, after = (np.tensordot(sums, one, 1) for one in (shares, cut))
    factor = np.divide(before, after, out=np.zeros_like(before), where=after > 0)
    return (cut * np.maximum(factor, 0)).astype(np.float32)


def _quiet(fit: Callable[[], Any]) -> Any:
    """What a fit gives: a baseline that stopped before it converged is one still; sklearn would warn of it."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit()


def _standardised(image: np.ndarray) -> np.ndarray:
    """Channels of unit variance, as the network has them: no unit makes one of them count for nothing."""
    mean, std = (f(image, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return (image - mean) / np.where(std > 0, std, 1)


def _some(use: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    places = np.argwhere(use)
    return places[np.sort(rng.permutation(len(places))[:most])]


def _reduction(rows: np.ndarray):
    """Principal components of patches that vary at all."""
    from sklearn.decomposition import PCA

    found = PCA(min(256, *rows.shape), random_state=0).fit(rows)
    kept = max(1, int((found.explained_variance_ > 1e-8 * found.explained_variance_[0]).sum()))
    return PCA(kept, random_state=0).fit(rows) if kept < found.n_components_ else found


def _best_ridge(rows, known, checked, checks, weights):
    from sklearn.linear_model import Ridge

    size = float((rows**2).mean()) or 1.0
    made = [Ridge(alpha * size).fit(rows, known) for alpha in ALPHAS]
    return min(
        made, key=lambda one: float((weights * (one.predict(checked).reshape(checks.shape) - checks) ** 2).sum())
    )


def _best_neighbours(rows, known, checked, checks, weights):
    from sklearn.neighbors import KNeighborsRegressor

    made = [KNeighborsRegressor(k).fit(rows, known) for k in NEIGHBOURS if k <= len(rows)]
    some = slice(0, 1500)
    return min(made, key=lambda one: float(
        (weights * (one.predict(checked[some]).reshape(checks[some].shape) - checks[some]) ** 2).sum()))  # fmt: skip
