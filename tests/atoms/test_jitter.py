"""Scan jitter of positions drawn with a known one: unbiased, its error as seen, blind to drift, distortion, movers."""

from __future__ import annotations

import numpy as np
import pytest

from hs_deepatoms.atoms.jitter import scan_jitter

NOISE = 0.03


def scans(seed, *, n=40, jitter=(0.0, 0.04), movers=0.0, distortion=0.0, drift=0.0, frames=2):
    """Frames of a loose lattice: counting noise, and a shift that all atoms of a lattice row share."""
    rng = np.random.default_rng(seed)
    sites = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * 14 + rng.standard_normal((2, n * n))
    row = np.repeat(np.arange(n), n)
    made = []
    for number in range(frames):
        lines = np.array(jitter)[:, None] * rng.standard_normal((2, n))
        places = sites + lines[:, row] + NOISE * rng.standard_normal(sites.shape) + number * drift * 14 / np.sqrt(2)
        places[1] += number * distortion * (np.sin(3 * sites[0] / (14 * n)) + (sites[1] / (14 * n)) ** 2)
        moved = rng.random(n * n) < movers
        places[:, moved] += 1.5 * rng.standard_normal((2, moved.sum()))
        made.append(places)
    stated = np.full(frames * n * n, NOISE)
    return np.repeat(np.arange(frames), n * n), *np.concatenate(made, axis=1), stated, stated


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"jitter": (0.0, 0.0)},
        {"jitter": (0.02, 0.05)},
        {"movers": 0.02},
        {"distortion": 0.5},
        {"drift": 0.35},
        {"frames": 4, "n": 25},
        {"n": 9},
    ],
)
def test_the_variance_is_that_put_in_and_its_error_that_seen(how):
    found = np.array([scan_jitter(*scans(seed, **how)) for seed in range(24)])
    truth = np.square(how.get("jitter", (0.0, 0.04)))
    stated = np.sqrt((found[:, 2:4] ** 2).mean(axis=0))
    assert (np.abs(found[:, :2].mean(axis=0) - truth) < 3.5 * stated / np.sqrt(24)).all()
    np.testing.assert_allclose(found[:, :2].std(axis=0), stated, rtol=0.45)


def test_units_do_not_matter_and_unknown_errors_are_left_out():
    frame, y, x, y_std, x_std = scans(1)
    first = scan_jitter(frame, y, x, y_std, x_std)
    second = scan_jitter(frame, 0.02 * y, 0.02 * x, 0.02 * y_std, 0.02 * x_std)
    np.testing.assert_allclose(np.array(second[:4]), 0.02**2 * np.array(first[:4]), rtol=1e-6)
    y_std[::7] = np.nan
    assert first.n_pairs > scan_jitter(frame, y, x, y_std, x_std).n_pairs > 0.5 * first.n_pairs


def test_errors_that_are_stated_too_large_give_less_than_nothing():
    frame, y, x, y_std, x_std = scans(2, jitter=(0.0, 0.0))
    found = scan_jitter(frame, y, x, 1.5 * y_std, x_std)
    assert found.y == pytest.approx(-1.25 * NOISE**2, rel=0.15)
    assert abs(found.x) < 4 * found.x_std
    assert found.y_share == found.x_share == 1  # nobody knows why


def test_errors_are_less_than_stated_only_beside_jitter_along_the_other_axis():
    frame, y, x, y_std, x_std = scans(2, jitter=(0.0, 3 * NOISE))
    found = scan_jitter(frame, y, x, 1.3 * y_std, x_std)
    assert found.y_share == pytest.approx(1 / 1.3**2, rel=0.1) and found.x_share == 1
    few = (y < np.quantile(y, 0.1)) & (x < np.quantile(x, 0.3))
    assert scan_jitter(*(one[few] for one in (frame, y, x, 1.3 * y_std, x_std))).y_share == 1


def test_frames_that_share_their_noise_do_not_make_errors_smaller():
    _, y, x, y_std, x_std = scans(1, jitter=(0.0, 0.0))
    found = scan_jitter(np.repeat([0, 1], len(y)), *(np.tile(one, 2) for one in (y, x, y_std, x_std)))
    assert found.y < 0 and found.x < 0 and found.y_share == found.x_share == 1


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few(n):
    frame, *rest = scans(0, n=n)
    found = scan_jitter(frame, *rest)
    assert np.isnan(found[:4]).all() and found.n_pairs < 20


def test_frames_without_atoms_and_frames_of_something_else():
    frame, *rest = scans(3)
    apart = scan_jitter(2 * frame, *rest)
    assert np.isnan(apart.y) and apart.n_pairs == 0
    assert np.isfinite(scan_jitter(frame + 4, *rest, n_frames=9).x)
