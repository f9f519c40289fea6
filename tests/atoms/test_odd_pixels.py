import numpy as np
import pytest

from hs_deepatoms.atoms.refine import fit_columns
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


def test_columns_of_another_shape_keep_their_pixels(scene):
    """Peaks sharper than any Gaussian stand out of the fit everywhere: that is the shape, and no pixel is at fault."""
    image, y, x = scene
    sharp = image.copy()
    sharp[np.rint(y).astype(int), np.rint(x).astype(int)] += 0.8
    fitted, plain = (fit_columns(one, y, x, SIGMA) for one in (sharp, image))
    assert np.median(fitted.height) > 1.1 * np.median(plain.height)
