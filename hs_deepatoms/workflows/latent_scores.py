"""Figures that say how well a decomposition or an autoencoder describes patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("gmm", "autoencoder", "vae", "rvae")
NEIGHBOURS = 15


def classes_of(tree: xr.DataTree, k: int, seed: int) -> np.ndarray:
    """Class (n,) of every patch, the most frequent is 0, -1 for none: a mixture's own, or a mixture of the latents."""
    if "scores" in tree.children:
        return _by_size(tree["scores/class"].values)
    from sklearn.mixture import GaussianMixture

    z = tree["latent/z"].values
    good = np.isfinite(z).all(1)
    found = np.full(len(z), -1)
    k = min(k, int(good.sum()))
    found[good] = GaussianMixture(k, n_init=5, random_state=seed).fit_predict(z[good].astype(float))
    return _by_size(found)


def explained(tree: xr.DataTree, rows: np.ndarray, patches: np.ndarray) -> float:
    """Share of the variance of patches (k, h, w), which are these rows of the table, that is reproduced."""
    if "scores" in tree.children:
        found = tree["scores/class"].values[rows]
        pictures = tree["components/components"].values[np.maximum(found, 0)]
    else:
        pictures = tree.deepatoms.reconstruct(tree["latent/atom"].values[rows]).values
    good = np.isfinite(patches).all((1, 2)) & np.isfinite(pictures).all((1, 2))
    if not good.any():
        return float("nan")
    return float(1 - ((patches - pictures)[good] ** 2).mean() / patches[good].var())


def match(found: np.ndarray, truth: np.ndarray) -> float:
    """Adjusted Rand index; patches without a class are left out."""
    from sklearn.metrics import adjusted_rand_score

    good = found >= 0
    return float(adjusted_rand_score(truth[good], found[good]))


def agreement(classes: list[np.ndarray]) -> list[list[float]]:
    """The same between all pairs."""
    return [[match(one, other) if (other >= 0).all() else match(one[other >= 0], other[other >= 0])
             for other in classes] for one in classes]  # fmt: skip


def orientation(tree: xr.DataTree, angle: np.ndarray, kinds: np.ndarray) -> float:
    """Cross-validated R2 of cos and sin of the angle from the latents, inside each of the kinds (n,); least 0.

    Angles of different kinds have different zeros; a kind of fewer than 30 patches is left out.
    """
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor

    values = tree["scores/scores"].values if "scores" in tree.children else tree["latent/z"].values
    waves = np.stack([np.cos(angle), np.sin(angle)], 1)
    good = np.isfinite(values).all(1) & np.isfinite(waves).all(1)
    rest = total = 0.0
    for kind in np.unique(kinds[good]):
        part = good & (kinds == kind)
        if part.sum() < 30:
            continue
        model = KNeighborsRegressor(min(NEIGHBOURS, int(part.sum()) // 3))
        guess = cross_val_predict(model, values[part], waves[part], cv=3)
        rest += ((waves[part] - guess) ** 2).sum()
        total += ((waves[part] - waves[part].mean(0)) ** 2).sum()
    return float(max(0.0, 1 - rest / total)) if total else float("nan")


def _by_size(labels: np.ndarray) -> np.ndarray:
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    found = np.full(labels.size, -1)
    for rank, name in enumerate(names[np.argsort(-counts, kind="stable")]):
        found[labels == name] = rank
    return found
