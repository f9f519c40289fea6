"""Movies through the accessor: calibrated, several in one table, saved and loaded, every result by its numbers."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest
from matplotlib.figure import Figure

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.plot.tracks import plot_tracks
from hs_deepatoms.simulate.movies import link_scores, moving_lattice
from hs_deepatoms.tables.schema import read_json

SPACING = 10.0  # px
SCALE = {"time": 0.5, "y": 0.02, "x": 0.02}
UNITS = {"time": "s", "y": "nm", "x": "nm"}


def stack(n_frames, size, *, tilts=0, x_units="nm"):
    shape = ((tilts,) if tilts else ()) + (n_frames, size, size + 7)
    signal = hs.signals.Signal2D(np.zeros(shape, np.float32))
    names = (["tilt"] if tilts else []) + ["time", "y", "x"]
    for axis, name in zip(signal.axes_manager._axes, names, strict=True):
        axis.name, axis.scale, axis.units = name, SCALE.get(name, 2.0), UNITS.get(name, "deg")
    signal.axes_manager._axes[-1].offset, signal.axes_manager._axes[-1].units = -1.0, x_units
    return signal


@pytest.fixture(scope="module")
def movie():
    return moving_lattice("hexagonal", n_frames=8, n_atoms=150, seed=5)


@pytest.fixture(scope="module")
def atoms(movie):
    size = int(movie.size * SPACING) + 2
    columns = {"species": np.where(movie.identity % 2, "Sr", "Ti"), "identity": movie.identity}
    place = {"frame": movie.frame, "columns": columns, "signal": stack(movie.n_frames, size)}
    return hs_deepatoms.positions(movie.y * SPACING, movie.x * SPACING, **place)


@pytest.fixture(scope="module")
def linked(atoms):
    return atoms.deepatoms.link()


def test_links_are_right_and_the_drift_is_calibrated(movie, atoms, linked):
    assert min(link_scores(movie, linked["track"].values, 2)) > 0.99
    assert linked["track"].dtype == np.int64 and "track" in linked.coords
    moved = atoms.deepatoms.drift()
    assert moved["y"].dims == ("time",) and moved["y"].attrs["units"] == "nm"
    np.testing.assert_allclose(moved["time"], 0.5 * np.arange(8))
    nm = SPACING * 0.02
    np.testing.assert_allclose(moved["y"], movie.drift_y * nm, atol=5 * float(moved["y_std"].max()))
    np.testing.assert_allclose(moved["x"], movie.drift_x * nm, atol=5 * float(moved["x_std"].max()))
    np.testing.assert_array_equal(linked["drift_x"], moved["x"].values[movie.frame])
    for name in ("y", "x", "y_px", "x_px"):
        np.testing.assert_array_equal(linked[name], atoms[name])
    entry = read_json(linked.attrs, "provenance", [])[-1]
    assert entry["operation"] == "link" and entry["parameters"]["memory"] == 2


def test_linking_again_replaces_and_filters_keep_tracks(linked):
    assert linked.deepatoms.link().drop_attrs().equals(linked.drop_attrs())
    assert "drift_y" not in linked.deepatoms.link(drift=False)
    some = linked.where(linked["x"] > linked["x"].mean(), drop=True)
    assert some["track"].dtype == np.int64
    assert set(some.deepatoms.tracks()["track"].values.tolist()) <= set(linked["track"].values.tolist())


@pytest.mark.parametrize("name", ["atoms.zarr", "atoms.nc", "atoms.csv"])
def test_saved_and_loaded(linked, tmp_path, name):
    linked.deepatoms.save(tmp_path / name)
    again = hs_deepatoms.load(tmp_path / name)
    np.testing.assert_array_equal(again["track"], linked["track"])
    made, expected = (one.deepatoms.tracks() for one in (again, linked))
    np.testing.assert_allclose(made["y_rms"], expected["y_rms"], rtol=1e-6, atol=1e-12)


def test_units_follow(linked):
    pm, px = linked.deepatoms.to_units("pm"), linked.deepatoms.to_units("px")
    np.testing.assert_allclose(pm["drift_y"], 1000 * linked["drift_y"])
    np.testing.assert_allclose(px["drift_x"], linked["drift_x"] / 0.02)
    assert (pm["drift_y"].attrs["units"], px["drift_x"].attrs["units"]) == ("pm", "px")
    first, second = linked.deepatoms.displacements(), px.deepatoms.displacements()
    np.testing.assert_allclose(first["dx"], 0.02 * second["dx"], atol=1e-12)


def test_movies_on_other_axes_are_linked_apart(movie):
    size = int(movie.size * SPACING) + 2
    both = np.concatenate([movie.frame, movie.frame + movie.n_frames])
    y, x = (np.tile(values * SPACING, 2) for values in (movie.y, movie.x))
    signal = stack(movie.n_frames, size, tilts=2)
    table = hs_deepatoms.positions(y, x, frame=both, signal=signal)
    made = table.deepatoms.link()
    half = movie.y.size
    first, second = made["track"].values[:half], made["track"].values[half:]
    np.testing.assert_array_equal(second, first + first.max() + 1)
    moved = table.deepatoms.drift()
    assert moved["y"].dims == ("tilt", "time") and moved["y"].shape == (2, 8)
    np.testing.assert_array_equal(moved["y"][0], moved["y"][1])
    assert made.deepatoms.tracks()["tilt_index"].values.tolist() == [0] * (first.max() + 1) + [1] * (first.max() + 1)
    assert table.deepatoms.drift(axis="tilt")["y"].shape == (2, 8)


def test_axes_of_different_units(movie):
    signal = stack(movie.n_frames, int(movie.size * SPACING) + 2, x_units="mrad")
    made = hs_deepatoms.positions(movie.y * SPACING, movie.x * SPACING, frame=movie.frame, signal=signal)
    linked = made.deepatoms.link()
    assert min(link_scores(movie, linked["track"].values, 2)) > 0.99
    assert linked["drift_x"].attrs["units"] == "mrad"
    np.testing.assert_allclose(linked["drift_x"].values[-1], movie.drift_x[-1] * SPACING * 0.02, atol=0.02)
    assert "length" not in linked.deepatoms.displacements() and "msd" not in linked.deepatoms.msd()


def test_displacements_and_tracks(linked):
    steps, rows = linked.deepatoms.displacements(), linked.deepatoms.tracks()
    assert steps.sizes["link"] == linked.sizes["atom"] - rows.sizes["track"]
    one = steps.isel(link=17)
    free = (linked["y"] - linked["drift_y"]).sel(atom=[one["from_atom"], one["to_atom"]]).values
    assert one["dy"] == pytest.approx(free[1] - free[0])
    np.testing.assert_allclose(steps["length"], np.hypot(steps["dy"], steps["dx"]))
    assert rows["count"].sum() == linked.sizes["atom"] and (rows["missed"] >= 0).all()
    assert rows["y_rms"].attrs["units"] == "nm"


def test_mean_square_displacement_of_vibrating_atoms_does_not_grow(linked):
    made = linked.deepatoms.msd(max_lag=4)
    expected = 4 * (0.1 * SPACING * 0.02) ** 2  # two ends, two axes
    assert (np.abs(made["msd"] - expected) < 5 * made["msd_std"] + 0.05 * expected).all()
    np.testing.assert_allclose(made["time_lag"], [0.5, 1.0, 1.5, 2.0])
    assert made["msd"].attrs["units"] == "nm^2" and linked.deepatoms.msd().sizes["lag"] == 2
    for wrong in (0, 8, True, 1.5):
        with pytest.raises(InvalidArgumentError):
            linked.deepatoms.msd(max_lag=wrong)


def test_transitions_by_name_leave_gaps_out():
    signal = stack(5, 60)
    frame, species = [0, 1, 2, 4, 0, 1, 2, 3, 4], ["C", "Si", "Si", "C", "C", "C", "C", "C", "N"]
    y = np.where(np.arange(9) < 4, 10.5, 40.5)
    table = hs_deepatoms.positions(y, np.full(9, 20.0), frame=frame, signal=signal, columns={"species": species})
    made = table.deepatoms.link(max_step=3, drift=False).deepatoms.transitions()
    counts = made["counts"]
    assert [str(one) for one in made["from"].values] == ["C", "N", "Si"] and counts.sum() == 6
    assert counts.sel({"from": "C", "to": "C"}) == 3 and counts.sel({"from": "C", "to": "Si"}) == 1
    assert counts.sel({"from": "Si", "to": "Si"}) == 1 and made.attrs["n_gaps"] == 1
    assert made["probability"].sel({"from": "N", "to": "N"}) == 1 and made["state"].sel({"from": "N"}) == 2
    with pytest.raises(TableError, match="whole numbers"):
        table.deepatoms.link(drift=False).deepatoms.transitions(by="y_px")


def test_results_can_be_saved(linked, tmp_path):
    for name, made in {
        "drift": linked.deepatoms.drift(),
        "steps": linked.deepatoms.displacements(),
        "tracks": linked.deepatoms.tracks(),
        "msd": linked.deepatoms.msd(),
        "transitions": linked.deepatoms.transitions(),
    }.items():
        made.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")


@pytest.mark.parametrize("frame", [[], [1], [0, 2]])
def test_few_atoms_and_empty_frames(frame):
    y = np.full(len(frame), 9.0)
    made = hs_deepatoms.positions(y, y, frame=frame, signal=stack(3, 20)).deepatoms.link()
    assert made["track"].values.tolist() == list(range(len(frame)))  # nothing tells how far an atom alone may step
    assert made.deepatoms.tracks().sizes["track"] == len(frame)
    assert made.deepatoms.displacements().sizes["link"] == 0
    assert np.isnan(made.deepatoms.msd()["msd"]).all()
    assert made.deepatoms.drift()["y"].values.tolist() == [0, 0, 0]
    plot_tracks(made, ax=Figure().add_subplot())


def test_a_single_image(atoms):
    image = atoms.deepatoms.select(frames=0)
    plain = hs_deepatoms.positions(image["y_px"].values, image["x_px"].values)
    made = plain.deepatoms.link()
    assert made["track"].values.tolist() == list(range(plain.sizes["atom"]))
    assert made.deepatoms.drift()["y"].shape == () and made.deepatoms.msd().sizes["lag"] == 0
    plot_tracks(made, ax=Figure().add_subplot())


@pytest.mark.parametrize("memory", [-1, 1.5, True, None])
def test_memory_is_a_number_of_frames(atoms, memory):
    with pytest.raises(InvalidArgumentError, match="memory"):
        atoms.deepatoms.link(memory=memory)


def test_paths_are_drawn_in_the_frame_shown(movie, linked):
    figure = Figure()
    ax = figure.add_subplot()
    size = int(movie.size * SPACING) + 2
    assert plot_tracks(linked.deepatoms.to_units("pm"), stack(8, size), ax, frame=3) is ax
    lines = ax.collections[-1]
    drawn = np.array(lines.get_segments())
    rows = linked.deepatoms.displacements()
    assert len(drawn) == rows.sizes["link"]
    here = linked.isel(atom=linked["time_index"].values == 3)
    ends = drawn[rows["to_frame"].values == 3][:, 1]
    assert np.isin(ends[:, 0].round(9), here["x"].values.round(9)).all()
    assert (lines.norm.vmin, lines.norm.vmax) == (0.0, 3.5)
    assert figure.axes[-1].get_ylabel() == "time (s)"


def test_wrong_arguments_of_the_picture(linked, atoms):
    ax = Figure().add_subplot()
    with pytest.raises(InvalidArgumentError, match="cmap"):
        plot_tracks(linked, ax=ax, cmap="no such map")
    with pytest.raises(TableError, match="frame"):
        plot_tracks(linked, ax=ax, frame=8)
    with pytest.raises(TableError, match="link"):
        plot_tracks(atoms, ax=ax)


def test_an_empty_table_without_the_axes_of_its_image(tmp_path):
    hs_deepatoms.positions([], [], frame=[], signal=stack(3, 20, tilts=2)).deepatoms.save(tmp_path / "none.csv")
    made = hs_deepatoms.load(tmp_path / "none.csv").deepatoms.link()
    assert made["track"].size == 0 and made.deepatoms.drift()["y"].size == 0
    assert made.deepatoms.tracks().sizes["track"] == made.deepatoms.msd().sizes["lag"] == 0
