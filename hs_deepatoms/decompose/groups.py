"""Classes of samples, and embeddings, in the space of the principal components that stand out of the noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.optional import require
from hs_deepatoms.decompose.linear import SCREE, principal_axes
from hs_deepatoms.decompose.model import Model, gaussian_probabilities, nearest_node, one_hot
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.decompose.samples import Samples
from hs_deepatoms.decompose.som import fit_som, som_shape
from hs_deepatoms.engine.serial import one_core_blas

MOST_CLASSES = 10
FITTED = 100_000  # samples from which classes are learned
ALL_AT_ONCE = {"dbscan": 100_000, "hdbscan": 100_000, "tsne": 50_000, "isomap": 10_000, "umap": 1_000_000}
INNER = 3  # principal components inside each class
MIN_SAMPLES = 5


class Reduced(NamedTuple):
    """Samples as points: (n, d) points = (rows - mean) @ unmixing.T, in units of the first one's spread."""

    points: np.ndarray
    mean: np.ndarray
    unmixing: np.ndarray
    scree: np.ndarray
    total: float


def reduce_samples(samples: Samples, rng: np.random.Generator) -> Reduced:
    """Scores of the principal components above the noise, 2 to 20 of them."""
    axes, variance, total = principal_axes(samples, SCREE, rng)
    d = min(len(axes), max(2, signal_rank(variance, total, samples.n, samples.n_features)))
    unmixing = axes[:d] / (np.sqrt(variance[0]) if variance[0] > 0 else 1.0)
    points = samples.mapped(lambda rows: (rows - samples.mean) @ unmixing.T, d)
    return Reduced(points, samples.mean, unmixing, variance, total)


def signal_rank(variance: np.ndarray, total: float, n: int, n_features: int) -> int:
    """How many of the variances are larger than noise alone would give.

    The edge of Marchenko and Pastur (Math. USSR Sb. 1, 457 (1967), doi:10.1070/SM1967v001n04ABEH001994), for noise of
    the variance that the other components leave.
    """
    rank = 0
    for _ in range(len(variance)):
        left = max(total - variance[:rank].sum(), 0) / max(1, n_features - rank)
        above = int((variance > left * (1 + np.sqrt(n_features / n)) ** 2).sum())
        if above <= rank:
            break
        rank = above
    return rank


def fit_gmm(samples: Samples, k: int | None, rng: np.random.Generator) -> Decomposition:
    """Gaussian mixture (scikit-learn); ``k=None`` takes the number of classes of the lowest BIC, 1 to 10."""
    from sklearn.mixture import GaussianMixture

    reduced = reduce_samples(samples, rng)
    some = _some(reduced.points)
    most = max(1, min(MOST_CLASSES, len(some) // (reduced.points.shape[1] + 2)))
    state = int(rng.integers(2**31 - 1))
    with one_core_blas():  # thousands of products of a few numbers each
        fits = {number: GaussianMixture(number, n_init=3, random_state=state, reg_covar=1e-6).fit(some)
                for number in (range(1, most + 1) if k is None else [k])}  # fmt: skip
    bic = {number: float(fitted.bic(some)) for number, fitted in fits.items()}
    best = fits[min(bic, key=bic.get)]
    order = np.argsort(-best.weights_)
    arrays = {"weights": best.weights_[order], "means": best.means_[order], "factors": best.precisions_cholesky_[order]}
    probability = gaussian_probabilities(reduced.points, *arrays.values())
    model = _model("gmm", reduced, arrays)
    return _classified(probability.argmax(axis=1), probability, model, reduced, bic)


def fit_kmeans(samples: Samples, k: int, rng: np.random.Generator) -> Decomposition:
    """scikit-learn's KMeans, the best of 10 starts."""
    from sklearn.cluster import KMeans

    reduced = reduce_samples(samples, rng)
    some = _some(reduced.points)
    fitted = KMeans(k, n_init=10, random_state=int(rng.integers(2**31 - 1))).fit(some)
    nodes = fitted.cluster_centers_[np.argsort(-np.bincount(fitted.labels_, minlength=k))]
    labels = nearest_node(reduced.points, nodes)
    return _classified(labels, one_hot(labels, k), _model("kmeans", reduced, {"nodes": nodes}), reduced)


def fit_map(samples: Samples, k: int, rng: np.random.Generator) -> Decomposition:
    """A self-organising map of ``k`` nodes; classes are nodes, in the order of the sheet."""
    reduced = reduce_samples(samples, rng)
    nodes = fit_som(_some(reduced.points), k, rng)
    labels = nearest_node(reduced.points, nodes)
    model = _model("som", reduced, {"nodes": nodes}, sheet=list(som_shape(k)))
    return _classified(labels, one_hot(labels, k), model, reduced)


def fit_density(samples: Samples, method: str, rng: np.random.Generator) -> Decomposition:
    """DBSCAN or HDBSCAN (scikit-learn); what belongs to no class is -1.

    DBSCAN's radius is the distance to the fifth neighbour that 90 % of the samples are below; HDBSCAN's smallest class
    is 2 % of the samples, at least 5.
    """
    from sklearn.cluster import DBSCAN, HDBSCAN
    from sklearn.neighbors import NearestNeighbors

    _check_number(samples, method)
    reduced = reduce_samples(samples, rng)
    points = reduced.points
    if method == "dbscan":
        few = min(MIN_SAMPLES, len(points) - 1)
        distance = NearestNeighbors(n_neighbors=few).fit(points).kneighbors()[0][:, -1]
        radius = max(float(np.percentile(distance, 90)), 1e-12)
        labels, found = DBSCAN(eps=radius, min_samples=MIN_SAMPLES).fit_predict(points), {"eps": radius}
    else:
        least = max(MIN_SAMPLES, len(points) // 50)
        if len(points) < least:
            got = f"{len(points)} patches for hdbscan"
            raise InvalidArgumentError(explain(got, f"at least {least}", "Give more patches."))
        labels, found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(points), {"min_cluster_size": least}
    k = int(labels.max()) + 1
    order = np.argsort(-np.bincount(labels[labels >= 0], minlength=k))
    labels = np.append(np.argsort(order), -1)[labels]
    return _classified(labels, one_hot(labels, k), Model(method, {}, found), reduced)


def fit_embedding(samples: Samples, method: str, k: int, rng: np.random.Generator) -> Decomposition:
    """t-SNE or Isomap (scikit-learn), or UMAP (umap-learn) of the principal scores."""
    _check_number(samples, method)
    reduced = reduce_samples(samples, rng)
    n, state = samples.n, int(rng.integers(2**31 - 1))
    near = max(1, min(15, n - 1))
    if method == "tsne":
        from sklearn.manifold import TSNE

        if k > 3:
            raise InvalidArgumentError(explain(f"n_components={k} for tsne", "1 to 3", "Give fewer components."))
        estimator = TSNE(k, random_state=state, perplexity=min(30.0, max(1.0, (n - 1) / 3)), init="pca")
        estimator = estimator if k <= reduced.points.shape[1] else estimator.set_params(init="random")
    elif method == "isomap":
        from sklearn.manifold import Isomap

        estimator = Isomap(n_neighbors=near, n_components=k)
    else:
        umap = require("umap", extra="umap", purpose="method='umap'")
        estimator = umap.UMAP(n_components=k, n_neighbors=max(2, near), random_state=state, n_jobs=1)
    scores = np.asarray(estimator.fit_transform(reduced.points), float)
    return Decomposition(scores, Model(method), scree=reduced.scree, total_variance=reduced.total)


def fit_estimator(samples: Samples, estimator: Any) -> Decomposition:
    """Any scikit-learn estimator with ``fit``, cloned: its scores (``transform``), components or classes.

    Raises
    ------
    InvalidArgumentError
        If the samples do not fit into memory, or the estimator gives neither scores nor classes.
    """
    from sklearn.base import clone

    name = type(estimator).__name__
    if samples.whole is None:
        todo = "Choose a method by name, or give fewer patches."
        raise InvalidArgumentError(explain(f"{samples.n} patches for {name}", "patches that fit into 256 MB", todo))
    fitted = clone(estimator)
    scores, labels = None, None
    if hasattr(fitted, "fit_transform"):
        scores = np.asarray(fitted.fit_transform(samples.whole), float)
    elif hasattr(fitted, "fit_predict"):
        labels = np.asarray(fitted.fit_predict(samples.whole))
    else:
        got = f"method={name}, which has neither fit_transform nor fit_predict"
        raise InvalidArgumentError(explain(got, "a scikit-learn transformer or cluster estimator", "Choose another."))
    labels = getattr(fitted, "labels_", labels) if labels is None else labels
    model = Model(name, {}, {"estimator": repr(estimator)})
    if labels is not None:
        labels = np.asarray(labels).astype(np.int64)
        k = int(labels.max(initial=-1)) + 1
        return Decomposition(one_hot(labels, k), model, classes=labels)
    components = getattr(fitted, "components_", None)
    fits = components is not None and np.shape(components) == (scores.shape[1], samples.n_features)
    return Decomposition(scores, model, np.asarray(components, float) if fits else None)


def _classified(labels, scores, model: Model, reduced: Reduced, bic: dict | None = None) -> Decomposition:
    return Decomposition(scores, model, scree=reduced.scree, total_variance=reduced.total, bic=bic,
                         classes=labels.astype(np.int64), inner=_inner(labels, scores.shape[1], reduced))  # fmt: skip


def _inner(labels: np.ndarray, k: int, reduced: Reduced) -> tuple[np.ndarray, np.ndarray]:
    """Principal components inside each class, of what the reduced space holds."""
    m = min(INNER, reduced.points.shape[1])
    scale = np.linalg.norm(reduced.unmixing[0])  # axes have norm 1 before they are scaled
    components, variances = np.zeros((k, m, reduced.mean.size)), np.zeros((k, m))
    for one in range(k):
        points = reduced.points[labels == one]
        if len(points) < 2:
            continue
        variance, axes = np.linalg.eigh(np.atleast_2d(np.cov(points.T)))
        components[one] = axes.T[::-1][:m] @ (reduced.unmixing / scale)
        variances[one] = np.maximum(variance[::-1][:m], 0) / scale**2
    return components, variances


def _model(method: str, reduced: Reduced, arrays: dict, **parameters) -> Model:
    return Model(method, {"mean": reduced.mean, "unmixing": reduced.unmixing, **arrays}, parameters)


def _some(points: np.ndarray) -> np.ndarray:
    return points if len(points) <= FITTED else points[np.linspace(0, len(points) - 1, FITTED).astype(np.int64)]


def _check_number(samples: Samples, method: str) -> None:
    most = ALL_AT_ONCE[method]
    if samples.n > most:
        todo = "Give part of the patches, or choose pca, ica, nmf, gmm, kmeans or som."
        raise InvalidArgumentError(explain(f"{samples.n} patches for {method}", f"at most {most}", todo))
