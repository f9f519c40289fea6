"""Phases in a map of a latent: thresholds and contours of scikit-image, and what is no contrast stays one phase."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import is_whole

METHODS = ("otsu", "chan_vese")
ROUNDS = 10
RANGE = 0.35  # of all values: how unlike neighbours are that count little in the filter
FEW, PAIR = 0.0025, 2  # of the values, that may be outliers, and so many in any case: more are a phase
# of the range of the others, and of their noise, by which an outlier lies outside
BEYOND, SCATTER = 0.5, 4.0
FAR = 50.0  # and of the range, where neighbours are not known: a rare atom may be a phase of its own
SMALLEST = 50  # values, of which two are few
LEAST = 0.7  # a normal distribution cut at its middle has 0.64, two phases that can be told apart above 0.8


def phases(
    values: np.ndarray, *, method: str = "otsu", classes: int = 2, denoise: float | None = 1.0, least: float = LEAST
) -> np.ndarray:
    """Phase of every pixel of a map. A few values far from all others are outliers: they belong to the nearest phase.

    Parameters
    ----------
    values : numpy.ndarray, shape (h, w) or (n,)
        A map, or values without neighbours; NaN: no phase.
    method : {"otsu", "chan_vese"}
        Thresholds (Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979), doi:10.1109/TSMC.1979.4310076), or two phases
        with a short boundary (Chan & Vese, IEEE Trans. Image Process. 10, 266 (2001), doi:10.1109/83.902291).
    classes : int
        Of Otsu's method.
    denoise : float or None
        Sigma in pixels of a bilateral filter before; values without neighbours have none.
    least : float
        Share of the variance that the phases must explain; a map below it is one phase.

    Returns
    -------
    numpy.ndarray, int
        Same shape: 0, 1, ... by rising mean, -1 for NaN.

    Raises
    ------
    InvalidArgumentError
        An unknown method, fewer than two classes, a contour of values without neighbours.

    Examples
    --------
    >>> phases(np.array([0.1, 0.0, 5.0, 5.2, np.nan])).tolist()
    [0, 0, 1, 1, -1]
    """
    _check(values, method, classes)
    known = np.isfinite(values)
    labels = np.full(values.shape, -1)
    labels[known] = 0
    values = _without_outliers(values, known)
    if np.unique(values[known]).size < classes:
        return labels
    filled = np.where(known, values, np.median(values[known])).astype(float)
    if denoise and values.ndim == 2:
        filled = _denoised(filled, denoise, known)
    found = _cut(filled, known, classes) if method == "otsu" else _contour(filled)
    if explained(filled[known], found[known]) < least:
        return labels
    labels[known] = _by_mean(found[known], filled[known])
    return labels


def phases_of_nodes(values: np.ndarray, layout: np.ndarray, **options) -> np.ndarray:
    """`phases` of values (n,) at frame, row and column (n, 3) of a grid, every frame by itself."""
    found = np.full(values.size, -1)
    for one in np.unique(layout[:, 0]):
        here = layout[:, 0] == one
        row, column = layout[here, 1], layout[here, 2]
        grid = np.full((row.max() + 1, column.max() + 1), np.nan)
        grid[row, column] = values[here]
        found[here] = phases(grid, **options)[row, column]
    return found


def explained(values: np.ndarray, labels: np.ndarray) -> float:
    """Share of the variance of values (n,) that lies between the labels (n,)."""
    total = values.var()
    inside = sum(values[labels == k].var() * (labels == k).mean() for k in np.unique(labels))
    return float(1 - inside / total) if total > 0 else 0.0


def _check(values: np.ndarray, method: str, classes: int) -> None:
    if method not in METHODS:
        raise InvalidArgumentError(explain(f"method={method!r}", ", ".join(map(repr, METHODS)), "Choose one of these."))
    if not is_whole(classes, 2) or (method != "otsu" and classes != 2):
        raise InvalidArgumentError(explain(f"classes={classes!r}", "2 or more; 2 for chan_vese", "Choose another."))
    if method == "chan_vese" and values.ndim != 2:
        todo = 'Use patches on a grid, or method="otsu".'
        raise InvalidArgumentError(explain("a contour of values that have no grid", "a map", todo))


def _without_outliers(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values whose few outliers are brought to the end of what the others are allowed; all else as it was.

    Of a map, the others are the medians of neighbourhoods: what fills three by three pixels is no outlier.
    """
    few = max(PAIR, int(FEW * known.sum()))
    if known.sum() < SMALLEST:
        return values
    if values.ndim == 2:
        others = _medians(values)[known]
        noise = 1.4826 * np.median(np.abs(values[known] - others))
    else:
        others, noise = np.sort(values[known])[few:-few], 0.0
    margin = BEYOND * np.ptp(others) + SCATTER * noise
    low, high = others.min() - margin, others.max() + margin
    outside = np.maximum(low - values, values - high) > (0.0 if values.ndim == 2 else FAR * np.ptp(others))
    return np.where(outside, np.clip(values, low, high), values) if outside.sum() <= few else values


def _medians(values: np.ndarray) -> np.ndarray:
    """Median of each pixel of a map and its neighbours, without NaN."""
    padded = np.pad(np.where(np.isfinite(values), values, np.nan), 1, constant_values=np.nan)
    near = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*values.shape, 9)
    near = np.sort(near, axis=-1)  # NaN last
    count = np.isfinite(near).sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(near, np.maximum(count - 1 + k, 0) // 2, axis=-1) for k in (0, 1)]
    return (middle[0] + middle[1])[..., 0] / 2


def _denoised(values: np.ndarray, sigma: float, known: np.ndarray) -> np.ndarray:
    """A bilateral filter; scikit-image's own (0.26) moves maps by a pixel and more, its boundaries with them."""
    import torch

    from hs_deepatoms.latent.physics import bilateral

    low, high = values[known].min(), values[known].max()
    scaled = torch.from_numpy((values - low) / (high - low))
    found = bilateral(scaled, sigma, RANGE, torch.from_numpy(known))[0].numpy()
    return np.where(known, low + (high - low) * found, values)


def _cut(values: np.ndarray, known: np.ndarray, classes: int) -> np.ndarray:
    from skimage.filters import threshold_multiotsu, threshold_otsu

    first = [threshold_otsu(values[known])] if classes == 2 else threshold_multiotsu(values[known], classes)
    edges = np.asarray(first, float)
    for _ in range(ROUNDS):  # the histogram's thresholds lie anywhere in a gap: to its middle
        labels = np.digitize(values[known], edges)
        means = np.array([values[known][labels == k].mean() if (labels == k).any() else np.nan for k in range(classes)])
        if np.isnan(means).any():
            break
        edges = (means[1:] + means[:-1]) / 2
    return np.digitize(values, edges)


def _contour(values: np.ndarray) -> np.ndarray:
    from skimage.segmentation import chan_vese

    low, high = values.min(), values.max()
    return chan_vese((values - low) / (high - low), mu=0.1, init_level_set="checkerboard").astype(int)


def _by_mean(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    names = np.unique(labels)
    order = np.argsort([values[labels == k].mean() for k in names])
    rank = np.empty(names.size, int)
    rank[order] = np.arange(names.size)
    return rank[np.searchsorted(names, labels)]
