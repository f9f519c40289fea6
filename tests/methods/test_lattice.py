"""``atoms.deepatoms.lattice``: calibrated columns, references, frames, and the strain of a simulated image."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from tests.methods.crystals import SCALE, left_region, perovskite, right_region, signal

NAMES = ("strain_yy", "strain_xx", "strain_xy", "lattice_rotation")


def entries(made):
    return json.loads(made.attrs["lattice"])


def halves(made):
    left, right = (made.deepatoms.select(region=region) for region in (left_region(), right_region()))
    return left, right


def test_columns_units_and_vectors():
    atoms = perovskite(strain=0.0)
    made = atoms.deepatoms.lattice()
    assert made.sizes == atoms.sizes and (made["atom"] == atoms["atom"]).all()
    assert made["displacement_y"].attrs["units"] == "nm" and made["lattice_rotation"].attrs["units"] == "rad"
    assert sorted(np.unique(made["basis"])) == [0, 1] and (made["grain"] == 0).all()
    (entry,) = entries(made)
    np.testing.assert_allclose(entry["vectors"], [[0, 0.39], [0.39, 0]], atol=2e-4)
    assert entry["units"] == "nm" and abs(entry["angle_deg"] - 90) < 0.1 and entry["errors"] == "y_std, x_std"
    np.testing.assert_allclose(entry["misfit"], 1, atol=0.1)
    for name in ("displacement_y", "displacement_x"):
        assert abs((made[name] / made[f"{name}_std"]).std() - 1) < 0.1
    assert json.loads(made.attrs["provenance"])[-1]["operation"] == "lattice"
    assert "strain_xx" not in atoms  # the given table is left alone


@pytest.mark.parametrize("reference", ["region", "lengths", "mean"])
def test_references(reference):
    atoms = perovskite(strain=0.01)
    given = {"region": left_region(), "lengths": ("390 pm", 0.39), "mean": "mean"}[reference]
    left, right = halves(atoms.deepatoms.lattice(reference=given))
    difference = right.deepatoms.mean_strain() - left.deepatoms.mean_strain()
    assert abs(float(difference["strain_xx"][0]) - 0.01) < 3e-4
    if reference != "mean":
        assert abs(float(left["strain_xx"].mean())) < 6e-4
        assert abs(float(right["strain_xx"].mean()) - 0.01) < 6e-4
        assert abs(float(right["strain_yy"].mean())) < 6e-4
    assert abs(float(right["lattice_rotation"].mean())) < 6e-4


def test_scatter_is_the_reported_error():
    made = perovskite(strain=0.0, seed=4).deepatoms.lattice()
    for name in NAMES:
        good = np.isfinite(made[name].values)
        ratio = np.sqrt((made[name].values[good] ** 2).mean() / (made[f"{name}_std"].values[good] ** 2).mean())
        assert abs(ratio - 1) < 0.1


def test_mean_strain_knows_its_error():
    off = []
    for seed in range(25):
        made = perovskite(strain=0.01, seed=seed).deepatoms.lattice(reference=left_region())
        mean = made.deepatoms.select(region=right_region()).deepatoms.mean_strain()
        off.append((float(mean["strain_xx"][0]) - 0.01) / float(mean["strain_xx_std"][0]))
    assert 0.65 < np.sqrt(np.mean(np.square(off))) < 1.4


def test_units_of_the_table_do_not_matter():
    atoms = perovskite()
    made, pm = (
        one.deepatoms.lattice(reference=("390 pm", "0.39 nm")) for one in (atoms, atoms.deepatoms.to_units("pm"))
    )
    for name in NAMES:
        np.testing.assert_allclose(made[name], pm[name], atol=1e-9)
    np.testing.assert_allclose(1000 * made["displacement_x"], pm["displacement_x"], atol=1e-6)
    np.testing.assert_allclose(made.deepatoms.to_units("pm")["displacement_y_std"], pm["displacement_y_std"])
    px = made.deepatoms.to_units("px")
    np.testing.assert_allclose(px["displacement_y"] * SCALE["y"], made["displacement_y"], atol=1e-12)
    np.testing.assert_allclose(px["displacement_x_std"] * SCALE["x"], made["displacement_x_std"], atol=1e-12)
    np.testing.assert_allclose(made.deepatoms.to_units("pm").deepatoms.mean_strain()["strain_xx"],
                               made.deepatoms.mean_strain()["strain_xx"], atol=1e-9)  # fmt: skip


def test_axes_of_different_units_are_computed_in_pixels():
    made = perovskite(units=("nm", "s"), strain=0.0).deepatoms.lattice()
    assert entries(made)[0]["units"] == "px" and made["displacement_x"].attrs["units"] == "s"
    np.testing.assert_allclose(entries(made)[0]["a"], 0.39 / SCALE["x"], rtol=2e-3)
    assert 0.01 < float(made["displacement_x_std"].mean()) / SCALE["x"] < 0.1


def test_a_falling_axis_changes_signs_only():
    first = perovskite(strain=0.01, seed=2)
    image = signal()
    image.axes_manager["x"].scale *= -1
    other = hs_deepatoms.positions(first["y_px"].values, first["x_px"].values, signal=image)
    plain = hs_deepatoms.positions(first["y_px"].values, first["x_px"].values, signal=signal())
    a, b = (table.deepatoms.lattice() for table in (plain, other))
    np.testing.assert_allclose(a["strain_xx"], b["strain_xx"], atol=1e-9)
    np.testing.assert_allclose(a["strain_xy"], -b["strain_xy"], atol=1e-9)


def test_frames_have_their_own_grains():
    parts = [perovskite(strain=0.0, seed=k, noise=0.04) for k in range(2)]
    y, x, species = (np.concatenate([part[name].values for part in parts]) for name in ("y_px", "x_px", "species"))
    frame = np.repeat([0, 2], [part.sizes["atom"] for part in parts])
    stack = hs_deepatoms.positions(y, x, signal=signal(frames=3), frame=frame, columns={"species": species})
    made = stack.deepatoms.lattice()
    assert [entry["frame"] for entry in entries(made)] == [0, 2]
    assert (made["grain"].values == np.repeat([0, 1], [part.sizes["atom"] for part in parts])).all()
    assert made.deepatoms.mean_strain().sizes == {"grain": 2}
    assert made.deepatoms.to_signal("strain_xx").data.shape == (3, 300, 400)


def test_one_species_only():
    made = perovskite().deepatoms.lattice(species="Sr")
    chosen = made.deepatoms.select(species="Sr")
    assert (chosen["grain"] == 0).all() and (made.deepatoms.select(species="Ti")["grain"] == -1).all()
    assert np.isnan(made.deepatoms.select(species="Ti")["strain_xx"]).all()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_atoms(n):
    atoms = perovskite().isel(atom=slice(0, n))
    made = atoms.deepatoms.lattice()
    assert made.sizes["atom"] == n and np.isnan(made["strain_xx"]).all() and entries(made) == []
    assert made.deepatoms.mean_strain().sizes["grain"] == 0
    assert atoms.deepatoms.neighbours(k=2)["distance"].shape == (n, 2)


def test_saves_and_loads(tmp_path):
    made = perovskite().deepatoms.lattice(reference=left_region())
    for name in ("a.zarr", "a.nc"):
        made.deepatoms.save(tmp_path / name)
        again = hs_deepatoms.load(tmp_path / name)
        np.testing.assert_array_equal(again["strain_xx"], made["strain_xx"])
        np.testing.assert_allclose(
            again.deepatoms.mean_strain()["strain_xx"], made.deepatoms.mean_strain()["strain_xx"]
        )


def test_named_errors():
    atoms = perovskite()
    with pytest.raises(InvalidArgumentError, match="reference"):
        atoms.deepatoms.lattice(reference="substrate")
    with pytest.raises(InvalidArgumentError, match="reference"):
        atoms.deepatoms.lattice(reference=(0, 3))
    empty = hs.roi.RectangularROI(left=50, right=51, top=2, bottom=3)
    with pytest.raises(TableError, match="region"):
        atoms.deepatoms.lattice(reference=empty)
    with pytest.raises(TableError, match="lattice"):
        atoms.deepatoms.mean_strain()
    with pytest.raises(TableError, match="species"):
        atoms.deepatoms.lattice(species="O")


def test_strain_of_an_image():
    """A tenth of a percent in one half, from 5,500 columns at peak 200: to 3 % of its value; errors to 10 %."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        import strain as benchmark
    finally:
        sys.path.pop(0)
    found = benchmark.score(benchmark.from_image(1024, np.random.default_rng(1), "quick"), 1024)
    assert found["columns"] >= 5000 and found["grains"] == 1
    assert abs(found["difference"]["strain_xx"] / benchmark.STRAIN - 1) < 0.03
    assert abs(found["fitted"] / benchmark.STRAIN - 1) < 0.03
    assert all(abs(ratio - 1) < 0.1 for ratio in found["scatter"].values())


def test_many_frames_show_a_bar_once_they_take_long(monkeypatch, capfd):
    from hs_deepatoms.methods import lattice as module

    y, x = (k.ravel() for k in np.mgrid[5:65:10.0, 5:75:10.0])
    images = np.zeros((2, 70, 80))
    atoms = hs_deepatoms.positions(np.tile(y, 2), np.tile(x, 2), frame=np.repeat([0, 1], y.size), signal=images)
    capfd.readouterr()
    atoms.deepatoms.lattice(show_progressbar=True)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    atoms.deepatoms.lattice(show_progressbar=True)
    assert "2/2" in capfd.readouterr().err
    atoms.deepatoms.lattice(show_progressbar=False)
    assert capfd.readouterr().err == ""
