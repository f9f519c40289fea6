"""Species, sublattices, vacancies and dopants through the table."""

import json
from pathlib import Path

import hyperspy.api as hs
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.lattices import PROTOTYPES, Crystal, lattice_points
from tests.fresh import run_fresh
from tests.methods.conftest import lattice_image


@pytest.fixture(scope="module")
def image():
    s = hs.signals.Signal2D(lattice_image(angle=0.0)[0])
    for axis, name, scale in zip(s.axes_manager.signal_axes, ("x", "y"), (0.025, 0.02), strict=True):
        axis.name, axis.scale, axis.units = name, scale, "nm"
    return s


@pytest.fixture(scope="module")
def atoms(image):
    return image.find_atoms(show_progressbar=False)


def test_classes_have_names_probabilities_and_a_record(atoms):
    made = atoms.deepatoms.classify()
    assert "species" not in atoms
    assert made["species"].dtype.kind == "i" and json.loads(made["species"].attrs["names"]) == {"0": "A", "1": "B"}
    heights = [float(made["height"][made["species"] == k].mean()) for k in (0, 1)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.1)
    assert float(made["species_probability"].min()) > 0.9
    entry = json.loads(made.attrs["provenance"])[-1]
    assert entry["operation"] == "classify" and entry["parameters"]["n_found"] == 2


def test_find_atoms_classifies_at_the_end(image, atoms):
    made = image.find_atoms(species=["Sr", "Ti"], show_progressbar=False)
    np.testing.assert_array_equal(made["species"], atoms.deepatoms.classify()["species"])
    rough = image.find_atoms(species="auto", refine="none", show_progressbar=False)
    assert set(np.unique(rough["species"])) == {0, 1}
    with pytest.raises(InvalidArgumentError, match="Sr"):
        image.find_atoms(species="Sr")


def test_sublattices_by_name(atoms):
    made = atoms.deepatoms.classify(["Sr", "Ti"])
    parts = made.deepatoms.sublattices()
    assert list(parts) == ["Sr", "Ti"] and sum(part.sizes["atom"] for part in parts.values()) == atoms.sizes["atom"]
    np.testing.assert_array_equal(parts["Ti"]["atom"], made.deepatoms.select(species="Ti")["atom"])
    renamed = made.deepatoms.rename_species({"Sr": "La", 1: "Al"})
    assert list(renamed.deepatoms.sublattices()) == ["La", "Al"] and list(parts) == ["Sr", "Ti"]
    with pytest.raises(TableError, match="Fe"):
        made.deepatoms.rename_species({"Fe": "Co"})
    with pytest.raises(TableError, match="of its own"):
        made.deepatoms.rename_species({"Sr": "Ti"})
    with pytest.raises(TableError, match="species"):
        atoms.deepatoms.sublattices()


@pytest.mark.parametrize("by", ["height", "contrast", "matched"])
def test_other_features(atoms, by):
    assert (atoms.deepatoms.classify(by=by)["species"] == atoms.deepatoms.classify()["species"]).mean() > 0.98


def test_height_times_width_tells_faint_columns_apart_with_fewer_errors():
    """A free fit errs in height against width: the logarithm of the product has half the variance of each."""
    rng, sigma, spacing = np.random.default_rng(5), 2.0, 11.0
    y, x = (w.ravel() for w in np.mgrid[8:250:spacing, 8:250:spacing])
    strong = rng.random(len(y)) < 0.5
    rate = draw_columns((256, 256), y, x, np.where(strong, 1.0, 0.55), sigma) + 0.5
    atoms = hs_deepatoms.find_atoms(rng.poisson(7 * rate).astype(np.float32), show_progressbar=False)
    distance, nearest = cKDTree(np.column_stack([y, x])).query(np.column_stack([atoms["y_px"], atoms["x_px"]]))
    right = {}
    for by in ("intensity", "height", "matched"):
        found = atoms.deepatoms.classify(2, by=by)["species"].values == 0
        right[by] = (found == strong[nearest])[distance < 3].mean()
    assert 1 - right["matched"] < 0.7 * (1 - max(right["intensity"], right["height"])) and right["matched"] > 0.9


def test_what_cannot_be_read_is_refused(image, atoms):
    bad = [{"n": 0}, {"n": True}, {"n": ["a", "a"]}, {"n": []}, {"method": "x"}, {"local": 3}]
    for arguments in [*bad, {"method": "meanshift", "n": 2}]:
        with pytest.raises(InvalidArgumentError, match="Allowed"):
            atoms.deepatoms.classify(**arguments)
    bare = atoms.drop_vars(["intensity", "height"])
    with pytest.raises(TableError, match="refine"):
        bare.deepatoms.classify()
    assert set(np.unique(bare.deepatoms.classify(signal=image)["species"])) == {0, 1}


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_atoms(n):
    place = np.arange(float(n))
    atoms = hs_deepatoms.positions(place, place, signal=np.zeros((20, 20)), columns={"intensity": place + 1})
    made = atoms.deepatoms.classify(["Sr", "Ti"])
    assert made["species"].sizes["atom"] == n and "Ti" in made["species"].attrs["names"]
    assert made.deepatoms.vacancies().sizes["atom"] == 0 and not made.deepatoms.dopants()["off_class"].any()


def test_vacancies_are_a_table_in_units(image, atoms):
    made = atoms.deepatoms.classify(["Sr", "Ti"])
    middle = np.hypot(made["y_px"] - 90, made["x_px"] - 130).argsort().values[:2]
    keep = ~np.isin(np.arange(made.sizes["atom"]), middle)
    empty = made.isel(atom=keep).deepatoms.vacancies()
    assert empty.attrs["kind"] == "vacancies" and empty["y"].attrs["units"] == "nm"
    gone = made.isel(atom=np.sort(middle))
    np.testing.assert_allclose(empty["y"], gone["y"], atol=0.02)
    np.testing.assert_array_equal(empty["species"], gone["species"])
    assert (empty["confidence"] > 0.8).all()
    assert empty.deepatoms.select(species="Ti").sizes["atom"] == 1
    assert json.loads(empty.attrs["provenance"])[-1]["operation"] == "vacancies"


def test_vacancies_of_frames_stay_in_their_frame():
    y, x = (w.ravel() for w in np.mgrid[5:100:10, 5:120:10].astype(float))
    kept = np.concatenate([np.arange(y.size) != 50, np.arange(y.size) >= 0, np.arange(y.size) != 66])
    frame = np.repeat([0, 2, 3], y.size)[kept]
    stack = np.zeros((4, 100, 120))
    atoms = hs_deepatoms.positions(np.tile(y, 3)[kept], np.tile(x, 3)[kept], signal=stack, frame=frame)
    empty = atoms.deepatoms.vacancies()
    np.testing.assert_array_equal(empty.deepatoms.count(), [1, 0, 0, 1])
    np.testing.assert_allclose(empty["x_px"], [x[50], x[66]], atol=0.1)


def test_dopants(atoms):
    made = atoms.deepatoms.classify()
    odd = int(np.hypot(made["y_px"] - 90, made["x_px"] - 130).values.argmin())
    made["species"][odd] = 1 - made["species"][odd]
    found = made.deepatoms.dopants()
    assert np.flatnonzero(found["off_class"]).tolist() == [odd]
    assert int(found["site_species"][odd]) == 1 - int(made["species"][odd])


def test_species_are_saved_and_drawn(image, atoms, tmp_path):
    made = atoms.deepatoms.classify(["Sr", "Ti"])
    made.deepatoms.save(tmp_path / "a.nc")
    assert list(hs_deepatoms.load(tmp_path / "a.nc").deepatoms.sublattices()) == ["Sr", "Ti"]
    ax = made.deepatoms.plot(image, ax=Figure().add_subplot(), color="species")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Sr", "Ti"]
    colors = {tuple(c) for c in ax.collections[0].get_edgecolors()}
    assert len(colors) == 2 and matplotlib.colors.is_color_like(colors.pop())
    with pytest.raises(TableError, match="species"):
        atoms.deepatoms.plot(image, ax=Figure().add_subplot(), color="species")


def test_importing_the_package_does_not_import_sklearn():
    code = "import sys, hs_deepatoms; print('sklearn' in sys.modules, 'skimage' in sys.modules)"
    assert run_fresh(code, path=Path(hs_deepatoms.__file__).parents[1]).split()[-2:] == ["False", "False"]


def test_noise_vacancies_and_a_gradient_of_a_factor_of_two():
    rng = np.random.default_rng(0)
    cell, basis = PROTOTYPES["perovskite_001"]
    crystal = Crystal(cell, np.array(basis, float), np.array([1.0, 0.5]), "perovskite").scaled()
    y, x, kind = lattice_points(crystal, 16.0, 0.2, (120, 170), 300)
    gone = rng.random(len(y)) < 0.05
    height = crystal.heights[kind] * (1 + np.clip(x, 0, 340) / 340) / 2
    image = rng.poisson(60 * (draw_columns((240, 340), y[~gone], x[~gone], height[~gone], 3.0) + 0.2))
    atoms = hs_deepatoms.find_atoms(image.astype(np.float32), species="auto", show_progressbar=False)
    _, row = cKDTree(np.column_stack([y, x])).query(np.column_stack([atoms["y_px"], atoms["x_px"]]))
    assert (atoms["species"].values == kind[row]).mean() > 0.98
    empty = atoms.deepatoms.vacancies()
    truth, found = np.column_stack([y, x])[gone], np.column_stack([empty["y_px"], empty["x_px"]])
    asked = ((truth > 14) & (truth < np.array([240, 340]) - 14)).all(1)
    assert (cKDTree(found).query(truth[asked])[0] < 4).mean() >= 0.95
    assert (cKDTree(truth).query(found)[0] < 4).mean() >= 0.95


def test_numbers_of_numpy_are_numbers_and_others_named_errors(atoms):
    assert json.loads(atoms.deepatoms.classify(np.int64(2)).attrs["provenance"])[-1]["parameters"]["n"] == 2
    for options in ({"n": ["Sr", ""]}, {"method": np.array(["mixture", "kmeans"])}, {"local": np.array([True, False])},
                    {"local": 1}, {"seed": -1}, {"seed": "a"}):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=r"Got .* Allowed: "):
            atoms.deepatoms.classify(**options)
    made = atoms.deepatoms.classify()
    for names in (5, {"A": None}, {"A": 7}):
        with pytest.raises(InvalidArgumentError, match="Got names="):
            made.deepatoms.rename_species(names)
