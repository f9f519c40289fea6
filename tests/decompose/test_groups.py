"""Planted classes are found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hs_deepatoms.decompose import groups, samples
from hs_deepatoms.decompose.fit import fit_samples
from hs_deepatoms.decompose.groups import signal_rank
from hs_deepatoms.decompose.model import encode_samples
from hs_deepatoms.decompose.som import fit_som, som_shape
from hs_deepatoms.errors import InvalidArgumentError, MissingExtraError
from tests.decompose.planted import as_samples, blobs


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("method, k", [("gmm", None), ("gmm", 3), ("kmeans", 3), ("dbscan", None), ("hdbscan", None)])
def test_classes(method, k, incremental, monkeypatch):
    monkeypatch.setattr(samples, "BATCH", 8 * 60 * 70)
    rows, truth = blobs()
    found = fit_samples(as_samples(rows, incremental), method, k, 0)
    least = 0.8 if method == "dbscan" else 0.95  # 10 % of the samples may be noise to it
    assert adjusted_rand_score(truth, found.classes) >= least
    assert found.scores.shape == (300, 3)
    assert (np.diff(np.bincount(found.classes[found.classes >= 0])) <= 0).all()
    if method in ("gmm", "kmeans"):
        np.testing.assert_allclose(encode_samples(found.model, rows[:20]), found.scores[:20], atol=1e-9)


def test_number_of_classes_by_bic():
    found = fit_samples(as_samples(blobs(k=4, n=500)[0]), "gmm", None, 0)
    assert min(found.bic, key=found.bic.get) == 4 and list(found.bic) == list(range(1, 11))


def test_principal_components_inside_a_class():
    rows, truth = blobs(noise=0.05)
    direction = np.linalg.qr(np.random.default_rng(5).standard_normal((60, 1)))[0][:, 0]
    rows += np.outer(np.random.default_rng(6).standard_normal(300) * (truth == 0), direction)
    found = fit_samples(as_samples(rows), "gmm", 3, 0)
    components, variance = found.inner
    assert abs(components[0, 0] @ direction) > 0.98
    np.testing.assert_allclose(variance[0, 0], 1, atol=0.3)
    assert variance[1, 0] < 0.1


def test_som():
    rows, truth = blobs()
    found = fit_samples(as_samples(rows), "som", 6, 0)
    assert found.model.parameters["sheet"] == [2, 3] and som_shape(7) == (1, 7)
    mixed = sum(np.bincount(truth[found.classes == k], minlength=3).max() for k in range(6))
    assert mixed >= 0.97 * 300
    line = np.random.default_rng(0).uniform(-1, 1, (500, 1)) * [1.0, 0.0]
    nodes = fit_som(line, 5, np.random.default_rng(0))[:, 0]
    assert (np.diff(nodes) > 0).all() or (np.diff(nodes) < 0).all()  # neighbours on the sheet are alike


@pytest.mark.parametrize("method", ["tsne", "isomap"])
def test_embeddings_keep_classes_apart(method):
    from sklearn.neighbors import KNeighborsClassifier

    rows, truth = blobs(n=150)
    scores = fit_samples(as_samples(rows), method, None, 0).scores
    assert scores.shape == (150, 2)
    assert KNeighborsClassifier(3).fit(scores[::2], truth[::2]).score(scores[1::2], truth[1::2]) > 0.95


def test_estimators():
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.decomposition import FactorAnalysis

    rows, truth = blobs()
    factors = fit_samples(as_samples(rows), FactorAnalysis(2, random_state=0), None, 0)
    assert factors.scores.shape == (300, 2) and factors.components.shape == (2, 60)
    classes = fit_samples(as_samples(rows), AgglomerativeClustering(3), None, 0).classes
    assert adjusted_rand_score(truth, classes) > 0.95
    with pytest.raises(InvalidArgumentError, match="score them"):
        encode_samples(factors.model, rows)
    with pytest.raises(InvalidArgumentError, match="256 MB"):
        fit_samples(as_samples(rows, True), FactorAnalysis(2), None, 0)


def test_rank_of_noise_and_signal():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 50))
    for rows, expected in ((noise, 0), (noise + np.outer(3 * rng.standard_normal(400), np.ones(50)), 1)):
        variance = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
        assert abs(signal_rank(variance[:20], variance.sum(), 400, 50) - expected) <= 1


def test_too_many_for_a_method(monkeypatch):
    monkeypatch.setitem(groups.ALL_AT_ONCE, "isomap", 100)
    with pytest.raises(InvalidArgumentError, match="at most 100"):
        fit_samples(as_samples(blobs()[0]), "isomap", None, 0)


def test_umap_names_its_extra_or_tells_blobs_apart():
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"hs_deepatoms\[umap\]"):
            fit_samples(as_samples(blobs()[0]), "umap", None, 0)
        return
    from sklearn.metrics import silhouette_score

    rows, classes = blobs()
    one, two = (fit_samples(as_samples(rows), "umap", None, 0).scores for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert silhouette_score(one, classes) > 0.6
