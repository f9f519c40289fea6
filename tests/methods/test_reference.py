"""Strain against another grain's lattice."""

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.methods.reference import equivalent

SPACING = 12.0


def grain(angle, left, right, scale=1.0):
    """Square lattice turned by ``angle`` from +x towards +y, in a strip of the image; y, x."""
    i, j = (k.ravel() * SPACING * scale for k in np.mgrid[-60:60, -60:60])
    y, x = 200 + np.cos(angle) * i + np.sin(angle) * j, 300 - np.sin(angle) * i + np.cos(angle) * j
    keep = (y > 0) & (y < 400) & (x > left) & (x < right)
    return np.stack([y[keep], x[keep]])


@pytest.mark.parametrize("angle", [0.35, -0.3])
def test_a_grain_outside_the_region_is_compared_with_it(angle):
    first, second = grain(0.05, 0, 296), grain(0.05 + angle, 304, 600, scale=1.02)
    y, x = np.concatenate([first, second], axis=1)
    atoms = hs_deepatoms.positions(y, x, signal=np.zeros((400, 600)))
    region = hs.roi.RectangularROI(left=20, right=250, top=20, bottom=380)
    made = atoms.deepatoms.lattice(reference=region)
    right = made.isel(atom=(made["x_px"].values > 330) & np.isfinite(made["strain_xx"].values))
    assert len(np.unique(right["grain"])) == 1
    for name, value in (("strain_xx", 0.02), ("strain_yy", 0.02), ("strain_xy", 0), ("lattice_rotation", angle)):
        np.testing.assert_allclose(right[name], value, atol=1e-6)
    np.testing.assert_allclose(made.deepatoms.mean_strain()["lattice_rotation"], [0, angle], atol=1e-6)


def test_equivalent_vectors():
    reference = np.array([[0.1, 4.0], [5.0, -0.2]])
    cell = np.array([[5.1, 3.9], [-0.1, -4.1]])
    np.testing.assert_allclose(equivalent(reference, cell), [[5.1, 3.8], [-0.1, -4.0]])
