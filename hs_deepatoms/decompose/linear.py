"""Principal, independent and non-negative components."""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.decompose.model import Model, encode_samples
from hs_deepatoms.decompose.pedestal import pedestal
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.decompose.samples import Samples

SCREE = 20  # principal components whose variance is reported
WIDEST = 4096  # features whose covariance matrix is held in memory


def fit_pca(samples: Samples, k: int, rng: np.random.Generator) -> Decomposition:
    """Principal components: scikit-learn's PCA; of many samples from their covariance, which is exact in one pass, or
    (more than 4096 features) IncrementalPCA.

    Returns
    -------
    Decomposition
        Components by falling variance; the largest entry of each is positive.
    """
    components, variance, total = principal_axes(samples, k, rng)
    k = min(k, len(components))
    model = Model("pca", {"mean": samples.mean, "unmixing": components[:k]})
    scores = samples.mapped(lambda rows: encode_samples(model, rows), k)
    return Decomposition(scores, model, components[:k], variance[:k], total, variance)


def principal_axes(samples: Samples, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """At least ``k`` principal axes (r, n_features), their variances (r,) and the total variance."""
    rank = min(max(k, SCREE), samples.n_features, max(1, samples.n - 1))
    if samples.whole is not None:
        from sklearn.decomposition import PCA

        fitted = PCA(rank, random_state=_state(rng)).fit(samples.whole)
        axes, variance = fitted.components_, fitted.explained_variance_
        return oriented(axes), np.maximum(np.nan_to_num(variance), 0), samples.total_variance
    if samples.n_features > WIDEST:
        return _incremental(samples, rank)
    from scipy.linalg import eigh

    covariance = np.zeros((samples.n_features,) * 2)
    for _, rows in samples.batches():
        rows = rows - samples.mean
        covariance += rows.T @ rows
    covariance /= max(1, samples.n - 1)
    f = samples.n_features
    variance, axes = eigh(covariance, subset_by_index=(f - rank, f - 1), overwrite_a=True)
    return oriented(axes.T[::-1]), np.maximum(variance[::-1], 0), samples.total_variance


def fit_ica(samples: Samples, k: int, rng: np.random.Generator) -> Decomposition:
    """Independent components inside the first ``k`` principal ones: scikit-learn's FastICA on their scores.

    Raises
    ------
    InvalidArgumentError
        If the samples vary in fewer than ``k`` directions.
    """
    from sklearn.decomposition import FastICA

    axes, variance, total = principal_axes(samples, k, rng)
    if len(variance) < k or variance[k - 1] <= 1e-12 * variance[0]:
        known = int((variance > 1e-12 * variance[0]).sum())
        got = f"n_components={k} for patches that vary in {known} directions"
        raise InvalidArgumentError(explain(got, f"at most {known}", "Give fewer components."))
    axes = axes[:k]
    principal = samples.mapped(lambda rows: (rows - samples.mean) @ axes.T, k)
    ica = FastICA(k, whiten="unit-variance", random_state=_state(rng), max_iter=2000, tol=1e-5).fit(principal)
    components = ica.mixing_.T @ axes
    norm = np.linalg.norm(components, axis=1)
    sign = np.sign(oriented(components)[:, 0] * components[:, 0])
    sign[sign == 0] = 1
    order = np.argsort(-norm)
    components = (components * (sign / norm)[:, None])[order]
    unmixing = ((ica.components_ @ axes) * (sign * norm)[:, None])[order]
    model = Model("ica", {"mean": samples.mean, "unmixing": unmixing})
    scores = samples.mapped(lambda rows: encode_samples(model, rows), k)
    return Decomposition(scores, model, components, scores.var(axis=0), total, variance)


def fit_nmf(samples: Samples, k: int, rng: np.random.Generator) -> Decomposition:
    """Non-negative components: scikit-learn's NMF, of many samples MiniBatchNMF that starts from the NMF of a part.

    Negative numbers that are noise around zero become 0. Where the mean of the samples is negative, too, all samples
    are shifted by their floor, which the model keeps as ``offset``: a shift blurs the parts. So are samples on a
    pedestal, which every part would have to share, but not parts that have a base of their own in common. What dead
    pixels have far below the floor is clipped to it, counted as ``clipped`` and warned about.
    """
    offset = pedestal(samples, k)
    clipped = _clipped(samples, offset)
    if samples.whole is not None:
        components = _nmf(np.maximum(samples.whole - offset, 0), k, rng)
    else:
        components = _minibatch_nmf(samples, k, offset, rng)
    norm = np.linalg.norm(components, axis=1)
    components = components / np.where(norm > 0, norm, 1)[:, None]
    arrays = {"mean": samples.mean, "offset": np.array(offset), "components": components}
    model = Model("nmf", arrays, {"clipped": clipped} if offset else {})
    scores = samples.mapped(lambda rows: encode_samples(model, rows), k)
    order = np.argsort(-(scores**2).sum(axis=0))
    model.arrays["components"] = components[order]
    scores = scores[:, order]
    shared = variance_with(scores, components[order])
    return Decomposition(scores, model, components[order], shared, samples.total_variance)


def _clipped(samples: Samples, offset: float) -> int:
    """How many numbers lie below a pedestal that is taken away, said where there are any."""
    if not offset or samples.minimum >= offset:
        return 0
    number = sum(int((rows < offset).sum()) for _, rows in samples.batches())
    warn_user(f"{number} of {samples.n * samples.n_features} numbers are clipped to {offset:.6g}, the floor that NMF "
              "takes away from all: some lie far below it (dead pixels?)")  # fmt: skip
    return number


def variance_with(scores: np.ndarray, components: np.ndarray) -> np.ndarray:
    """How much of the samples' variance goes with each score (n, k), alone: what a regression on it explains (k,).

    Of components (k, n_features) that are orthogonal it is the variance of the scores. Parts that overlap vary against
    each other, and the variances of their scores may be many times that of the samples.

    Examples
    --------
    >>> along = np.linspace(0, 1, 5)
    >>> variance_with(np.stack([along, 1 - along], 1), np.array([[1.0, 0.0], [0.8, 0.6]])).round(3).tolist()
    [0.05, 0.05]
    """
    covariance = np.atleast_2d(np.cov(scores, rowvar=False, bias=True))
    own = np.diag(covariance)
    squared = ((covariance @ components) ** 2).sum(axis=1)
    return np.divide(squared, own, out=np.zeros(len(own)), where=own > 0)


def oriented(components: np.ndarray) -> np.ndarray:
    """Components with the sign that makes their entry of largest magnitude positive."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -components, components)


def _incremental(samples: Samples, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    from sklearn.decomposition import IncrementalPCA

    rank = min(rank, samples.batch)
    fitted, held = IncrementalPCA(rank), []
    for _, rows in samples.batches():
        held.append(rows)
        if sum(map(len, held)) >= rank:  # a batch must not have fewer rows than components
            fitted.partial_fit(np.concatenate(held))
            held = []
    if held:
        fitted.partial_fit(np.concatenate([*held, samples.some[:rank]]))
    return oriented(fitted.components_), fitted.explained_variance_, samples.total_variance


def _nmf(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    from sklearn.decomposition import NMF

    init = "nndsvda" if k <= min(rows.shape) else "random"
    return NMF(k, init=init, random_state=_state(rng), max_iter=2000, tol=1e-4).fit(rows).components_


def _minibatch_nmf(samples: Samples, k: int, offset: float, rng: np.random.Generator) -> np.ndarray:
    from sklearn.decomposition import MiniBatchNMF

    from hs_deepatoms.decompose.model import non_negative_scores

    components = _nmf(np.maximum(samples.some - offset, 0), k, rng)
    # old batches fade away over about half of a pass
    forget = max(0.7, 1 - 2 * samples.batch / samples.valid.size)
    fitted = MiniBatchNMF(k, init="custom", random_state=_state(rng), forget_factor=forget, batch_size=samples.batch,
                          fresh_restarts_max_iter=10)  # fmt: skip
    for _, rows in samples.batches(rng):
        rows = np.maximum(rows - offset, 0)
        first = {} if hasattr(fitted, "components_") else {"H": components, "W": non_negative_scores(rows, components)}
        fitted.partial_fit(rows, **first)
    return fitted.components_


def _state(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))
