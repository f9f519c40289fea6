"""``bonds``, ``graph``, ``coordination``, ``rings`` and ``plot_rings`` of tables: units, frames, ids, errors."""

import json
import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.simulate import sheets

PERFECT = sheets.honeycomb(5, 6)
WALES = sheets.stone_wales(PERFECT)


def _image(frames=(), scale=(0.012, 0.01), units="nm"):
    shape = (*frames, 200, 170)
    dims = [*(f"t{k}" for k in range(len(frames))), "y", "x"]
    image = xr.DataArray(np.zeros(shape, np.float32), dims=dims)
    for dim, n, step in zip("yx", shape[-2:], scale, strict=True):
        image = image.assign_coords({dim: (dim, 3 + step * np.arange(n), {"units": units})})
    return image


def _table(*frames, bond=0.142, **columns):
    """Sheets in nm on an image whose pixels are no squares; one frame per sheet."""
    y, x = (np.concatenate([getattr(one, w) * bond for one in frames]) for w in "yx")
    frame = np.repeat(np.arange(len(frames)), [one.y.size for one in frames])
    image = _image((len(frames),) if len(frames) > 1 else ())
    return hs_deepatoms.positions(y + 3.05, x + 3.05, signal=image, units="nm", frame=frame, columns=columns)


def _kinds(rings):
    names = json.loads(rings["cluster_kind"].attrs["names"])
    return [names[str(k)] for k in rings["cluster_kind"].values.tolist()]


@pytest.mark.parametrize(
    "arguments", [{}, {"elements": "C"}, {"elements": {0: "C"}}, {"cutoff": "1.8 Å"}, {"cutoff": 0.18}]
)
def test_every_kind_of_bond(arguments):
    atoms = _table(WALES)
    rings = atoms.deepatoms.rings(**arguments)
    counts = rings["ring_count"].sel(ring_size=[5, 6, 7]).values.tolist()
    assert counts == [2, len(PERFECT.bonds) - PERFECT.y.size - 3, 2] and _kinds(rings) == ["Stone-Wales"]
    bonds = atoms.deepatoms.bonds(**arguments)
    assert bonds["length"].attrs["units"] == "nm" and bonds["length"].values == pytest.approx(0.142, rel=0.08)
    assert rings["area"].attrs["units"] == "nm^2"
    perfect = rings["area"].values[rings["size"].values == 6]
    assert np.median(perfect) == pytest.approx(1.5 * np.sqrt(3) * 0.142**2, rel=0.02)


def test_frames_are_apart_and_counted():
    atoms = _table(PERFECT, WALES, PERFECT)
    rings = atoms.deepatoms.rings()
    assert rings["ring_count"].dims == ("t0", "ring_size") and rings["ring_count"].shape == (3, 10)
    assert rings["ring_count"].sel(ring_size=5).values.tolist() == [0, 2, 0]
    assert rings["cluster_frame"].values.tolist() == [1] and (np.diff(rings["frame"].values) >= 0).all()
    graph = atoms.deepatoms.graph()
    assert all(graph.nodes[a]["frame"] == graph.nodes[b]["frame"] for a, b in graph.edges)
    assert graph.number_of_nodes() == atoms.sizes["atom"]
    coordination = atoms.deepatoms.coordination()
    assert coordination["component"].values.tolist() == [0] * atoms.sizes["atom"]
    assert coordination["coordination"].values.max() == 3
    assert json.loads(coordination.attrs["provenance"])[-1]["operation"] == "coordination"


def test_frames_do_not_look_for_crossings_in_each_other(monkeypatch):
    """In a stack of 200 frames all atoms beside all others were looked at, frame by frame: minutes, and gigabytes."""
    from hs_deepatoms.structure import graph

    seen, pairs = [], graph._pairs
    monkeypatch.setattr(graph, "_pairs", lambda y, *more: seen.append(y.size) or pairs(y, *more))
    species = np.where(np.arange(3 * PERFECT.y.size) % PERFECT.y.size == 55, "Si", "C")
    found = _table(PERFECT, WALES, PERFECT, species=species).deepatoms.rings(elements={"C": "C", "Si": "Si"})
    assert found.sizes["ring"] and max(seen) == PERFECT.y.size


def test_ids_survive_filters():
    atoms = _table(PERFECT)
    part = atoms.isel(atom=np.arange(atoms.sizes["atom"])[::-1])
    part = part.where(part["atom"] != 30)
    rings = part.deepatoms.rings()
    own = rings["atoms"].values
    assert 30 not in own and set(own[own >= 0]) <= set(atoms["atom"].values.tolist())
    places = atoms.sel(atom=own[0][own[0] >= 0])
    assert rings["y"].values[0] == pytest.approx(places["y"].values.mean())


def test_rings_with_a_dopant():
    species = np.where(np.arange(PERFECT.y.size) == 55, "Si", "C")
    atoms = _table(PERFECT, species=species)
    everything, some = atoms.deepatoms.rings(), atoms.deepatoms.rings(containing="Si")
    dopant = atoms["atom"].values[atoms["species"].values == 1][0]
    assert 1 <= some.sizes["ring"] <= 3 and (some["atoms"].values == dopant).any(axis=1).all()
    assert everything["rings_of_atom"].sel(atom=dopant).sum() == some.sizes["ring"]
    assert atoms.deepatoms.rings(elements={"Si": "Si", "C": "C"}, factor=1.0)["ring_count"].sum() > 0


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_atoms(n):
    atoms = hs_deepatoms.positions(np.full(n, 9.0), 9 + 8.0 * np.arange(n), signal=np.zeros((40, 30)))
    rings = atoms.deepatoms.rings()
    assert rings.sizes["ring"] == 0 and rings.sizes["atom"] == n
    assert atoms.deepatoms.coordination()["coordination"].values.tolist() == [max(n - 1, 0)] * n
    plt.close(atoms.deepatoms.plot_rings().figure)


@pytest.mark.parametrize("off", [0.0, 1e-7, 0.005])
def test_two_detections_of_one_atom_are_said(off):
    y, x = (np.append(w, w[[20, 40]] + off) * 0.142 for w in (PERFECT.y, PERFECT.x))
    atoms = hs_deepatoms.positions(y + 3.05, x + 3.05, signal=_image(), units="nm")
    with pytest.warns(UserWarning, match="2 atoms are nearer to another one than a tenth of a bond"):
        atoms.deepatoms.rings(cutoff=0.18)
    with pytest.warns(UserWarning, match="2 atoms are nearer"):
        atoms.deepatoms.rings()
    clean = atoms.deepatoms.remove_overlaps(0.014)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (clean.deepatoms.rings(cutoff=0.18)["size"] == 6).all()


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_a_sheet_that_was_found_twice_is_said(share):
    rows = np.arange(int(share * PERFECT.y.size))
    y, x = (np.append(w, w[rows] + 0.01) * 0.142 for w in (PERFECT.y, PERFECT.x))
    atoms = hs_deepatoms.positions(y + 3.05, x + 3.05, signal=_image(), units="nm")
    with pytest.warns(UserWarning, match=f"{rows.size} atoms are nearer"):
        atoms.deepatoms.rings()
    with pytest.warns(UserWarning, match=f"{rows.size} atoms are nearer"), pytest.raises(TableError):
        atoms.deepatoms.rings(cutoff=0.18)


def test_named_errors():
    atoms = _table(PERFECT)
    uncalibrated = hs_deepatoms.positions(PERFECT.y * 12, PERFECT.x * 12)
    squares = hs_deepatoms.positions(*(w.ravel() for w in np.mgrid[0:3, 0:4] * 1.0))
    for table, arguments, error, words in [
        (uncalibrated, {"elements": "C"}, TableError, "unit of length"),
        (atoms, {"elements": {1: "C"}}, TableError, "without an element"),
        (atoms, {"elements": "Xx"}, TableError, "symbols"),
        (atoms, {"elements": {"carbon": "C"}}, TableError, "class 'carbon'"),
        (atoms, {"cutoff": 0.2, "factor": 1.2}, InvalidArgumentError, "factor"),
        (atoms, {"factor": -1}, InvalidArgumentError, "factor"),
        (atoms, {"largest": 2}, InvalidArgumentError, "largest"),
        (squares, {"cutoff": 1.5}, TableError, "cross others"),
        (atoms, {"cutoff": 1.8}, TableError, "for each. Allowed: a planar network"),
        (atoms, {"containing": "Si"}, TableError, "species"),
    ]:
        with pytest.raises(error, match=words):
            table.deepatoms.rings(**arguments)
    y, x = (k.ravel() * 12.0 for k in np.mgrid[:6, :7])
    close_packed = hs_deepatoms.positions(y * np.sqrt(3) / 2, x + 6 * (np.round(y / 12) % 2))
    with pytest.raises(TableError, match="close-packed"):
        close_packed.deepatoms.rings()


def test_saved_and_read_again(tmp_path):
    rings = _table(PERFECT, WALES).deepatoms.rings()
    rings.to_zarr(tmp_path / "rings.zarr", consolidated=False)
    back = xr.open_zarr(tmp_path / "rings.zarr", consolidated=False).load()
    xr.testing.assert_equal(back, rings)


def test_picture_has_a_polygon_per_odd_ring():
    atoms = _table(PERFECT, WALES)
    rings = atoms.deepatoms.rings()
    ax = atoms.deepatoms.plot_rings(_image((2,)), rings=rings, frame=1, bonds="length")
    drawn = [c for c in ax.collections if type(c).__name__ == "PolyCollection"]
    assert sorted(len(c.get_paths()) for c in drawn) == [2, 2]
    corner = drawn[0].get_paths()[0].vertices
    assert corner[:, 0].min() >= 3 and len(corner) >= 5
    plt.close(ax.figure)
    with pytest.raises(TableError, match="Find them again"):
        atoms.isel(atom=slice(0, 20)).deepatoms.plot_rings(rings=rings)
    with pytest.raises(InvalidArgumentError, match="bonds"):
        atoms.deepatoms.plot_rings(bonds="colour")


@pytest.mark.parametrize("bonds", [True, "length"])
def test_legend_hides_no_ring_where_the_figure_makes_room(bonds):
    figure, axes = plt.subplots(1, 2, layout="constrained")
    _table(PERFECT, WALES).deepatoms.plot_rings(_image((2,)), ax=axes[0], bonds=bonds)
    figure.canvas.draw()
    legend = axes[0].get_legend().get_window_extent()
    assert not any(ax.get_window_extent().overlaps(legend) for ax in figure.axes)
    plt.close(figure)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
@pytest.mark.parametrize("what", ["rings", "bonds", "ring_events"])
def test_what_was_found_is_saved_and_loaded(what, ending, tmp_path):
    atoms = _table(PERFECT, WALES)
    made = getattr(atoms.deepatoms, what if what != "ring_events" else "rings")(elements="C")
    if what == "ring_events":
        linked = atoms.deepatoms.link()
        made = linked.deepatoms.ring_events(linked.deepatoms.rings(elements="C"))
    path = made.deepatoms.save(tmp_path / f"found{ending}")
    again = hs_deepatoms.load(path)
    xr.testing.assert_equal(again, made)
    assert again.attrs["provenance"] == made.attrs["provenance"] and again.attrs["metadata"] == made.attrs["metadata"]
    assert [name for name in dir(made.deepatoms) if not name.startswith("_")] == ["save"]
    with pytest.raises(InvalidArgumentError, match=r"\.zarr or \.nc"):
        made.deepatoms.save(tmp_path / "found.csv")


def test_lengths_in_the_wrong_unit_are_seen():
    atoms = _table(PERFECT)
    with pytest.warns(UserWarning, match=r"no bonds: the nearest two atoms are 0\.142 nm apart"):
        assert not atoms.deepatoms.rings(cutoff=2).sizes["ring"]  # two pixels
    with pytest.raises(InvalidArgumentError, match=r"a cell .* holds all atoms of a frame"):
        atoms.deepatoms.rings(cell=(0.3, 0.3))
    with pytest.raises(TableError, match=r"containing='Si' for a table without species.*classify"):
        atoms.deepatoms.rings(containing="Si")


def test_ids_that_are_no_numbers_are_refused():
    atoms = _table(PERFECT)
    with pytest.raises(TableError, match=r"ids of atoms of type <U.*whole numbers"):
        atoms.assign_coords(atom=[f"a{k}" for k in range(atoms.sizes["atom"])]).deepatoms.rings()


def _doubtful(*frames, probability=0.6, error=0.013):
    """Sheets with one atom more in the middle of a bond, as faint as told; widths of 0.04 nm."""
    first, second = PERFECT.bonds[len(PERFECT.bonds) // 2]
    more = [one._replace(y=np.append(one.y, one.y[[first, second]].mean()),
                         x=np.append(one.x, one.x[[first, second]].mean())) for one in frames]  # fmt: skip
    odd = np.concatenate([np.arange(one.y.size) == one.y.size - 1 for one in more])
    columns = {"probability": np.where(odd, probability, 0.98), "width_y": 0.04, "width_x": 0.04}
    columns |= {name: np.where(odd, error, 0.004) for name in ("y_std", "x_std")}
    columns = {name: np.broadcast_to(values, odd.shape).copy() for name, values in columns.items()}
    atoms = _table(*more, **columns)
    return atoms, atoms["y_std"].values != 0.004  # sorted row by row


@pytest.mark.parametrize("arguments", [{}, {"cutoff": 0.17}, {"largest": 6}, {"cell": (2.2, 2.4)}])
def test_faint_atoms_on_bonds_are_left_out_with_a_warning(arguments):
    atoms, odd = _doubtful(PERFECT, PERFECT)
    with pytest.warns(UserWarning, match=f"2 of {odd.size} atoms are left out"):
        rings = atoms.deepatoms.rings(**arguments)
    hexagons = len(PERFECT.bonds) - PERFECT.y.size + 1
    assert rings["ring_count"].sel(ring_size=6).values.tolist() == [hexagons] * 2 and rings.sizes["cluster"] == 0
    assert np.array_equal(rings["left_out"].values, odd) and rings["coordination"].values[odd].tolist() == [0, 0]
    assert not np.isin(rings["atoms"].values, atoms["atom"].values[odd]).any()
    kept = atoms.deepatoms.rings(**arguments, keep_doubtful=True)
    assert kept["ring_count"].sel(ring_size=6).values.max() < hexagons and not kept["left_out"].any()


@pytest.mark.parametrize("seen", [{"probability": 0.85}, {"error": 0.01}, {"error": np.nan}, {"probability": np.nan}])
def test_atoms_that_are_clear_or_unknown_stay(seen):
    atoms, odd = _doubtful(PERFECT, **seen)
    rings = atoms.deepatoms.rings()
    assert not rings["left_out"].any() and rings["coordination"].values[odd].tolist() == [2]
    assert not atoms.drop_vars(["y_std", "width_x"]).deepatoms.rings()["left_out"].any()


def test_a_cell_whose_ring_touches_its_own_image_is_said():
    two = hs_deepatoms.positions([0.0, 0.0], [0.0, 1.0])  # graphene's smallest cell
    with pytest.warns(UserWarning, match="Repeat the cell"):
        found = two.deepatoms.rings(cutoff=1.1, cell=((np.sqrt(3) / 2, 1.5), (-np.sqrt(3) / 2, 1.5)))
    assert found.sizes["ring"] == 0
