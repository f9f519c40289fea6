"""To atomap's objects and back."""

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, MissingExtraError, TableError


class Column:
    """What an atomap column looks like from outside."""

    def __init__(self, x, y, sigma_x=1.0, sigma_y=1.0, rotation=0.01):
        self.pixel_x, self.pixel_y = x, y
        self.sigma_x, self.sigma_y, self.rotation = sigma_x, sigma_y, rotation


class Part:
    """What an atomap sublattice looks like from outside."""

    def __init__(self, columns, name="", pixel_size=1.0, units="pixel"):
        self.atom_list, self.name, self.image = columns, name, np.zeros((40, 60))
        self.pixel_size, self.units = pixel_size, units


class Whole:
    """What an atomap lattice looks like from outside."""

    def __init__(self, parts):
        self.sublattice_list, self.image = parts, parts[0].image
        self.pixel_size, self.units = parts[0].pixel_size, parts[0].units


@pytest.fixture
def image():
    made = hs.signals.Signal2D(np.random.default_rng(0).random((40, 60)))
    for axis, name in zip(made.axes_manager.signal_axes, "xy", strict=True):
        axis.name, axis.scale, axis.units = name, 0.02, "nm"
    return made


@pytest.fixture
def atoms(image):
    columns = {"species": ["Sr", "Ti", "Sr"], "width_x_px": [3.0, 4.0, 5.0], "width_y_px": [2.0, 2.0, 3.0],
               "rotation": [0.3, -0.2, 0.1], "height": [1.0, 2.0, 3.0]}  # fmt: skip
    return hs_deepatoms.positions([10.0, 20.0, 30.0], [12.0, 25.0, 40.0], signal=image, columns=columns)


def test_positions_of_a_sublattice_that_nobody_fitted():
    found = hs_deepatoms.from_atomap(Part([Column(30.5, 7.0), Column(12.0, 20.25)], pixel_size=0.5, units="Å"))
    assert found["x_px"].values.tolist() == [30.5, 12.0] and found["y"].values.tolist() == [3.5, 10.125]
    assert found["y"].attrs["units"] == "Å" and "width_x" not in found and "species" not in found


def test_fit_and_sublattices():
    parts = [Part([Column(30.5, 7.0, 3.0, 2.0, np.pi - 0.3)], "Sr"), Part([Column(5.0, 9.0, 2.0, 2.0, 0.2)], "Ti")]
    found = hs_deepatoms.from_atomap(Whole(parts))
    np.testing.assert_allclose(found["rotation"], [0.3, -0.2])
    np.testing.assert_allclose(found["width_x"], [3, 2])
    assert found.deepatoms.select(species="Ti")["x_px"].values.tolist() == [5.0]
    assert found["y"].attrs["units"] == "px"


def test_calibration_of_a_given_image(image):
    found = hs_deepatoms.from_atomap(Part([Column(30.0, 7.0)]), signal=image)
    np.testing.assert_allclose([found["y"].item(), found["x"].item()], [0.14, 0.6])


def test_no_columns_and_other_objects():
    assert hs_deepatoms.from_atomap(Part([])).sizes["atom"] == 0
    with pytest.raises(InvalidArgumentError, match="Sublattice"):
        hs_deepatoms.from_atomap(np.zeros((3, 2)))


def test_without_atomap_the_extra_is_named(atoms, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "atomap.api", None)
    with pytest.raises(MissingExtraError, match=r"hs_deepatoms\[atomap\]"):
        atoms.deepatoms.to_atomap()


def test_round_trip(atoms, image):
    pytest.importorskip("atomap.api")
    lattice = atoms.deepatoms.to_atomap(image)
    assert [part.name for part in lattice.sublattice_list] == ["Sr", "Ti"]
    assert lattice.sublattice_list[0].x_position.tolist() == [12.0, 40.0]
    again = hs_deepatoms.from_atomap(lattice)
    for name in ("y", "x", "width_y", "width_x", "rotation"):
        np.testing.assert_allclose(again[name], atoms[name])
    assert (again["species"] == atoms["species"]).all()


def test_atomap_has_square_pixels_only(atoms, image):
    pytest.importorskip("atomap.api")
    image.axes_manager["x"].scale = 0.03
    table = hs_deepatoms.positions([1.0], [2.0], signal=image)
    with pytest.raises(TableError, match="square"):
        table.deepatoms.to_atomap()
    assert table.deepatoms.to_units("px").deepatoms.to_atomap().sublattice_list[0].x_position.tolist() == [2.0]
