import numpy as np
import pytest

from hs_deepatoms.atoms.refine import begin_fit, first_fit, fit_columns
from hs_deepatoms.atoms.residue import measured
from hs_deepatoms.simulate.columns import draw_columns

SHAPE, SIGMA, SPACING = (61, 75), 1.1, 5.5


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    y, x = (c.ravel() for c in np.mgrid[4 : SHAPE[0] : SPACING, 4 : SHAPE[1] : SPACING])
    y, x = y + rng.uniform(-0.5, 0.5, y.size), x + rng.uniform(-0.5, 0.5, x.size)
    image = rng.poisson(draw_columns(SHAPE, y, x, np.full(y.size, 2000.0), SIGMA) + 300).astype(np.float32)
    return image / 2000, y, x


@pytest.mark.parametrize("how", ["quick", "full"])
@pytest.mark.parametrize("value", [1.3, 0.0])
def test_an_odd_pixel_beside_a_peak_does_not_pull_the_column(scene, how, value):
    image, y, x = scene
    whole = fit_columns(image, y, x, SIGMA, how=how)
    odd = image.copy()
    where = [(round(y[k]) + 1, round(x[k])) for k in (40, 75, 110)]
    for place in where:
        odd[place] = value * image.max()
    fitted = fit_columns(odd, y, x, SIGMA, how=how)
    moved = np.hypot(fitted.y - whole.y, fitted.x - whole.x)
    # without a pixel of its own a column moves by some of its error
    assert moved.max() < 0.02 and fitted.converged.all()


@pytest.mark.parametrize("how", ["quick", "full"])
@pytest.mark.parametrize("value", [1.3, 0.0])
def test_an_odd_pixel_is_no_noise(scene, how, value):
    """A single one raised the gain by half and more, and then passed for noise."""
    image, y, x = scene
    odd = image.copy()
    odd[round(y[75]) + 1, round(x[75])] = value * image.max()
    gain, with_odd = (measured(first_fit(begin_fit(one, y, x, SIGMA), how)).noise.gain for one in (image, odd))
    assert gain == pytest.approx(1 / 2000, rel=0.15) and with_odd == pytest.approx(gain, rel=0.05)


def test_a_column_that_was_drawn_to_a_pixel_does_not_hide_it(scene):
    image, y, x = scene
    odd, faint = image.copy(), np.hypot(y - 32, x - 38).argmin()
    place = round(y[faint]), round(x[faint])
    odd[place] += 0.5
    fitted, missing = (fit_columns(one, y, x, SIGMA, how="quick", valid=valid)
                       for one, valid in ((odd, None), (image, odd == image)))  # fmt: skip
    assert np.hypot(fitted.y - missing.y, fitted.x - missing.x).max() < 0.01
    np.testing.assert_allclose(fitted.height, missing.height, rtol=0.01)


def test_columns_of_another_shape_keep_their_pixels(scene):
    """Peaks sharper than any Gaussian stand out of the fit everywhere: that is the shape, and no pixel is at fault."""
    image, y, x = scene
    sharp = image.copy()
    sharp[np.rint(y).astype(int), np.rint(x).astype(int)] += 0.8
    fitted, plain = (fit_columns(one, y, x, SIGMA) for one in (sharp, image))
    assert np.median(fitted.height) > 1.1 * np.median(plain.height)
