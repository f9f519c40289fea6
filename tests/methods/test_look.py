"""How a job looks at its images: what it does where there is nothing to see."""

import numpy as np

from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.methods import images, look
from tests.methods.conftest import lattice_image


def test_a_finer_width_without_a_column_is_not_taken(monkeypatch):
    image = lattice_image((160, 180))[0]
    source = images.read_images(image, operation="find_atoms")
    seen = look.look_at(source, device="cpu")
    real, calls = look._columns_of, []

    def vanishing(source, look_, sigma, window, masked):
        """Columns in the quarter of the window, and none in all of it."""
        calls.append(sigma)
        found, job = real(source, look_, seen.sigma, window, masked)
        return (Points.none() if len(calls) == 3 else found), job

    monkeypatch.setattr(look, "_columns_of", vanishing)
    monkeypatch.setattr(look, "MANY_MORE", 0.0)
    monkeypatch.setattr(look, "EXPLAINED", 100.0)  # a finer background alone may explain much
    width = look.measured_width(source, seen, 0, None)
    assert len(calls) == 3 and np.isfinite(width) and width > 0.9 * seen.sigma
