"""Planted cubes are taken apart to the bound of the noise, block by block as at once."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hs_deepatoms.errors import InvalidArgumentError
from hs_deepatoms.simulate.edges import abundance_bound, count_image, edge_spectra, phase_maps
from hs_deepatoms.spectra.abundances import constrained, poisson_abundances, standard_errors
from hs_deepatoms.spectra.corners import find_corners
from hs_deepatoms.spectra.cube import Cube, scan_boxes
from hs_deepatoms.spectra.noise import noise_of
from hs_deepatoms.spectra.posterior import sample_abundances, truncated_normal
from hs_deepatoms.spectra.rank import count_components
from hs_deepatoms.spectra.reduce import look_over, reduce_cube
from hs_deepatoms.spectra.unmix import METHODS, Wish, unmix

SHAPE, CHANNELS, K = (40, 44), 160, 3
ENERGY = 200.0 + 4 * np.arange(CHANNELS)


def planted(counts=100.0, jump=0.3, *, seed=0, random=False, shape=SHAPE):
    rng = np.random.default_rng(seed)
    spectra = edge_spectra(K, jump, ENERGY)
    maps = phase_maps(shape, K, rng, random=random)
    return count_image(maps, spectra, counts, rng), maps, counts * spectra


def as_cube(data, **more):
    scan, channels = data.shape[:-1], data.shape[-1]
    return Cube(data, np.ones(int(np.prod(scan, dtype=int)), bool), np.ones(channels, bool), **more)


def in_truths_units(found, maps, spectra):
    """Abundances of the matched components, of spectra brought to the sums of the true ones."""
    common = spectra.mean(0)
    shapes = [one / one.sum(1, keepdims=True) / common for one in (spectra, found.components)]
    _, order = linear_sum_assignment(-np.corrcoef(*shapes)[:K, K:])
    scale = found.components[order].sum(1) / spectra.sum(1)
    return found.scores[:, order] * scale, found.std[:, order] * scale, maps.reshape(K, -1).T


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(("counts", "jump"), [(20, 0.3), (500, 0.1), (100, 1.0)])
def test_known_spectra_reach_the_bound(counts, jump, random):
    data, maps, spectra = planted(counts, jump, random=random)
    found = unmix(as_cube(data), Wish(), spectra)
    rms = np.sqrt(((found.scores - maps.reshape(K, -1).T) ** 2).mean(0))
    assert (rms <= 1.1 * abundance_bound(maps, spectra, 1.0)).all()
    assert found.noise.poisson
    assert found.misfit.mean() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("method", ["nfindr", "vca", "nmf"])
@pytest.mark.parametrize(("counts", "jump"), [(20, 0.3), (500, 0.1), (100, 1.0)])
def test_unknown_spectra_with_pure_pixels_stay_within_twice_the_bound(counts, jump, method):
    data, maps, spectra = planted(counts, jump)
    found = unmix(as_cube(data), Wish(method=method))
    assert len(found.components) == K, found.notes["n_components_reason"]
    scores, _, truth = in_truths_units(found, maps, spectra)
    rms = np.sqrt(((scores - truth) ** 2).mean(0))
    assert (rms <= 1.5 * abundance_bound(maps, spectra, 1.0)).all()


def test_stated_errors_hold():
    data, maps, spectra = planted(200, 0.3, random=True)
    truth = maps.reshape(K, -1).T
    inside = (truth > 0.15).all(1)
    known = unmix(as_cube(data), Wish(), spectra)
    assert (np.abs(known.scores - truth) < known.std)[inside].mean() == pytest.approx(0.683, abs=0.05)
    bayes = unmix(as_cube(data), Wish(method="bayes"), spectra)
    assert (np.abs(bayes.scores - truth) < bayes.std)[inside].mean() == pytest.approx(0.683, abs=0.05)
    found = unmix(as_cube(data), Wish(method="nfindr"))
    scores, std, truth = in_truths_units(found, maps, spectra)
    assert 0.6 < (np.abs(scores - truth) < std)[inside].mean() < 0.85


def test_errors_of_nmf_have_those_of_its_components():
    """Also where the factors moved on from the corners that they began at."""
    data, _, _ = planted(100, 1.0)
    found = unmix(as_cube(data), Wish(method="nmf", n_components=3, sum_to_one=True))  # which is not true
    assert found.notes["rounds"] > 0
    _, information, _ = poisson_abundances(data.reshape(-1, CHANNELS).astype(np.float32), found.components)
    alone = standard_errors(information, found.noise.factor, True)
    assert found.std.mean() > 1.02 * alone.mean()


def test_smoothness_helps_where_noise_is_strong():
    rng = np.random.default_rng(3)
    spectra, y = 5 * edge_spectra(2, 0.3, ENERGY), np.linspace(0, 3, 40)
    share = 0.5 + 0.4 * np.sin(y)[:, None] * np.cos(y[:36])
    maps = np.stack([share, 1 - share])
    cube, truth = as_cube(count_image(maps, spectra, 1.0, rng)), maps.reshape(2, -1).T
    plain, smooth = (unmix(cube, Wish(smoothness=s), spectra).scores for s in (0, 1))
    assert np.sqrt(((smooth - truth) ** 2).mean()) < 0.6 * np.sqrt(((plain - truth) ** 2).mean())


def in_chunks(*chunks, shape=(13, 15)):
    """A small cube with a mask and a spike, whole and in chunks that cut the tiles it is worked on in."""
    data = planted(20, 1.0, shape=shape)[0]
    data[3, 4, 50] += 3000
    cubes = [as_cube(one) for one in (data, *(da.from_array(data, chunks=(*one, -1)) for one in chunks))]
    return [replace(cube, used=np.arange(cube.n) % 11 > 0) for cube in cubes]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("hs_deepatoms.spectra.cube.CACHED", 4 * CHANNELS * 40)


def test_chunks_do_not_change_a_bit_of_the_projections(small_tiles):
    first, *others = (reduce_cube(look_over(cube, None, True)) for cube in in_chunks((5, 7), (7, 15), (1, 2)))
    for _, reduced, spikes in others:
        assert spikes.places.tolist() == first[2].places.tolist() == [3 * 15 + 4]
        for name in ("places", "points", "total", "square", "down", "mean", "values"):
            np.testing.assert_array_equal(getattr(reduced, name), getattr(first[1], name), err_msg=name)


@pytest.mark.parametrize("method", [one for one in METHODS if one not in ("tsne", "umap")])  # these see the same points
def test_chunks_do_not_change_a_bit_of_a_result(method, small_tiles):
    k = {"gmm": 3}.get(method)  # the choice by BIC takes long
    wish = Wish(method=method, n_components=k, smoothness=0.5 if method == "bayes" else 0, seed=3)
    first, second = (unmix(cube, wish) for cube in in_chunks((4, 7)))
    for name in ("places", "scores", "components", "mean", "std", "classes", "misfit"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name), err_msg=name)


@pytest.mark.parametrize("method", ["nfindr", "bayes"])
def test_threads_do_not_change_a_bit_of_a_result(method, small_tiles):
    cube = in_chunks((4, 7))[1]
    first, second = (unmix(replace(cube, num_workers=n), Wish(method=method, seed=3)) for n in (1, 4))
    for name in ("places", "scores", "components", "mean", "std", "misfit"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name), err_msg=name)


def test_spikes_are_repaired_and_white_lines_stay():
    data, _, spectra = planted(100, 0.3)
    rng = np.random.default_rng(5)
    at = rng.integers(0, SHAPE[0], 60), rng.integers(0, SHAPE[1], 60), rng.integers(0, CHANNELS, 60)
    spoiled = data.copy()
    spoiled[at] += 5000
    clean, found = (unmix(as_cube(one), Wish(), spectra) for one in (data, spoiled))
    assert clean.notes["spikes"] == 0
    assert found.notes["spikes"] >= 58
    assert np.abs(found.scores - clean.scores).max() < 0.1
    assert np.abs(unmix(as_cube(spoiled), Wish(spikes=False), spectra).scores - clean.scores).max() > 0.5
    line = data.copy()
    line[:3, :, 80:82] += 3000  # a sharp line of a phase that is in few pixels only
    assert unmix(as_cube(line), Wish(), spectra).notes["spikes"] < 20


def test_sum_to_one():
    rng = np.random.default_rng(0)
    maps = phase_maps(SHAPE, K, rng, random=True)
    maps /= maps.sum(0)
    spectra = 1000 * edge_spectra(K, 0.3, ENERGY) * np.array([0.4, 1.0, 1.6])[:, None]  # not equally bright
    for method in ("nfindr", "nmf", "bayes"):
        found = unmix(as_cube(count_image(maps, spectra, 1.0, rng)), Wish(method=method, sum_to_one=True))
        np.testing.assert_allclose(found.scores.sum(1), 1)
        assert np.sort(found.components.mean(1)) == pytest.approx([400, 1000, 1600], rel=0.1)


def test_noise_is_told_from_the_data():
    data, _, _ = planted(50)
    rows = data.reshape(-1, CHANNELS)
    assert noise_of(rows).poisson
    assert noise_of(7.5 * rows)[1] == pytest.approx(7.5, rel=0.1)  # a gain
    rng = np.random.default_rng(0)
    smooth = rows.mean(0) * np.linspace(0.5, 2, len(rows))[:, None]
    flat = noise_of(smooth + rng.normal(scale=4, size=rows.shape))
    assert not flat.poisson
    assert flat.factor == pytest.approx(16, rel=0.1)


def test_negative_numbers_are_noise_about_zero():
    rng = np.random.default_rng(0)
    maps, spectra = phase_maps(SHAPE, K, rng), edge_spectra(K, 1.0, ENERGY)
    spectra = spectra - spectra.min(0)  # background taken away: the mean of many channels is about zero
    data = np.einsum("kyx,kc->yxc", maps, spectra) + rng.normal(scale=0.02, size=(*SHAPE, CHANNELS))
    found = unmix(as_cube(data.astype(np.float32)), Wish(n_components=K))
    assert not found.noise.poisson
    assert (found.scores >= 0).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_number_of_components(n):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(2000, 200))
    for _ in range(n):
        rows += np.outer(rng.normal(size=2000), 0.3 * rng.normal(size=200))
    values = np.linalg.eigvalsh(rows.T @ rows / 2000)[::-1]
    assert count_components(values, 2000).number == max(1, n)


def test_number_of_components_with_noise_that_is_alike_in_neighbouring_channels():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3000, 202))
    rows = noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]
    rows += np.outer(rng.normal(size=3000), rng.normal(size=200))
    values = np.linalg.eigvalsh(rows.T @ rows / 3000)[::-1]
    assert count_components(values, 3000).number == 1


@pytest.mark.parametrize("method", ["vca", "nfindr"])
def test_corners_without_noise(method):
    rng = np.random.default_rng(2)
    corners = rng.normal(size=(4, 3))
    points = np.concatenate([rng.dirichlet(np.ones(4), 500) @ corners, corners])
    assert sorted(find_corners(points, 4, method, rng)) == [500, 501, 502, 503]


@pytest.mark.parametrize("sum_to_one", [False, True])
def test_constrained_is_the_minimum(sum_to_one):
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    half = rng.normal(size=(40, 5, 4))
    gram, target = half.transpose(0, 2, 1) @ half, rng.normal(size=(40, 4))
    found = constrained(gram, target, sum_to_one)
    assert (found >= 0).all()
    for a, g, t in zip(found, gram, target, strict=True):
        rule = [{"type": "eq", "fun": lambda x: x.sum() - 1}] if sum_to_one else []
        best = minimize(lambda x, g=g, t=t: 0.5 * x @ g @ x - t @ x, np.full(4, 0.25), bounds=[(0, None)] * 4,
                        constraints=rule, options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
        assert 0.5 * a @ g @ a - t @ a <= best.fun + 1e-6


def test_posterior_of_one_abundance_is_a_truncated_normal():
    rng = np.random.default_rng(0)
    m = 400
    mean, std = sample_abundances(np.full((m, 1), 0.5), np.full((m, 1, 1), 4.0), np.full((m, 1), 2.0), rng)
    # normal (0.5, 0.5) above 0: mean and deviation by scipy.stats.truncnorm
    assert mean.mean() == pytest.approx(0.6438, abs=0.01)
    assert std.mean() == pytest.approx(0.3969, abs=0.01)
    far = truncated_normal(np.full(1000, -50.0), np.ones(1000), np.zeros(1000), np.full(1000, np.inf), rng)
    assert (far >= 0).all()
    assert far.max() < 1


def test_standard_errors_are_the_bound():
    data, maps, spectra = planted()
    _, information, _ = poisson_abundances(data.reshape(-1, CHANNELS), spectra)
    stated = np.sqrt((standard_errors(information, 1.0) ** 2).mean(0))
    np.testing.assert_allclose(stated, abundance_bound(maps, spectra, 1.0), rtol=0.03)


def test_boxes_cover_a_scan_once():
    seen = np.zeros((7, 5, 6), int)
    for box in scan_boxes((7, 5, 6), 10, ((3, 4), (5,), (2, 4)), most=4 * 10 * 7):
        assert seen[box].size <= 7
        seen[box] += 1
    assert (seen == 1).all()


def test_too_many_components_are_refused():
    data, _, _ = planted(shape=(4, 5))
    with pytest.raises(InvalidArgumentError, match="at most"):
        unmix(as_cube(data), Wish(n_components=200))
