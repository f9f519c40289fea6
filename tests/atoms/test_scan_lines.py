"""Jitter of scan lines from one image: what was put in comes out, and nothing else passes for it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hs_deepatoms.atoms import scan_lines
from hs_deepatoms.atoms.refine import fit_columns
from hs_deepatoms.atoms.scan_lines import line_jitter
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import line_shifts, shift_lines

N, SPACING, SIGMA = 26, 14, 2.5
SHAPE = (N * SPACING, N * SPACING + 5)


def ellipses(y, x, height):
    """Columns that are 2.8 by 2.2 pixels wide, along the diagonals."""
    image = np.zeros(SHAPE)
    for b, a, peak in zip(y, x, height, strict=True):
        part = tuple(slice(max(int(c) - 14, 0), min(int(c) + 15, n)) for c, n in zip((b, a), SHAPE, strict=True))
        rows, columns = np.ogrid[part]
        up, down = rows - b + columns - a, rows - b - columns + a
        image[part] += peak * np.exp(-((up / 2.8) ** 2 + (down / 2.2) ** 2) / 4)
    return image


def scan(seed, *, jitter=0.0, memory=0.0, peak=200.0, kind="round", loose=0.5, flicker=0.0):
    rng = np.random.default_rng([seed, 77])
    y, x = (np.mgrid[:N, :N].reshape(2, -1) + 0.5) * SPACING + loose * rng.standard_normal((2, N * N))
    height = np.full(y.size, peak)
    tail = 0.25 if kind == "tails" else 0.0
    image = ellipses(y, x, height) if kind == "ellipses" else draw_columns(SHAPE, y, x, height, SIGMA, tail=tail)
    image = shift_lines(image + 0.1 * peak, line_shifts(rng, SHAPE[0], jitter, memory))
    light = 1 + flicker * rng.standard_normal((SHAPE[0], 1))
    return rng.poisson(np.clip(image * light, 0, None)).astype(float), y, x


def measured(image, y, x):
    fit = fit_columns(image / image.mean(), y, x, SIGMA, how="quick")
    peaks = fit.height * image.mean(), fit.width_y, fit.width_x, fit.rotation
    found = line_jitter(image, fit.y, fit.x, *peaks, use=fit.converged)
    return found, fit


@pytest.mark.parametrize("jitter", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("peak", [30.0, 300.0])
def test_the_jitter_put_in_comes_out_of_one_image(jitter, peak):
    found = [measured(*scan(seed, jitter=jitter, peak=peak))[0] for seed in range(3)]
    variance = np.mean([one.line for one in found])
    error = np.mean([one.column_std / one.column * one.line for one in found]) / np.sqrt(3)
    assert abs(variance - jitter**2) < 4 * error + 0.04 * jitter**2
    assert error < 0.2 * jitter**2


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"kind": "tails"},
        {"kind": "ellipses"},
        {"kind": "ellipses", "loose": 0.0},
        {"flicker": 0.03},
        {"peak": 20.0},
    ],
)
def test_nothing_else_passes_for_jitter(how):
    found = [measured(*scan(seed, **how))[0] for seed in range(2)]
    assert np.mean([one.column for one in found]) < 0.012**2  # px; counting alone: 0.04


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_the_share_of_the_columns_is_the_error_they_have(memory):
    excess, share = [], []
    for seed in range(4):
        image, y, x = scan(seed, jitter=0.2, memory=memory, peak=2000.0)
        found, fit = measured(image, y, x)
        error = fit.x - x
        excess.append(error.var() - 0.012**2)  # of counting
        share.append(found.column)
    assert np.sqrt(np.mean(share)) == pytest.approx(np.sqrt(np.mean(excess)), rel=0.15)


def test_absent_pixels_and_columns_that_are_not_asked_for():
    image, y, x = scan(1, jitter=0.1)
    image[100:130, 60:90], image[300:] = np.nan, np.nan
    there = y < 300
    found, _ = measured(np.nan_to_num(image, nan=20.0), y[there], x[there])
    one = np.ones(there.sum())
    fitted = y[there], x[there], 200 * one, SIGMA * one, SIGMA * one
    again = line_jitter(image, *fitted, use=(np.abs(y[there] - 115) > 35))
    for one in (found, again):
        assert np.sqrt(max(one.line, 0)) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("n", [0, 40])
def test_too_few(n):
    image, y, x = scan(0)
    one = np.ones(n)
    assert np.isnan(line_jitter(image, y[:n], x[:n], one, one, one)).all()
    edge = np.r_[: 3 * N]  # all but two rows of columns are too near to the edge
    one = np.ones(edge.size)
    assert np.isnan(line_jitter(image[:24], y[edge], x[edge], 200 * one, SIGMA * one, SIGMA * one)).all()


def fitted(seed, tile=1):
    image, y, x = scan(seed, jitter=0.1)
    size = N * SPACING
    whole = np.tile(image[:size, :size], (tile, tile))
    shift = size * np.mgrid[:tile, :tile].reshape(2, -1)
    y, x = ((p + s[:, None]).ravel() for p, s in zip((y, x), shift, strict=True))
    one = np.ones(y.size)
    return whole, y, x, 200 * one, SIGMA * one, SIGMA * one


def test_strips_change_nothing(monkeypatch):
    image, *columns = fitted(1)
    image[100:130, 60:90] = np.nan
    monkeypatch.setattr(scan_lines, "STRIP", image.size)
    whole = line_jitter(image, *columns)
    for rows in (1, 50):
        monkeypatch.setattr(scan_lines, "STRIP", rows * image.shape[1])
        monkeypatch.setattr(scan_lines, "AT_ONCE", 5000)
        np.testing.assert_allclose(line_jitter(image, *columns), whole, rtol=1e-6)
    y, x, height, *widths = columns
    for unit in (1e-25, 1e25):  # single precision holds no weights of such
        np.testing.assert_allclose(line_jitter(unit * image, y, x, unit * height, *widths), whole, rtol=1e-6)


def test_large_images_are_not_copied_over_and_over():
    image, *columns = fitted(0, tile=6)
    tracemalloc.start()
    try:
        found = line_jitter(image.astype(np.float32), *columns)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.size > 4.7e6 and peak < 200 * 2**20  # 37 bytes per pixel; 134 where it was done at once
    assert found.line == pytest.approx(0.01, rel=0.2)
