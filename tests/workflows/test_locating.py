"""Atoms in a segmenter's maps: the fit that begins with the radius of the labels, and tables of no atom."""

import json

import numpy as np
import pytest

import hs_deepatoms
from tests.methods.conftest import lattice_image, matched

QUIET = {"show_progressbar": False}
SIGMA, RADIUS = 3.0, 4.5  # of the columns; 1.5 times that is what a radius of labels is taken for


def crystal(k, size=(180, 190), **options):
    return lattice_image(size, sigma=SIGMA, seed=k, angle=0.3 + k, counts=60.0, **options)


@pytest.fixture(scope="module")
def segmenter(taught_segmenter):
    return taught_segmenter


@pytest.fixture(scope="module")
def recordings():
    return [crystal(k) for k in range(20, 24)]


def in_sigmas(model, recordings, **how):
    """Errors of all coordinates in units of their error bars."""
    z = []
    for image, y, x in recordings:
        atoms = model.find_atoms(image, **how, **QUIET)
        found, true = matched(atoms.y_px.values, atoms.x_px.values, y, x, 4).T
        z += [
            (atoms[f"{n}_px"].values[found] - p[true]) / atoms[f"{n}_std"].values[found]
            for n, p in (("y", y), ("x", x))
        ]
    return np.concatenate(z)


@pytest.mark.parametrize(("refine", "factors"), [("quick", (0.6, 1.0, 1.6)), ("full", (0.6,))])
def test_error_bars_hold_whatever_radius_the_labels_had(segmenter, recordings, refine, factors):
    for factor in factors:
        z = in_sigmas(segmenter, recordings, radius=factor * RADIUS, refine=refine)
        assert len(z) > 1150 and np.isfinite(z).all()
        assert np.mean(np.abs(z) < 1) == pytest.approx(0.68, abs=0.035)
        assert np.mean(np.abs(z) < 2) == pytest.approx(0.954, abs=0.015)


def said(atoms):
    return json.loads(atoms.attrs["provenance"])[-1]["parameters"]


def test_the_width_of_the_columns_is_measured_in_the_image(segmenter):
    image = crystal(25)[0]
    found = [said(segmenter.find_atoms(image, radius=f * RADIUS, **QUIET))["column_sigma_px"] for f in (0.4, 0.6, 1.6)]
    np.testing.assert_allclose(found, SIGMA, rtol=0.05)
    assert len(set(found)) == 1
    dark = said(segmenter.find_atoms(image, contrast="dark", **QUIET))
    assert dark["dark_columns"] and np.isfinite(dark["column_sigma_px"])


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_tiles_make_no_difference_with_a_wrong_radius(segmenter, monkeypatch, factor):
    from hs_deepatoms.engine import plan

    image = crystal(26, (200, 230))[0]
    whole = segmenter.find_atoms(image, radius=factor * RADIUS, **QUIET)
    monkeypatch.setattr(plan, "choose_tile", lambda *args, **options: (72, 1))
    tiled = segmenter.find_atoms(image, radius=factor * RADIUS, **QUIET)
    assert tiled.sizes == whole.sizes and said(tiled)["column_sigma_px"] == said(whole)["column_sigma_px"]
    one, two = matched(*(table[name].values for table in (whole, tiled) for name in ("y_px", "x_px")), 2).T
    assert len(one) == whole.sizes["atom"]  # every one again
    for name in ("y", "x"):
        away = np.abs(tiled[f"{name}_px"].values[two] - whole[f"{name}_px"].values[one])
        # with too large a radius some atoms are missed, and those beside them are less well fitted
        assert np.quantile(away / whole[f"{name}_std"].values[one], 0.98) < (0.05 if factor < 1 else 0.3)


@pytest.mark.filterwarnings("ignore:These images are unlike")
@pytest.mark.parametrize("refine", ["quick", "full", "none"])
@pytest.mark.parametrize("make", ["segmenter", "ensemble"])
def test_a_table_of_no_atom_has_all_columns(request, make, refine):
    model = request.getfixturevalue(f"taught_{make}")
    image = crystal(27, (96, 100))[0]
    full = model.find_atoms(image, refine=refine, **QUIET)
    empty = model.find_atoms(image, refine=refine, threshold=0.9999, **QUIET)
    assert empty.sizes["atom"] == 0 and full.sizes["atom"] > 20
    assert {n: (v.dims, v.dtype) for n, v in empty.variables.items()} == {
        n: (v.dims, v.dtype) for n, v in full.variables.items()
    }
    both = hs_deepatoms.concat([full, empty])
    assert both.sizes["atom"] == full.sizes["atom"]


def test_what_is_no_column_has_no_endless_width():
    from hs_deepatoms.atoms.decode import Points
    from hs_deepatoms.atoms.detect import GRID_SIGMA, Detection
    from hs_deepatoms.methods.images import read_images
    from hs_deepatoms.workflows.locating import column_sigma

    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:200, :200]
    for image in (rng.poisson(5.0, (200, 200)), yy + xx + rng.standard_normal((200, 200))):
        source = read_images(image.astype(float), operation="find_atoms")
        y, x = rng.uniform(10, 190, (2, 60))
        one = np.ones(60)
        points = Points(np.zeros(60, int), y, x, one, one, 3 * one, one)
        job = Detection(model="", sha256="", device="cpu", zoom=GRID_SIGMA / 2.0, shape=(200, 200), certain=0.5)
        assert 0.5 <= column_sigma(source, points, job) <= 8.0
        few = Points(*(values[:2] for values in points.arrays()))
        assert column_sigma(source, few, job) == 2.0
