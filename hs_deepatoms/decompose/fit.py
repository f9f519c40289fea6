"""The method a user names, on samples."""

from __future__ import annotations

from typing import Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms._core.seeds import generator
from hs_deepatoms.decompose import groups, linear
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.decompose.samples import Samples

LINEAR = {"pca": linear.fit_pca, "ica": linear.fit_ica, "nmf": linear.fit_nmf}
GROUPS = {"gmm": groups.fit_gmm, "kmeans": groups.fit_kmeans, "som": groups.fit_map}
DENSITY = ("dbscan", "hdbscan")
EMBEDDINGS = ("tsne", "isomap", "umap")
METHODS = (*LINEAR, *GROUPS, *DENSITY, *EMBEDDINGS)
DEFAULT = {"som": 9, "gmm": None, **dict.fromkeys(EMBEDDINGS, 2)}


def fit_samples(samples: Samples, method: Any, n_components: int | None, seed: Any) -> Decomposition:
    """Decompose samples.

    Parameters
    ----------
    samples : Samples
    method : str or scikit-learn estimator
        One of ``METHODS``, or an object with ``fit_transform`` or ``fit_predict``.
    n_components : int or None
        None: 4; 9 for ``som``, 2 for embeddings, chosen by BIC for ``gmm``; ``dbscan`` and ``hdbscan`` find their own.
    seed : int, numpy.random.Generator or None

    Returns
    -------
    Decomposition

    Raises
    ------
    InvalidArgumentError
        An unknown method, or more components than samples.
    """
    check_method(method, n_components)
    if not isinstance(method, str):
        return groups.fit_estimator(samples, method)
    k = DEFAULT.get(method, 4) if n_components is None else int(n_components)
    least = max(2, 1 if k is None or method in DENSITY else k + (method in ("pca", "ica")))
    if samples.n < least:
        got = f"{samples.n} patches without NaN for {method!r}" + (f" with n_components={k}" if k else "")
        raise InvalidArgumentError(explain(got, f"at least {least}", "Give more patches, or fewer components."))
    if method in LINEAR and k > samples.n_features:
        got = f"n_components={k} for patches of {samples.n_features} values"
        raise InvalidArgumentError(explain(got, f"at most {samples.n_features}", "Give fewer components."))
    rng = generator(seed)
    if method in LINEAR:
        return LINEAR[method](samples, k, rng)
    if method in GROUPS:
        return GROUPS[method](samples, k, rng)
    if method in DENSITY:
        return groups.fit_density(samples, method, rng)
    return groups.fit_embedding(samples, method, k, rng)


def check_method(method: Any, n_components: int | None) -> None:
    """Refuse unknown methods, and numbers of components that are none."""
    known = method in METHODS if isinstance(method, str) else hasattr(method, "fit") and not isinstance(method, type)
    if not known:
        allowed = f"{', '.join(map(repr, METHODS))}, or a scikit-learn estimator such as FactorAnalysis(3)"
        raise InvalidArgumentError(explain(f"method={method!r}", allowed, "Choose one of these."))
    if n_components is None:
        return
    number = is_whole(n_components, 1)
    own = not isinstance(method, str) or method in DENSITY
    if own or not number:
        allowed = "None: this method has its own number" if own else "a whole number above 0, or None"
        got = f"n_components={n_components!r} for {method!r}"
        raise InvalidArgumentError(explain(got, allowed, "Leave it out."))
