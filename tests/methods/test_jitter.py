"""Scan jitter of tables: calibrated, several series, added to the errors, and in images with a known one."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
from scipy.spatial import cKDTree

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.detector import shift_lines
from hs_deepatoms.tables.schema import read_json

NM = {"y": 0.03, "x": -0.02}
SIZE = 420


def stack(*sizes, units=("nm", "nm"), scale=NM):
    names = ["tilt", "time", "y", "x"][-len(sizes) - 2 :]
    signal = hs.signals.Signal2D(np.zeros((*sizes, SIZE, SIZE + 6), np.float32))
    for axis, name in zip(signal.axes_manager._axes, names, strict=True):
        axis.name = name
        if name in "yx":
            axis.scale, axis.units = scale[name], units["yx".index(name)]
    return signal


def series(rng, jitter, n_frames=3, n=40, noise=0.02):
    sites = np.mgrid[:n, :n].reshape(2, -1) * 10.0 + 10
    row = np.repeat(np.arange(n), n)
    lines = np.array(jitter)[:, None, None] * rng.standard_normal((2, n_frames, n))
    places = sites[:, None] + lines[:, :, row] + noise * rng.standard_normal((2, n_frames, n * n))
    return places.reshape(2, -1), np.repeat(np.arange(n_frames), n * n)


def table(seed=0, jitter=(0.02, 0.05), **kwargs):
    (y, x), frame = series(np.random.default_rng(seed), jitter)
    columns = {"y_std_px": np.full(y.size, 0.02), "x_std_px": np.full(y.size, 0.02), "yx_corr": np.full(y.size, 0.5)}
    return hs_deepatoms.positions(y, x, frame=frame, columns=columns, signal=stack(3, **kwargs))


@pytest.mark.parametrize("units", [("nm", "nm"), ("nm", "mrad")])
def test_calibrated_along_each_axis(units):
    found = table(units=units).deepatoms.scan_jitter()
    assert found["y"].attrs["units"] == units[0] and found["x"].attrs["units"] == units[1]
    assert found["x"].dims == () and found["n_pairs"] > 3000
    for name, px in (("y", 0.02), ("x", 0.05)):
        truth = px * abs(NM[name])
        assert found[f"{name}_std"] < 0.2 * truth
        assert found[name] == pytest.approx(truth, abs=4 * found[f"{name}_std"].item())
    assert read_json(found.attrs, "provenance", [])[-1]["operation"] == "scan_jitter"


def test_added_in_quadrature_and_the_covariance_stays():
    atoms = table()
    jitter = atoms.deepatoms.scan_jitter()
    made = atoms.deepatoms.with_jitter()
    for name in ("y", "x"):
        expected = np.hypot(atoms[f"{name}_std"], jitter[name])
        np.testing.assert_allclose(made[f"{name}_std"], expected, rtol=1e-6)
        assert made[f"{name}_std"].attrs == atoms[f"{name}_std"].attrs
    covariance, before = (one.yx_corr * one.y_std * one.x_std for one in (made, atoms))
    np.testing.assert_allclose(covariance, before, rtol=1e-6)
    np.testing.assert_array_equal(made["x"], atoms["x"])
    entry = read_json(made.attrs, "provenance", [])[-1]
    assert entry["operation"] == "with_jitter" and entry["parameters"]["jitter"]["x"] == jitter.x.item()
    with pytest.raises(TableError, match="include jitter"):
        made.deepatoms.with_jitter()


def test_errors_stated_too_large_are_scaled_to_what_frames_show():
    """Jitter along x is a misfit, which a fit adds to its errors along y as well."""
    atoms = table(jitter=(0.0, 0.05))
    atoms = atoms.assign(y_std=1.4 * atoms.y_std)
    jitter, made = atoms.deepatoms.scan_jitter(), atoms.deepatoms.with_jitter()
    assert jitter.y == 0 and jitter.x_scale == 1
    np.testing.assert_allclose(made.y_std, 0.02 * NM["y"], rtol=0.03)
    covariance, before = (one.yx_corr * one.y_std * one.x_std for one in (made, atoms))
    np.testing.assert_allclose(covariance, before * jitter.y_scale, rtol=1e-6)


def test_the_share_of_errors_of_one_table_is_not_that_of_another():
    """At another dose, the misfit that enlarged the errors of one is not there in the other."""
    atoms = table(jitter=(0.0, 0.05))
    jitter = atoms.assign(y_std=1.4 * atoms.y_std).deepatoms.scan_jitter()
    assert jitter.y_scale < 0.8
    other = table(seed=1, jitter=(0.0, 0.05))
    other = other.assign_attrs(provenance=other.attrs["provenance"].replace("arrays", "others"))
    made = other.deepatoms.with_jitter(jitter)
    np.testing.assert_array_equal(made.y_std, other.y_std)
    np.testing.assert_allclose(made.x_std, np.hypot(other.x_std, jitter.x))
    used = read_json(made.attrs, "provenance", [])[-1]["parameters"]["jitter"]
    assert sorted(used) == ["x", "y"]
    bare = atoms.assign(y_std=1.4 * atoms.y_std).assign_attrs(provenance="[]")  # measured on the table itself
    np.testing.assert_allclose(bare.deepatoms.with_jitter().y_std, bare.y_std * jitter.y_scale)
    part = atoms.isel(atom=atoms.y_px.values > 100)  # what is left of a table is still that table
    np.testing.assert_allclose(part.deepatoms.with_jitter(jitter).y_std, part.y_std * jitter.y_scale)


def test_jitter_of_other_images_in_other_units():
    jitter = table(scale={"y": 0.03, "x": 0.02}).deepatoms.scan_jitter()
    columns = {"y_std_px": [0.1] * 2, "x_std_px": [0.1] * 2}
    single = hs_deepatoms.positions([9.0, 30.0], [9.0, 20.0], signal=stack(), columns=columns)
    made = single.deepatoms.to_units("pm").deepatoms.with_jitter(jitter)
    np.testing.assert_allclose(made["x_std"], 1000 * np.hypot(0.002, jitter.x.item()), rtol=1e-6)
    with pytest.raises(InvalidArgumentError):
        single.deepatoms.with_jitter(jitter.assign(x=jitter.x.assign_attrs(units="px")))
    with pytest.raises(TableError, match="one frame"):
        single.deepatoms.scan_jitter()
    with pytest.raises(TableError, match="one frame"):
        single.deepatoms.with_jitter()


def test_series_on_other_axes_are_measured_apart():
    rng = np.random.default_rng(4)
    parts = [series(rng, (0.0, jitter)) for jitter in (0.03, 0.1)]
    y, x = np.concatenate([part[0] for part in parts], axis=1)
    frame = np.concatenate([parts[0][1], parts[1][1] + 3])
    columns = {"y_std_px": np.full(y.size, 0.02), "x_std_px": np.full(y.size, 0.02)}
    atoms = hs_deepatoms.positions(y, x, frame=frame, columns=columns, signal=stack(2, 3))
    found = atoms.deepatoms.scan_jitter()
    assert found["x"].dims == ("tilt",)
    np.testing.assert_allclose(found["x"], [0.0006, 0.002], rtol=0.2)
    made = atoms.deepatoms.with_jitter(found)
    for number in (0, 1):
        here = made["x_std"].values[made["tilt_index"].values == number]
        np.testing.assert_allclose(here, np.hypot(0.0004, found["x"][number]), rtol=1e-6)
    with pytest.raises(TableError, match="navigation axes"):
        table().deepatoms.with_jitter(found)
    assert atoms.deepatoms.scan_jitter(axis="tilt")["x"].dims == ("time",)
    with pytest.raises(InvalidArgumentError):
        atoms.deepatoms.scan_jitter(axis="no")


def test_what_is_refused():
    atoms = table()
    with pytest.raises(TableError, match="y_std"):
        atoms.drop_vars("y_std").deepatoms.scan_jitter()
    few = atoms.isel(atom=atoms["y_px"].values < 12).isel(atom=slice(0, None, 5))
    with pytest.warns(UserWarning, match="20 atoms"):
        assert np.isnan(few.deepatoms.scan_jitter()["x"])
    with pytest.raises(TableError, match="not measured"), pytest.warns(UserWarning, match="20 atoms"):
        few.deepatoms.with_jitter()
    with pytest.raises(TableError, match="scan_jitter"):
        atoms.deepatoms.with_jitter(atoms.deepatoms.scan_jitter().drop_vars(["y", "x"]))


@pytest.mark.parametrize("lazy", [False, True])
def test_coverage_of_images_with_line_jitter(lazy):
    rng = np.random.default_rng(8)
    n, spacing = 34, 14
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * spacing + 0.7 * rng.standard_normal((2, n * n))
    frames, shifts = [], np.array([[0.0, 0.0], [2.9, 3.9]])
    for dy, dx in shifts:
        expected = 20 + draw_columns((n * spacing, n * spacing + 4), y + dy, x + dx, np.full(y.size, 200.0), 2.5)
        frames.append(rng.poisson(np.clip(shift_lines(expected, 0.1 * rng.standard_normal(len(expected))), 0, None)))
    signal = hs.signals.Signal2D(np.array(frames, np.float32))
    atoms = (signal.as_lazy() if lazy else signal).find_atoms(show_progressbar=False)
    for one, least, most in ((atoms, 0.0, 0.62), (atoms.deepatoms.with_jitter(), 0.62, 0.76)):
        hits = []
        for number, (dy, dx) in enumerate(shifts):
            here = one.isel(atom=one["nav_0_index"].values == number)
            distance, k = cKDTree(np.stack([y + dy, x + dx], 1)).query(np.stack([here.y_px, here.x_px], 1))
            inner = (distance < 4) & (here.x_px.values > 15) & (here.x_px.values < n * spacing - 15)
            hits.append((np.abs(here["x_px"].values - x[k] - dx) < here["x_std"].values)[inner])
        assert least < np.concatenate(hits).mean() < most


@pytest.mark.parametrize("lazy", [False, True])
def test_lines_of_every_frame_of_a_calibrated_stack(lazy):
    rng = np.random.default_rng(3)
    n, spacing = 24, 14
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * spacing + 0.7 * rng.standard_normal((2, n * n))
    expected = 20 + draw_columns((n * spacing, n * spacing + 4), y, x, np.full(y.size, 200.0), 2.5)
    frames = [shift_lines(expected, jitter * rng.standard_normal(len(expected))) for jitter in (0.0, 0.1, 0.2)]
    signal = hs.signals.Signal2D(rng.poisson(np.clip(frames, 0, None)).astype(np.float32))
    for axis, name in zip(signal.axes_manager._axes, ("time", "y", "x"), strict=True):
        axis.name, axis.scale, axis.units = name, NM.get(name, 1.0), "nm" if name in "yx" else "s"
    signal.axes_manager["y"].scale = 0.02
    signal = signal.as_lazy() if lazy else signal
    atoms = signal.find_atoms(show_progressbar=False)
    found = atoms.deepatoms.scan_jitter(signal)
    assert found["x"].dims == found["line_x"].dims == ("time",) and "y" not in found
    np.testing.assert_allclose(found["line_x"], [0.0, 0.002, 0.004], rtol=0.12, atol=0.0004)
    made = atoms.deepatoms.with_jitter(found)
    np.testing.assert_array_equal(made["y_std"], atoms["y_std"])
    mine = found["x"].values[atoms["time_index"].values]
    np.testing.assert_allclose(made["x_std"], np.hypot(atoms["x_std"], mine), rtol=1e-5)
    in_px = atoms.deepatoms.to_units("px").deepatoms.scan_jitter(signal)
    np.testing.assert_allclose(in_px["x"], found["x"] / 0.02, rtol=1e-5)
    assert in_px["x"].attrs["units"] == "px"
    with pytest.raises(TableError, match="shape"):
        atoms.deepatoms.scan_jitter(signal.inav[0])
    with pytest.raises(TableError, match="width_x"):
        atoms.drop_vars("width_x").deepatoms.scan_jitter(signal)
