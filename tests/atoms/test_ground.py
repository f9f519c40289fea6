import numpy as np
import pytest
import torch

from hs_deepatoms.atoms.ground import Band, Ground

SHAPE = (41, 67)


def dense(band: Band):
    n = band.lower.shape[1]
    out = np.zeros((n, n))
    for k, line in enumerate(band.lower):
        i = np.arange(n - k)
        out[i + k, i] = out[i, i + k] = line[: n - k]
    return out


def splines(ground):
    """Every spline as an image, (size, pixels)."""
    unit = torch.eye(ground.size, dtype=torch.float64)
    return np.stack([ground.image(row).numpy().ravel() for row in unit])


def test_a_constant_and_a_slope_are_splines():
    ground = Ground.over(SHAPE, 12.5, (3, -4), "cpu")
    one = torch.ones(ground.size, dtype=torch.float64)
    assert ground.image(one).numpy() == pytest.approx(np.ones(SHAPE))
    rows = torch.arange(ground.rows.shape[1], dtype=torch.float64)[:, None].expand(-1, ground.columns.shape[1])
    image = ground.image(rows.reshape(-1)).numpy()
    assert np.diff(image, axis=0) == pytest.approx(np.full((SHAPE[0] - 1, SHAPE[1]), 1 / 12.5), rel=1e-3)


def test_normal_equations_and_penalty():
    ground = Ground.over(SHAPE, 11.5, (0, 0), "cpu")
    weight = torch.as_tensor(np.random.default_rng(0).uniform(0.5, 2, SHAPE), dtype=torch.float32)
    all_splines = splines(ground)
    plain = (all_splines * weight.numpy().ravel()) @ all_splines.T
    assert dense(ground.hessian(weight, 0.0)) == pytest.approx(plain, abs=1e-3)
    penalty = dense(ground.hessian(weight, 0.3)) - dense(ground.hessian(weight, 0.0))
    c = torch.as_tensor(np.random.default_rng(1).normal(size=ground.size))
    assert ground.smoothness(c, 0.3).numpy() == pytest.approx(penalty @ c.numpy(), abs=1e-6)
    assert ground.project(weight).numpy() == pytest.approx(all_splines @ weight.numpy().ravel(), rel=1e-4)


def test_wide_splines_are_summed_over_a_few_pixels():
    ground = Ground.over(SHAPE, 20.0, (0, 0), "cpu")  # by threes; the image is no multiple of three
    weight = torch.as_tensor(np.random.default_rng(0).uniform(0.5, 2, SHAPE), dtype=torch.float32)
    all_splines = splines(ground)
    plain = (all_splines * weight.numpy().ravel()) @ all_splines.T
    scale = np.sqrt(np.outer(np.diag(plain), np.diag(plain)))
    assert np.abs(dense(ground.hessian(weight, 0.0)) - plain).max() < 0.01 * scale.max()


def test_band_products_blocks_and_roots():
    ground = Ground.over(SHAPE, 12.5, (0, 0), "cpu")
    band = ground.hessian(torch.ones(SHAPE), 0.1)
    full, vector = dense(band), np.random.default_rng(2).normal(size=ground.size)
    assert band.times(vector) == pytest.approx(full @ vector)
    starts, offsets = np.array([0, 9, 30]), np.array([0, 2, 5, band.nx + 1, 3 * band.nx + 4])
    rows = starts[:, None] + offsets
    assert band.blocks(starts, offsets) == pytest.approx(np.stack([full[np.ix_(r, r)] for r in rows]), rel=1e-5)
    holed = Band(band.lower.copy(), band.nx)
    holed.lower[0] *= 0.01  # not positive any more
    assert np.isfinite(holed.root(band)).all()


def test_splines_around_a_point():
    ground = Ground.over(SHAPE, 12.5, (5, 2), "cpu")
    y, x = torch.tensor([13.3, 30.1], dtype=torch.float64), torch.tensor([22.8, 50.4], dtype=torch.float64)
    index, series = ground.at(y, x, 2.0)
    c = torch.as_tensor(np.random.default_rng(3).normal(size=ground.size))
    values = torch.einsum("nps,ns->np", series, c[index])
    du, dv = 1.5, -1.0  # pixels away
    powers = torch.tensor([1, du / 2, dv / 2, du**2 / 4, du * dv / 4, dv**2 / 4], dtype=torch.float64)
    near = ground.at(y + du, x + dv, 2.0)
    expected = (near[1][:, 0] * c[near[0]]).sum(1)
    assert (values * powers).sum(1).numpy() == pytest.approx(expected.numpy(), abs=0.01)


def test_knots_stand_still_when_a_frame_is_cut():
    whole, part = Ground.over((90, 90), 12.5, (0, 0), "cpu"), Ground.over((30, 40), 12.5, (37, 21), "cpu")
    surface = np.random.default_rng(4).normal(size=(whole.rows.shape[1], whole.columns.shape[1]))
    i, j = (part.first[k] - whole.first[k] for k in (0, 1))
    cut = surface[i : i + part.rows.shape[1], j : j + part.columns.shape[1]]
    image = whole.image(torch.as_tensor(surface.ravel()))
    assert part.image(torch.as_tensor(cut.ravel())).numpy() == pytest.approx(image[37:67, 21:61].numpy(), abs=1e-5)


def test_many_and_few_values_add_up_alike():
    rng = np.random.default_rng(0)
    first, value = rng.integers(0, 30 * 20 - 40, 40_000), rng.random(40_000)
    second = first + rng.integers(0, 40, 40_000)
    at_once, in_parts = Band.zeros(30, 20), Band(np.zeros((64, 600)), 20)
    at_once.add(first, second, value)
    for k in range(0, 40_000, 1000):
        in_parts.add(second[k : k + 1000], first[k : k + 1000], value[k : k + 1000])
    assert np.allclose(at_once.lower, in_parts.lower)
    assert at_once.lower.sum() == pytest.approx(value.sum())
