"""Tables to ASE and back: exact, in any order of the species, on fields that are no squares; relaxation, dynamics."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.io import read

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.structure.ase import relax_atoms, run_dynamics, separate

SHAPE, SCALE = (90, 140), (0.012, 0.01)


def _image(frames=0):
    shape = (frames, *SHAPE) if frames else SHAPE
    image = xr.DataArray(np.zeros(shape, np.float32), dims=("t", "y", "x")[-len(shape) :])
    for dim, n, step, start in zip("yx", SHAPE, SCALE, (-0.4, 2.0), strict=True):
        image = image.assign_coords({dim: (dim, start + step * np.arange(n), {"units": "nm"})})
    return image


@pytest.fixture(scope="module")
def atoms():
    rng = np.random.default_rng(0)
    y, x = (k.ravel() + rng.normal(0, 1, k.size) for k in np.mgrid[8:85:13.0, 9:135:17.0])
    columns = {"species": np.where(rng.random(y.size) < 0.8, "carbon", "dopant"), "probability": rng.random(y.size),
               "y_std_px": rng.random(y.size), "x_std_px": rng.random(y.size)}  # fmt: skip
    return hs_deepatoms.positions(y, x, signal=_image(), columns=columns)


@pytest.mark.parametrize("species", [{0: "C", 1: "Si"}, {1: "Si", 0: "C"}, {"dopant": "Si", "carbon": "C", 7: "U"},
                                     {"1": "Si", "carbon": "C"}])  # fmt: skip
def test_elements_by_class_whatever_the_order(atoms, species):
    made = atoms.deepatoms.to_ase(species=species)
    np.testing.assert_array_equal(made.numbers, np.where(atoms["species"] == 1, 14, 6))
    np.testing.assert_allclose(made.cell.lengths(), [14.0, 10.8, 10.0])
    np.testing.assert_allclose(made.positions[:, 0], 0.1 * (atoms["x_px"] + 0.5))
    np.testing.assert_allclose(made.positions[:, 1], 0.12 * (atoms["y_px"] + 0.5))
    np.testing.assert_allclose(made.arrays["sigma"][:, :2], 10 * np.stack([atoms["x_std"], atoms["y_std"]], axis=1))
    assert json.loads(made.info["provenance"])[-1]["operation"] == "to_ase" and not made.pbc.any()


def test_back_without_a_file(atoms):
    back = hs_deepatoms.from_ase(atoms.deepatoms.to_ase(species={0: "C", 1: "Si"}))
    for name in ("y", "x", "y_px", "x_px", "y_std", "x_std", "probability"):
        np.testing.assert_allclose(back[name], atoms[name], rtol=1e-12, atol=1e-14)
    assert back["atom"].values.tolist() == atoms["atom"].values.tolist()
    assert json.loads(back["species"].attrs["names"]) == {"0": "C", "1": "Si"}
    assert json.loads(back.attrs["axes"]) == json.loads(atoms.attrs["axes"])


@pytest.mark.parametrize(
    "name, kind", [("POSCAR", None), ("a.cif", None), ("a.xyz", "extxyz"), ("a.lmp", "lammps-data")]
)
def test_round_trip_through_files(atoms, tmp_path, name, kind):
    path = atoms.deepatoms.export(tmp_path / name, format=kind, species={"dopant": "Si", 0: "C"})
    back = hs_deepatoms.from_ase(read(path, format=kind) if kind else read(path), signal=_image())
    order = [np.lexsort((np.round(one["x_px"], 3), np.round(one["y_px"], 3))) for one in (atoms, back)]
    for column in ("y_px", "x_px"):
        np.testing.assert_allclose(back[column].values[order[1]], atoms[column].values[order[0]], atol=1e-6)
    names = json.loads(back["species"].attrs["names"])
    symbols = np.array([names[str(k)] for k in back["species"].values])[order[1]]
    np.testing.assert_array_equal(symbols == "Si", atoms["species"].values[order[0]] == 1)


def test_cif_says_which_atoms_its_readers_take_for_one(tmp_path):
    image = xr.DataArray(np.zeros((900, 2000), np.float32), dims=("y", "x"))
    for dim in "yx":
        image = image.assign_coords({dim: (dim, 0.01 * np.arange(image.sizes[dim]), {"units": "nm"})})
    atoms = hs_deepatoms.positions([400.0, 400, 400, -0.5 - 1e-15], [0.0, 20, 1999, 900], signal=image)
    with pytest.warns(UserWarning, match="1 atoms in a.cif"):
        path = atoms.deepatoms.export(tmp_path / "a.cif", species="C")
    assert len(read(path)) == 3
    assert len(read(atoms.deepatoms.export(tmp_path / "a.xyz", species="C"))) == 4


def test_a_poscar_names_every_element_once(atoms, tmp_path):
    path = atoms.deepatoms.export(tmp_path / "POSCAR", species={0: "C", 1: "Si"})
    number = np.bincount(atoms["species"].values)
    assert [line.split() for line in path.read_text().splitlines()[5:7]] == [["C", "Si"], [str(n) for n in number]]


def test_heights_and_cells(atoms):
    rising = atoms.deepatoms.to_ase(species="C", z=lambda y, x: 0.1 * x - 3, vacuum="0.2 nm")
    np.testing.assert_allclose(rising.positions[:, 2].min(), 2.0)
    np.testing.assert_allclose(np.diff(rising.positions[:, 2]), 0.1 * np.diff(rising.positions[:, 0]), atol=1e-9)
    np.testing.assert_allclose(rising.cell[2, 2], np.ptp(rising.positions[:, 2]) + 4)
    column = atoms.assign(tall=("atom", np.linspace(0, 0.5, atoms.sizes["atom"]), {"units": "nm"}))
    assert np.ptp(column.deepatoms.to_ase(species="C", z="tall").positions[:, 2]) == pytest.approx(5.0)
    assert column.deepatoms.to_ase(species="C", cell=(14, 11), pbc=True).cell.lengths().tolist() == [14, 11, 10]
    vectors = [[14, 0, 0], [1, 11, 0], [0, 0, 8]]
    np.testing.assert_array_equal(column.deepatoms.to_ase(species="C", cell=vectors).cell, vectors)


def test_frames_become_a_trajectory(tmp_path):
    image = _image(3)
    atoms = hs_deepatoms.positions([9, 30, 12, 50], [9, 30, 12, 70], signal=image, frame=[0, 0, 1, 2])
    assert [len(atoms.deepatoms.to_ase(species="C", frame=k)) for k in range(3)] == [2, 1, 1]
    path = atoms.deepatoms.export(tmp_path / "all.xyz", format="extxyz", species="C")
    back = hs_deepatoms.from_ase(read(path, index=":"), signal=_image())
    assert back.deepatoms.count().values.tolist() == [2, 1, 1]
    with pytest.raises(InvalidArgumentError, match="one structure per file"):
        atoms.deepatoms.export(tmp_path / "POSCAR", species="C")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_atoms(n):
    atoms = hs_deepatoms.positions(np.arange(n) * 9.0, np.arange(n) * 9.0, signal=_image())
    made = atoms.deepatoms.to_ase(species="C")
    assert len(made) == n and hs_deepatoms.from_ase(made).sizes["atom"] == n


def test_named_errors(atoms, tmp_path):
    make = atoms.deepatoms.to_ase
    for arguments, error, words in [
        ({"species": {0: "C"}}, TableError, "'dopant' of"),
        ({}, TableError, "carbon"),
        ({"species": {0: "C", 1: "Foo"}}, TableError, "Foo"),
        ({"species": ["C"]}, TableError, "species"),
        ({"species": "C", "frame": 1}, TableError, "frame=1"),
        ({"species": "C", "cell": (1, 2, 0)}, InvalidArgumentError, "cell"),
        ({"species": "C", "z": [1.0, 2.0]}, InvalidArgumentError, "z of shape"),
        ({"species": "C", "vacuum": -1}, InvalidArgumentError, "vacuum"),
        ({"species": {0: "C", "carbon": "N", 1: "Si"}}, TableError, "'C' and 'N' for class 0"),
        ({"species": "C", "cell": (-5, 5)}, InvalidArgumentError, "cell"),
        ({"species": "C", "pbc": "no"}, InvalidArgumentError, "pbc='no'"),
        ({"species": "C", "pbc": (True,)}, InvalidArgumentError, "pbc"),
    ]:
        with pytest.raises(error, match=words):
            make(**arguments)
    with pytest.raises(TableError, match="unit of length"):
        hs_deepatoms.positions([1.0], [2.0]).deepatoms.to_ase(species="C")
    with pytest.raises(InvalidArgumentError, match="format"):
        atoms.deepatoms.export(tmp_path / "a.nothing", species="C")
    with pytest.raises(InvalidArgumentError, match=r"ase\.Atoms"):
        hs_deepatoms.from_ase("POSCAR")
    with pytest.raises(InvalidArgumentError, match="pixel_size"):
        hs_deepatoms.from_ase(bulk("Cu"), pixel_size=0)
    with pytest.raises(InvalidArgumentError, match="folder"):
        atoms.deepatoms.export(tmp_path / "none" / "a.cif", species="C")
    for given, match in (({"frames": "a"}, "frame='a'"), ({"frames": 1.5}, r"frame=1\.5"),
                         ({"options": {"nope": 1}}, "options=.*nope")):  # fmt: skip
        with pytest.raises((InvalidArgumentError, TableError), match=match):
            atoms.deepatoms.export(tmp_path / "a.cif", species="C", **given)
    with pytest.raises(InvalidArgumentError, match=r"'espresso-in'.*KeyError"):
        atoms.deepatoms.export(tmp_path / "a.in", format="espresso-in", species="C")
    with pytest.raises(InvalidArgumentError, match=r"path=3.*the name of a file"):
        atoms.deepatoms.export(3, species="C")
    for wrong in ({1.5: "C", 0: "C", 1: "C"}, {None: "C"}, {0: ["C"], 1: "C"}):
        with pytest.raises(TableError, match="species with"):
            atoms.deepatoms.to_ase(species=wrong)
    with pytest.raises(InvalidArgumentError, match="rotation='foo'"):
        atoms.deepatoms.plot_ase(species="C", rotation="foo")
    kept = tmp_path / "results"
    kept.mkdir()
    (kept / "precious.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="which is a folder"):
        atoms.deepatoms.export(kept, format="vasp", species="C")
    assert [one.name for one in kept.iterdir()] == ["precious.txt"]
    assert make(species="C", pbc=[1, 1, 0]).pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"calculator": None}, "calculator=None"),
        ({"calculator": EMT}, "EMT"),
        ({"species": "Si"}, "EMT that fails for Si6"),
        ({"fmax": 0}, "fmax"),
        ({"steps": -1}, "steps"),
        ({"restraint": -1.0}, "restraint"),
        ({"timestep": 0.0}, "timestep"),
        ({"temperature": -5}, "temperature"),
        ({"friction": -1}, "friction"),
        ({"every": 0}, "every"),
    ],
)
def test_what_cannot_be_calculated_is_named(arguments, words):
    table = hs_deepatoms.from_ase(fcc111("Cu", (2, 3, 1), vacuum=5))
    table = table.assign(y_std=("atom", np.full(6, 0.1)), x_std=("atom", np.full(6, 0.1)))
    of_dynamics = {"timestep", "temperature", "friction", "every"} & set(arguments)
    run = table.deepatoms.md if of_dynamics else table.deepatoms.relax
    with pytest.raises(InvalidArgumentError, match=words):
        run(**{"calculator": EMT(), "species": {0: "Cu"}, **arguments})


def test_overlaps_leave_the_better_one():
    rng = np.random.default_rng(0)
    y, x, score = rng.uniform(0, 30, (3, 200))
    keep = separate(y, x, 3.0, score)
    far = np.hypot(y[:, None] - y, x[:, None] - x)
    np.fill_diagonal(far, np.inf)
    assert far[np.ix_(keep, keep)].min() > 3
    for row in np.flatnonzero(~keep):
        assert (keep & (far[row] <= 3) & (score > score[row])).any()
    same = hs_deepatoms.positions([5.0, 5.0, 9.0], [5.0, 5.0, 9.0])
    assert same.deepatoms.remove_overlaps(1)["atom"].values.tolist() == [0, 2]


def test_relaxation_lowers_the_energy_and_keeps_the_topology():
    ideal = hs_deepatoms.from_ase(fcc111("Cu", (4, 5, 1), vacuum=5))
    rng, noisy = np.random.default_rng(1), ideal.copy()
    for axis in "yx":
        noisy[axis] = ideal[axis].copy(data=ideal[axis].values + rng.normal(0, 0.12, ideal.sizes["atom"]))
    noisy = noisy.drop_vars("z").assign(y_std=("atom", np.full(20, 0.1)), x_std=("atom", np.full(20, 0.1)))
    done = noisy.deepatoms.relax(EMT(), species={0: "Cu"}, fmax=0.02)
    assert done.attrs["converged"] and done.attrs["energy"] < done.attrs["energy_before"] - 0.1
    assert np.hypot(done["force_y"].values, done["force_x"].values).max() < 0.021 and np.ptp(
        done["z"].values
    ) == pytest.approx(0, abs=1e-9)
    assert done["atom_energy"].sum() == pytest.approx(done.attrs["energy"]) and np.ptp(done["atom_energy"].values) > 0.1
    edges = [set(one.deepatoms.graph(cutoff=3.3).edges) for one in (ideal, done)]
    assert edges[0] == edges[1] and (done["atom"].values == noisy["atom"].values).all()
    held = noisy.deepatoms.relax(EMT(), species={0: "Cu"}, fmax=0.02, restraint=5.0)
    moved = [np.hypot(one["y"] - noisy["y"], one["x"] - noisy["x"]).mean() for one in (held, done)]
    assert moved[0] < 0.5 * moved[1]
    with pytest.raises(InvalidArgumentError, match="optimizer"):
        noisy.deepatoms.relax(EMT(), species={0: "Cu"}, optimizer="Newton")
    with pytest.raises(TableError, match="uncertainties"):
        ideal.deepatoms.relax(EMT(), species={0: "Cu"}, restraint=1.0)


def test_energy_is_conserved():
    crystal = bulk("Cu", cubic=True)
    run = run_dynamics(crystal, EMT(), steps=200, timestep=2.0, every=1)
    total = (run.potential + run.kinetic) / len(crystal)
    assert np.abs(total - total[0]).max() < 1e-4 and run.kinetic[0] > 0


def test_a_trajectory_is_the_table_of_a_linked_movie():
    y, x = (k.ravel() for k in np.mgrid[10:70:20.0, 10:110:20.0])
    columns = {"probability": np.full(15, 0.9), "y_std_px": np.full(15, 0.1), "x_std_px": np.full(15, 0.1)}
    table = hs_deepatoms.positions(y, x, signal=_image(), columns=columns).isel(atom=slice(None, None, -1))
    run = table.deepatoms.md(EMT(), species="Cu", steps=20, every=5, timestep=0.5)
    rows = run[["potential_energy", "kinetic_energy"]].groupby("time").first()
    assert rows["time"].values.tolist() == [0, 2.5, 5, 7.5, 10] and run["time"].attrs["units"] == "fs"
    total = rows["potential_energy"] + rows["kinetic_energy"]
    assert np.ptp(total.values) < 1e-4 * 15 and np.ptp(rows["kinetic_energy"].values) > 1e-4 * 15
    assert (
        np.ptp(run["z"].values) == 0
        and np.ptp(table.deepatoms.md(EMT(), species="Cu", steps=20, flat=False)["z"].values) > 1e-3
    )
    begin = run.isel(atom=run["time_index"].values == 0).set_index(atom="track")
    for name in ("y", "x"):
        assert begin[name].sel(atom=table["atom"]).values == pytest.approx(table[name].values, abs=1e-9)
        assert run[name].attrs["units"] == table[name].attrs["units"]
    assert "probability" not in run and "y_std" not in run and run["force_x"].attrs["units"] == "eV/Å"
    assert run.deepatoms.displacements().sizes["link"] == 4 * 15
    assert run.deepatoms.bond_events(cutoff="3 Å").sizes["event"] == 0
    assert set(run.deepatoms.on_tracks("z")["track"].values) == set(table["atom"].values)


def test_energy_that_is_not_conserved_is_said():
    crystal = bulk("Cu", cubic=True)
    with pytest.warns(UserWarning, match=r"eV per atom: timestep=60 \(fs\) is too long") as said:
        run_dynamics(crystal, EMT(), steps=20, timestep=60.0)
    assert [one.filename for one in said] == [__file__]
    with pytest.raises(InvalidArgumentError, match="seed=-1"):
        run_dynamics(crystal, EMT(), steps=1, seed=-1)


@pytest.mark.parametrize("run", ["relax", "md"])
def test_atoms_too_far_apart_for_any_force_are_told(run):
    """An image calibrated ten times too large: nothing moves, which looks like a relaxed crystal."""
    y, x = (k.ravel() for k in np.mgrid[10:80:20.0, 10:130:20.0])
    for factor, told in ((1, False), (10, True)):
        image = xr.DataArray(np.zeros(SHAPE), dims=("y", "x"))
        image = image.assign_coords({dim: (dim, 0.013 * factor * np.arange(n), {"units": "nm"})
                                     for dim, n in zip("yx", SHAPE, strict=True)})  # fmt: skip
        table = hs_deepatoms.positions(y, x, signal=image)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            getattr(table.deepatoms, run)(EMT(), species="Cu", steps=2)
        found = [one for one in seen if "no force acts" in str(one.message)]
        assert bool(found) == told and all(one.filename == __file__ for one in found)


@pytest.mark.parametrize("run", [relax_atoms, run_dynamics])
def test_warnings_point_at_the_line_that_called(run):
    apart = Atoms("Cu2", [[0, 0, 0], [0, 0, 20.0]])
    with pytest.warns(UserWarning, match="no force acts") as said:
        run(apart, EMT(), steps=2)
    assert {one.filename for one in said} == {__file__}
