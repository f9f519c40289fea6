"""How smooth abundances are made is what the cube says itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hs_deepatoms.spectra.smoothing import _from_differences, smooth_abundances

SCAN = (31, 42)
K = 3
STRENGTHS = (0.1, 0.3, 0.6, 1.0, 1.5, 3.0, 10.0)


def field(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Abundances (pixels, k) that add up to 1."""
    ny, nx = SCAN
    if kind == "gradient":
        y, x = np.mgrid[:ny, :nx]
        one = 0.2 + 0.6 * x / nx
        two = (1 - one) * (0.3 + 0.4 * y / ny)
        return np.stack([one, two, 1 - one - two], -1).reshape(-1, K)
    noise = rng.normal(size=(K, *SCAN))
    if kind != "random":
        noise = np.stack([gaussian_filter(one, 5) for one in noise])
        noise /= noise.std()
    values = (noise == noise.max(0)).astype(float) if kind == "sharp" else np.exp(noise)
    return (values / values.sum(0)).reshape(K, -1).T


def measured(truth: np.ndarray, noise: float, rng: np.random.Generator):
    """Information and target of abundances whose errors go together, larger in thin pixels."""
    root = rng.normal(size=(K, K)) + 2 * np.eye(K)
    thick = rng.uniform(0.5, 2, len(truth))
    information = thick[:, None, None] * np.linalg.inv(root @ root.T / np.trace(root @ root.T) * K * noise**2)
    error = np.linalg.solve(np.linalg.cholesky(information).transpose(0, 2, 1), rng.normal(size=(*truth.shape, 1)))
    return information, np.einsum("mij,mj->mi", information, truth + error[..., 0])


@pytest.mark.parametrize("sum_to_one", [False, True])
@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize("kind", ["sharp", "smooth", "gradient", "random"])
def test_one_is_near_the_best_strength(kind, noise, sum_to_one):
    rng = np.random.default_rng(5)
    truth = field(kind, rng)
    information, target = measured(truth, noise, rng)
    places = np.delete(np.arange(len(truth)), [3, 700, 701])
    given = information[places], target[places], places, SCAN
    begin = np.maximum(np.linalg.solve(given[0], given[1][..., None])[..., 0], 0)
    rms = {s: rms_of(smooth_abundances(begin, *given, s, sum_to_one=sum_to_one), truth[places]) for s in STRENGTHS}
    assert rms[1.0] < 1.1 * min(rms.values())
    if kind != "random":
        assert rms[1.0] < rms_of(begin, truth[places])


def rms_of(found, truth):
    return np.sqrt(((found - truth) ** 2).mean())


@pytest.mark.parametrize("scan", [(400,), (40, 50), (12, 11, 10)])
def test_precision_of_a_field_is_found_from_its_differences(scan):
    """Of a field that is drawn from the prior, on a line, a plane and in space."""
    from scipy.fft import idctn

    rng, precision = np.random.default_rng(2), np.array([0.5, 30.0])
    bend = np.sum(np.meshgrid(*(2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in scan), indexing="ij"), 0)
    found = []
    for _ in range(20):
        waves = rng.normal(size=(*scan, 2)) / np.sqrt(precision * np.where(bend > 0, bend, np.inf)[..., None])
        truth = idctn(waves, axes=range(len(scan)), norm="ortho").reshape(-1, 2)
        noise = np.broadcast_to([0.3, 0.002], truth.shape)
        own = truth + rng.normal(size=truth.shape) * np.sqrt(noise)
        found.append(_from_differences(own, noise, np.arange(len(own)), scan))
    np.testing.assert_allclose(1 / np.mean(1 / np.array(found), 0), precision, rtol=0.06)


@pytest.mark.parametrize(("scan", "k", "sum_to_one"), [((1,), 2, False), ((1, 9), 1, True), ((2, 1, 1), 2, True)])
def test_a_few_pixels_are_enough(scan, k, sum_to_one):
    n = int(np.prod(scan))
    information = np.broadcast_to(4 * np.eye(k), (n, k, k))
    found = smooth_abundances(np.ones((n, k)), information, np.full((n, k), 2.0), np.arange(n), scan, 1,
                              sum_to_one=sum_to_one)  # fmt: skip
    np.testing.assert_allclose(found, 1 / k if sum_to_one else 0.5)
