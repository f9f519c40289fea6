"""Planted modes are found, in memory and batch by batch."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.decompose import linear, samples
from hs_deepatoms.decompose.fit import fit_samples
from hs_deepatoms.decompose.model import encode_samples, non_negative_scores
from hs_deepatoms.decompose.pedestal import floor
from hs_deepatoms.errors import InvalidArgumentError
from tests.decompose.planted import as_samples, cosines, matched

N, F, K = 900, 80, 3


def modes(seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((F, K)))[0].T


def planted(method, seed=1):
    rng = np.random.default_rng(seed)
    if method == "pca":
        truth, scores = modes(), rng.standard_normal((N, K)) * [3.0, 2.0, 1.0]
    elif method == "ica":
        truth, scores = modes(), rng.choice([-1.0, 1.0], (N, K)) + 0.2 * rng.standard_normal((N, K))
    else:
        truth = np.zeros((K, F))
        for k in range(K):
            truth[k, 20 * k : 20 * k + 30] = rng.random(30) + 0.5
        scores = rng.gamma(1.0, 1.0, (N, K)) * (rng.random((N, K)) < 0.6)
    return scores @ truth + 0.03 * rng.standard_normal((N, F)), truth, scores


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("method", ["pca", "ica", "nmf"])
def test_planted_modes(method, incremental, monkeypatch):
    monkeypatch.setattr(samples, "BATCH", 8 * F * 200)
    rows, truth, scores = planted(method)
    found = fit_samples(as_samples(rows, incremental), method, K, 0)
    assert cosines(found.components, truth).min() >= 0.98
    assert matched(found.scores, scores).min() >= 0.98
    np.testing.assert_allclose(np.linalg.norm(found.components, axis=1), 1)
    assert 0.9 < found.variance.sum() / found.total_variance <= 1.2 or method == "nmf"


def test_batches_give_the_same_principal_components(monkeypatch):
    rows = planted("pca")[0]
    whole = fit_samples(as_samples(rows), "pca", K, 0)
    monkeypatch.setattr(samples, "BATCH", 8 * F * 100)
    parts = fit_samples(as_samples(rows, True), "pca", K, 0)
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-9)
    np.testing.assert_allclose(parts.scree, whole.scree, rtol=1e-9)
    monkeypatch.setattr(linear, "WIDEST", 10)
    wide = fit_samples(as_samples(rows, True), "pca", K, 0)
    assert cosines(wide.components, whole.components).min() > 0.999


@pytest.mark.parametrize("method", ["pca", "ica", "nmf", "gmm", "kmeans", "som", "tsne"])
def test_seeds(method):
    rows = planted("nmf")[0][:90]
    first, second = (fit_samples(as_samples(rows), method, 2, 5).scores for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_rows_with_nan_are_left_out():
    rows = planted("pca")[0]
    clean = fit_samples(as_samples(rows[1:]), "pca", 2, 0)
    rows[0, 3] = np.nan
    dirty = as_samples(rows)
    found = fit_samples(dirty, "pca", 2, 0)
    np.testing.assert_allclose(found.scores, clean.scores)
    assert np.isnan(dirty.spread(found.scores)[0]).all()
    assert np.isnan(encode_samples(found.model, rows[:2]))[:, 0].tolist() == [True, False]


def test_negative_data_is_shifted_for_nmf():
    found = fit_samples(as_samples(planted("nmf")[0] - 3), "nmf", 3, 0)
    assert found.model.arrays["offset"] < -2.9 and (found.scores >= 0).all()


@pytest.mark.parametrize("pedestal", [2.0, 1e4])
def test_a_pedestal_changes_no_parts(pedestal):
    """The iteration ended after three steps: all parts were nearly the pedestal already."""
    rows = planted("nmf")[0]
    found = fit_samples(as_samples(rows - rows.min() + pedestal), "nmf", K, 0)
    plain = fit_samples(as_samples(rows - rows.min()), "nmf", K, 0)
    np.testing.assert_allclose(found.components, plain.components, atol=1e-3)
    np.testing.assert_allclose(encode_samples(found.model, rows - rows.min() + pedestal), found.scores, atol=1e-3)


@pytest.mark.parametrize("incremental", [False, True])
def test_parts_that_overlap_explain_no_more_than_all_variance(incremental, monkeypatch):
    """Scores of parts with much in common vary against each other, by far more than the samples vary."""
    monkeypatch.setattr(samples, "BATCH", 8 * F * 200)
    rng = np.random.default_rng(0)
    first, second = 0.4 + rng.random((2, F))
    share = rng.random((N, 1))
    rows = share * first + (1 - share) * second + 0.01 * rng.standard_normal((N, F))
    found = fit_samples(as_samples(rows, incremental), "nmf", 2, 0)
    assert found.scores.var(axis=0).max() > 3 * found.total_variance
    assert (found.variance <= found.total_variance).all()
    assert found.variance.max() > 0.9 * found.total_variance  # either score says nearly everything of one share
    principal = fit_samples(as_samples(rows, incremental), "pca", 2, 0)
    np.testing.assert_allclose(linear.variance_with(principal.scores, principal.components), principal.variance,
                               rtol=2 / N)  # fmt: skip


def test_non_negative_scores():
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    components, rows = rng.random((4, 12)), rng.standard_normal((9, 12))
    truth = [nnls(components.T, row)[0] for row in rows]
    np.testing.assert_allclose(non_negative_scores(rows, components), truth, atol=1e-5)


@pytest.mark.parametrize("rows, method, k, words", [
    (np.ones((9, 4)), "pca", 2, "all the same"),
    (np.full((9, 4), np.nan), "pca", 2, "all with NaN"),
    (np.eye(3, 5), "pca", 3, "at least 4"),
    (np.eye(1, 5), "nmf", 1, "at least 2"),
    (np.eye(8, 2), "nmf", 3, "at most 2"),
    (np.outer(np.arange(9), np.ones(4)), "ica", 2, "1 directions"),
    (np.eye(9, 5), "svd", 2, "'nmf'"),
    (np.eye(9, 5), "pca", 0, "above 0"),
    (np.eye(9, 5), "dbscan", 2, "its own number"),
])  # fmt: skip
def test_refusals(rows, method, k, words):
    with pytest.raises(InvalidArgumentError, match=words):
        fit_samples(as_samples(rows), method, k, 0)


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("where", [(5, 7), (slice(None), 7)])
@pytest.mark.parametrize("value", [0.0, -1e6])
def test_dead_pixels_keep_no_pedestal(value, where, incremental):
    """One of them was the floor of all samples, and the pedestal stayed: cosine 0.55."""
    rows, truth, _ = planted("nmf")
    rows = rows - rows.min() + 1e4
    rows[where] = value
    with pytest.warns(UserWarning, match=rf"^\d+ of {N * F} numbers are clipped to 1000.*dead pixels") as said:
        found = fit_samples(as_samples(rows, incremental), "nmf", K, 0)
    assert said[0].filename == __file__
    clipped = found.model.parameters["clipped"]
    assert clipped == (rows < found.model.arrays["offset"]).sum()
    assert 0 <= clipped - (rows == value).sum() <= 0.003 * N * F
    assert cosines(found.components, truth).min() > (0.99 if where == (5, 7) else 0.95)


def test_what_is_no_outlier_is_not_clipped():
    rows = planted("nmf")[0]
    for shifted in (rows - rows.min() + 1e4, rows - 3, np.random.default_rng(0).poisson(rows.clip(0) + 20.0)):
        samples = as_samples(shifted)
        assert floor(samples) == samples.minimum


@pytest.mark.parametrize("spread", [0.2, 0.05])
def test_a_base_that_parts_have_in_common_is_no_pedestal(spread):
    """As strong as the scores are: without it, one more part would be needed."""
    rng = np.random.default_rng(4)
    parts = planted("nmf")[1] + 3
    scores = rng.dirichlet(np.ones(K), N) * rng.uniform(1 - spread, 1 + spread, (N, 1))
    rows = scores @ parts + 0.03 * rng.standard_normal((N, F))
    assert rows.min() > rows.mean() - rows.min()
    found = fit_samples(as_samples(rows), "nmf", K, 0)
    assert found.model.arrays["offset"] == 0 and found.model.parameters == {}
    again = found.scores @ found.components
    assert ((rows - again) ** 2).mean() < 1.2 * 0.03**2  # 4.1 and 1.8 without the base
