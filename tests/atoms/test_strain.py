"""Ideal lattice, displacements, strain and rotation: values, and error bars that the scatter agrees with."""

import numpy as np
import pytest

from hs_deepatoms.atoms.strain import displacement, fit_covariance, fit_ideal, local_vectors, strain

CELL = np.array([[1.0, 13.0], [12.0, -2.0]])


def lattice(gradient=None, half=35, missing=0.05, seed=0, noise=True):
    """y, x, i, j, basis, and the uncertainties they were moved by."""
    rng = np.random.default_rng(seed)
    ij = np.stack([k.ravel() for k in np.mgrid[-half:half, -half:half]], axis=1)
    ij = ij[rng.random(len(ij)) > missing]
    points = ij @ CELL @ (np.eye(2) if gradient is None else gradient).T
    errors = {"y_std": rng.uniform(0.02, 0.06, len(ij)), "x_std": rng.uniform(0.02, 0.06, len(ij))}
    corr = rng.uniform(-0.5, 0.5, len(ij))
    first, second = rng.normal(size=(2, len(ij))) * noise
    y = points[:, 0] + errors["y_std"] * first
    x = points[:, 1] + errors["x_std"] * (corr * first + np.sqrt(1 - corr**2) * second)
    return (y, x, ij[:, 0], ij[:, 1], np.zeros(len(ij), int)), errors, corr


@pytest.mark.parametrize("rotation", [0.0, 0.3, -2.0])
def test_strain_and_rotation_of_a_known_gradient(rotation):
    stretch = np.array([[1.05, 0.02], [0.02, 0.97]])
    turn = np.array([[np.cos(rotation), np.sin(rotation)], [-np.sin(rotation), np.cos(rotation)]])
    columns, errors, _ = lattice(stretch @ turn, half=4, noise=False)
    local = local_vectors(*columns, **errors)
    values, _ = strain(local.vectors, local.covariance, CELL)
    known = np.isfinite(values).all(axis=1)
    assert known.mean() > 0.9
    np.testing.assert_allclose(values[known], np.tile([0.05, -0.03, 0.02, rotation], (known.sum(), 1)), atol=1e-9)


def test_rotation_goes_from_x_towards_y():
    columns, errors, _ = lattice(half=3, noise=False, missing=0)
    y, x = columns[:2]
    turned = np.sin(0.01) * x + np.cos(0.01) * y, np.cos(0.01) * x - np.sin(0.01) * y
    local = local_vectors(*turned, *columns[2:], **errors)
    values, _ = strain(local.vectors, local.covariance, CELL)
    np.testing.assert_allclose(values, np.tile([0, 0, 0, 0.01], (len(values), 1)), atol=1e-9)


@pytest.mark.parametrize("rotation", [0.0, 0.4])
def test_errors_are_the_derivatives(rotation):
    gradient = np.array([[1.05, 0.3], [-0.25 + rotation, 0.97]])
    cell = CELL @ gradient.T
    order = [(0, 0), (1, 0), (0, 1), (1, 1)]  # a_y, b_y, a_x, b_x
    for k, (vector, axis) in enumerate(order):
        step = np.zeros((2, 2))
        step[vector, axis] = 1e-5
        high, low = (strain((cell + s * step)[None], np.zeros((1, 4, 4)), CELL)[0][0] for s in (1, -1))
        covariance = np.zeros((1, 4, 4))
        covariance[0, k, k] = 1.0
        np.testing.assert_allclose(strain(cell[None], covariance, CELL)[1][0], np.abs(high - low) / 2e-5, rtol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_scatter_is_as_predicted(known):
    columns, errors, corr = lattice(seed=3)
    settings = {**errors, "yx_corr": corr} if known else {}
    local = local_vectors(*columns, **settings)
    values, std = strain(local.vectors, local.covariance, CELL)
    good = np.isfinite(values).all(axis=1)
    ratio = np.sqrt((values[good] ** 2).mean(axis=0) / (std[good] ** 2).mean(axis=0))
    np.testing.assert_allclose(ratio, 1, atol=0.06)
    if known:
        np.testing.assert_allclose(local.misfit, 1, atol=0.03)
        np.testing.assert_allclose((values[good] / std[good]).std(axis=0), 1, atol=0.05)
    else:
        np.testing.assert_allclose(local.misfit, 0.0416, atol=0.002)  # rms of the errors


def test_displacements_and_their_errors_inside_and_outside_of_the_reference():
    columns, errors, _ = lattice(seed=1)
    use = columns[3] < -20
    for chosen in (None, use):
        ideal = fit_ideal(*columns, use=chosen, **errors)
        dy, dx, dy_std, dx_std = displacement(ideal, *columns, use=chosen, **errors)
        near = np.ones(len(dy), bool) if chosen is None else chosen
        assert abs((dy / dy_std)[near].std() - 1) < 0.06 and abs((dx / dx_std)[near].std() - 1) < 0.06
        np.testing.assert_allclose(ideal.vectors, CELL, atol=1e-3)
    assert (dy_std[~use] > errors["y_std"][~use]).all() and (dy_std[use] < errors["y_std"][use]).all()


def test_error_of_fitted_vectors():
    found, predicted = [], []
    for seed in range(60):
        columns, errors, _ = lattice(half=5, seed=seed)
        ideal = fit_ideal(*columns, **errors)
        found.append(ideal.vectors.T.ravel())
        predicted.append(np.diag(fit_covariance(ideal, *columns, **errors)))
    np.testing.assert_allclose(np.std(found, axis=0) / np.sqrt(np.mean(predicted, axis=0)), 1, atol=0.25)


def test_an_outlier_does_not_bend_the_ideal_lattice():
    columns, errors, _ = lattice(seed=2)
    columns[0][100] += 4.0
    ideal = fit_ideal(*columns, **errors)
    assert abs(displacement(ideal, *columns)[0][100] - 4) < 0.3
    np.testing.assert_allclose(ideal.vectors, CELL, atol=2e-4)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_columns(n):
    i, j = np.array([0, 0, 1, 5])[:n], np.array([0, 1, 0, 5])[:n]
    y, x = 12.0 * i, 13.0 * j
    local = local_vectors(y, x, i, j, 0 * i)
    assert local.vectors.shape == (n, 2, 2)
    assert np.isfinite(local.vectors).all(axis=(1, 2)).tolist() == [n == 3] * n
    assert len(displacement(fit_ideal(y, x, i, j, 0 * i), y, x, i, j, 0 * i)[0]) == n


def test_neighbours_are_of_the_same_group():
    columns, errors, _ = lattice(half=4, noise=False, missing=0)
    y, x, i, j, group = columns
    moved = np.where((i + j) % 2, 3.0, 0.0)  # every other column is another sublattice, displaced as a whole
    local = local_vectors(y + moved, x, i, j, (i + j) % 2, **errors)
    good = np.isfinite(local.vectors).all(axis=(1, 2))
    np.testing.assert_allclose(local.vectors[good], np.tile(CELL, (good.sum(), 1, 1)), atol=1e-9)
    assert group.max() == 0
