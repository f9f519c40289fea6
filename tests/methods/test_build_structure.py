"""Slabs and crystals from columns, the files of other codes, and ASE's picture."""

import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from ase.io import read

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError


@pytest.fixture
def perovskite():
    """Three by four cells of SrTiO3 without its oxygen, 3.9 Å wide, on pixels that are no squares."""
    y, x = (k.ravel() * 3.9 for k in np.mgrid[:3, :4])
    y, x = np.append(y, y + 1.95), np.append(x, x + 1.95)
    image = xr.DataArray(np.zeros((117, 195), np.float32), dims=("y", "x"))  # 11.7 and 15.6 Å
    for dim, n, scale in (("y", 117, 0.1), ("x", 195, 0.08)):
        image = image.assign_coords({dim: (dim, scale * np.arange(n), {"units": "Å"})})
    return hs_deepatoms.positions(y / 0.1, x / 0.08, signal=image, columns={"species": np.repeat(["Sr", "Ti"], 12)})


def test_a_bulk_crystal_has_its_density_and_neighbours(perovskite):
    bulk = perovskite.deepatoms.to_slab(spacing="0.39 nm", layers=2, vacuum=None, shifts={"Ti": 1.95},
                                        cell=(15.6, 11.7), repeat=(1, 2))  # fmt: skip
    assert bulk.pbc.all() and len(bulk) == 24 * 2 * 2
    np.testing.assert_allclose(bulk.cell.lengths(), [15.6, 23.4, 7.8])
    assert bulk.get_volume() / len(bulk) == pytest.approx(3.9**3 / 2)
    distance = bulk.get_all_distances(mic=True)
    assert np.sort(distance[0])[1] == pytest.approx(1.95 * np.sqrt(3))  # Sr in the middle of eight Ti
    assert (np.abs(distance[0] - 1.95 * np.sqrt(3)) < 1e-6).sum() == 8
    assert sorted(set(bulk.arrays["layer"])) == [0, 1]


def test_a_slab_has_vacuum_and_keeps_its_columns(perovskite):
    slab = perovskite.deepatoms.to_slab(spacing=3.9, layers=5, vacuum=6.0)
    flat = perovskite.deepatoms.to_ase()
    assert not slab.pbc.any() and slab.cell[2, 2] == pytest.approx(4 * 3.9 + 12)
    assert slab.positions[:, 2].min() == pytest.approx(6.0)
    for k in range(5):
        np.testing.assert_allclose(slab.positions[24 * k : 24 * k + 24, :2], flat.positions[:, :2])
        np.testing.assert_array_equal(slab.numbers[24 * k : 24 * k + 24], flat.numbers)
    back = hs_deepatoms.from_ase(slab[:24])
    np.testing.assert_allclose(back["x_px"], perovskite["x_px"], atol=1e-9)
    assert json.loads(slab.info["provenance"])


@pytest.mark.parametrize("arguments", [{"layers": 0}, {"spacing": 0}, {"repeat": (1,)}, {"repeat": (1, 0)},
                                       {"shifts": {"U": 1.0}}])  # fmt: skip
def test_what_makes_no_slab(perovskite, arguments):
    with pytest.raises(InvalidArgumentError):
        perovskite.deepatoms.to_slab(**{"spacing": 3.9, **arguments})
    with pytest.raises(TableError):
        perovskite.drop_vars("species").deepatoms.to_slab(spacing=3.9, species="Cu", shifts={0: 1.0})


def test_files_for_other_codes(perovskite, tmp_path):
    slab = perovskite.deepatoms.to_slab(spacing=3.9, layers=3)
    paths = hs_deepatoms.hand_over(slab, tmp_path / "vasp", kpoints=(2, 3, 1), cutoff=520, calculation="static")
    back = read(paths[0], format="vasp")
    assert sorted(back.numbers) == sorted(slab.numbers) and [p.name for p in paths] == ["POSCAR", "INCAR", "KPOINTS"]
    order = np.argsort(slab.numbers != slab.numbers.min(), kind="stable")
    assert set(map(tuple, back.positions.round(6))) == set(map(tuple, slab.positions[order].round(6)))
    assert "ENCUT = 520" in paths[1].read_text() and "NSW = 0" in paths[1].read_text()
    assert "2 3 1" in paths[2].read_text().splitlines()
    xyz, script = hs_deepatoms.hand_over(slab, tmp_path / "gpaw", code="gpaw", kpoints=(2, 3, 1))
    np.testing.assert_allclose(read(xyz).positions, slab.positions, atol=1e-6)
    compile(script.read_text(), "run.py", "exec")
    assert '"size": (2, 3, 1)' in script.read_text() and "BFGS" in script.read_text()
    with pytest.raises(InvalidArgumentError, match="empty"):
        hs_deepatoms.hand_over(slab, tmp_path / "vasp")
    with pytest.raises(InvalidArgumentError, match="siesta"):
        hs_deepatoms.hand_over(slab, tmp_path / "new", code="siesta")
    assert not (tmp_path / "new").exists()


def test_the_picture_of_ase(perovskite):
    ax = perovskite.deepatoms.plot_ase(rotation="-80x,10y")
    spheres = [patch for patch in ax.patches if hasattr(patch, "get_radius")]
    assert len(spheres) == 24 and ax.get_aspect() == 1.0
    plt.close(ax.figure)


def test_bond_angles_that_are_not_equal(perovskite):
    found = perovskite.isel(atom=(perovskite["species"] == 0).values).deepatoms.coordination(cutoff=4.0)
    corners = found["angle_spread"].values[found["coordination"].values == 2]  # 90 and 270 degrees
    np.testing.assert_allclose(corners, np.pi / 2)
    np.testing.assert_allclose(found["angle_spread"].values[found["coordination"].values == 4], 0, atol=1e-6)


def test_what_is_no_structure_or_has_no_atoms_is_named(tmp_path):
    image = xr.DataArray(np.zeros((20, 30)), dims=("y", "x"))
    for dim in image.dims:
        image = image.assign_coords({dim: (dim, 0.1 * np.arange(image.sizes[dim]), {"units": "nm"})})
    table = hs_deepatoms.positions([2.0, 5.0], [3.0, 9.0], signal=image)
    for wrong in (table, None, table.deepatoms.to_ase(species="C")[:0]):
        with pytest.raises(InvalidArgumentError, match="to_ase"):
            hs_deepatoms.hand_over(wrong, tmp_path / "new")
    with pytest.raises(TableError, match="without atoms"):
        table.isel(atom=[]).deepatoms.export(tmp_path / "POSCAR", species="C")
    assert not any(tmp_path.iterdir())
