"""What stands at the site of a doubtful column, by the light and the heights of its equivalents."""

from types import SimpleNamespace

import numpy as np
import pytest

from hs_deepatoms.atoms.at_site import at_sites, opposites
from hs_deepatoms.atoms.noise import Noise

SHAPE, SIGMA, SPACING = (90, 112), 2.0, 10.0
NOISE = Noise(0.0, 0.04, 0.0, 1e-12)


def lattice(slope=0.0):
    """Fitted columns of a square lattice on a slope, and the image of all but the one nearest to the middle."""
    y, x = (v.ravel() for v in np.mgrid[5:90:SPACING, 6:112:SPACING])
    y, x = y + 0.02 * x, x - 0.02 * y
    gone = np.argmin(np.hypot(y - 45, x - 56))
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = 0.5 + slope * columns
    for k in range(len(y)):
        if k != gone:
            image = image + np.exp(-0.5 * ((rows - y[k]) ** 2 + (columns - x[k]) ** 2) / SIGMA**2)
    one = np.ones(len(y))
    fit = SimpleNamespace(
        y=y, x=x, height=one.copy(), background=0.5 + slope * x, width_y=SIGMA * one, width_x=SIGMA * one
    )
    distance = np.hypot(y - y[gone], x - x[gone])
    near = np.argsort(distance)[None, 1:9]
    return image, fit, gone, near


def misled(fit, gone):
    """The fit as noise beside the empty site has it: off by a sigma, half a column high, on a low background."""
    fit.y[gone] += 0.9 * SIGMA
    fit.height[gone], fit.background[gone], fit.width_y[gone] = 0.5, 0.3, 1.3 * SIGMA
    return fit


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_an_empty_site_is_empty_whatever_the_fit_found_beside_it(slope):
    image, fit, gone, near = lattice(slope)
    own, typical = at_sites(image, np.ones(SHAPE, bool), NOISE, misled(fit, gone), near, np.array([gone]), SIGMA)
    assert abs(own[0]) < 0.1
    assert typical[0] == pytest.approx(np.sqrt(np.pi) * SIGMA / 0.2, rel=0.02)


def test_a_column_there_has_the_height_that_it_has():
    image, fit, gone, near = lattice()
    full = image + 0.6 * np.exp(
        -0.5
        * sum((v - w[gone]) ** 2 for v, w in zip(np.mgrid[: SHAPE[0], : SHAPE[1]], (fit.y, fit.x), strict=True))
        / SIGMA**2
    )
    own, typical = at_sites(full, np.ones(SHAPE, bool), NOISE, misled(fit, gone), near, np.array([gone]), SIGMA)
    assert own[0] / typical[0] == pytest.approx(0.6, abs=0.02)


def test_pixels_without_a_value_do_not_count():
    image, fit, gone, near = lattice()
    valid = np.ones(SHAPE, bool)
    y, x = int(fit.y[gone]), int(fit.x[gone])
    image[y, x], valid[y, x] = np.nan, False
    own, _ = at_sites(image, valid, NOISE, fit, near, np.array([gone]), SIGMA)
    assert abs(own[0]) < 0.1


def test_without_columns_on_opposite_sides_nothing_is_known():
    image, fit, gone, near = lattice()
    near = np.where(fit.x[near] < fit.x[gone], near, -1)
    keep = fit.x < fit.x[gone] + 1  # the rim of the crystal
    rows = np.cumsum(keep) - 1
    cut = SimpleNamespace(**{name: values[keep] for name, values in vars(fit).items()})
    near = np.where((near >= 0) & (fit.x[near] < fit.x[gone] - 1), rows[near], -1)
    own, typical = at_sites(image, np.ones(SHAPE, bool), NOISE, cut, near, np.array([rows[gone]]), SIGMA)
    assert np.isnan(own).all() and np.isnan(typical).all()
    assert (opposites(cut.y, cut.x, near, np.array([rows[gone]]), SIGMA)[1] == -1).all()
