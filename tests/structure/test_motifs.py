"""Motifs: what is alike is one, what differs is two, whichever way it is turned; and their averages."""

import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import TableError
from hs_deepatoms.simulate import sheets
from hs_deepatoms.structure.graph import bonds_within
from hs_deepatoms.structure.motifs import environments, find_motifs, invariants


def _names(motifs):
    names = json.loads(motifs["motif_of_atom"].attrs["names"])
    return {names[str(k)]: int(n) for k, n in enumerate(motifs["count"].values)}


def _table(y, x, pixel=0.1, species=None):
    y, x = y - y.min() + 2, x - x.min() + 2
    image = xr.DataArray(np.zeros((int(y.max() / pixel) + 30, int(x.max() / pixel) + 41), np.float32), dims=("y", "x"))
    for dim, n in zip("yx", image.shape, strict=True):
        image = image.assign_coords({dim: (dim, pixel * np.arange(n), {"units": "Å"})})
    columns = None if species is None else {"species": species}
    return hs_deepatoms.positions(y / pixel, x / pixel, signal=image, columns=columns)


def test_arrangements_do_not_depend_on_how_they_are_turned():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(7, 4)) + 1j * rng.normal(size=(7, 4))
    turned = vectors * np.exp(1j * rng.uniform(0, 6, (7, 1)))
    np.testing.assert_allclose(invariants(turned), invariants(vectors), atol=1e-12)
    np.testing.assert_allclose(invariants(np.conj(turned)), invariants(vectors), atol=1e-12)


def test_t_and_y_shapes_of_the_same_neighbours_are_two_motifs():
    """Three neighbours each, at 120 degrees or at 90, 90 and 180, turned at will, 40 and 25 of them."""
    rng, parts = np.random.default_rng(1), []
    for number, degrees in ((40, (0, 120, 240)), (25, (0, 90, 180))):
        for _ in range(number):
            angle = np.radians(degrees) + rng.uniform(0, 2 * np.pi)
            parts.append(np.exp(1j * angle) + rng.normal(0, 0.03, 3) + 1j * rng.normal(0, 0.03, 3))
    centre = 10.0 * np.arange(len(parts)) + 0j
    place = np.column_stack([centre, centre[:, None] + np.array(parts)]).ravel()
    bonds = bonds_within(place.imag, place.real, 1.3)
    found = find_motifs(environments(place.size, bonds, np.zeros(place.size)))
    of_centres = found.label.reshape(-1, 4)[:, 0]
    assert np.unique(of_centres[:40]).size == np.unique(of_centres[40:]).size == 1 and of_centres[0] != of_centres[-1]
    for row, truth in ((of_centres[0], (120, 120, 120)), (of_centres[-1], (90, 90, 180))):
        own = np.sort(np.angle(found.vectors[row, :3]))
        gaps = np.sort(np.degrees(np.diff(np.append(own, own[0] + 2 * np.pi))))
        np.testing.assert_allclose(gaps, truth, atol=1.5)
        assert found.spread[row, :3] == pytest.approx(0.03 * np.sqrt(2), rel=0.4)


def test_species_and_rings_keep_environments_apart():
    sheet, rng = sheets.stone_wales(sheets.honeycomb(7, 11)), np.random.default_rng(0)
    noise = rng.normal(0, 0.02, (2, sheet.y.size))
    species = np.where(np.arange(sheet.y.size) == 60, "Si", "C")
    atoms = _table(1.42 * (sheet.y + noise[0]), 1.42 * (sheet.x + noise[1]), species=species)
    found = atoms.deepatoms.motifs()
    silicon = [name for name in _names(found) if name.startswith("Si")]
    assert len(silicon) == 1 and _names(found)[silicon[0]] == 1 and silicon[0].startswith("Si with C3")
    assert sum(n for name, n in _names(found).items() if "Si1" in name) == 3
    assert next(iter(_names(found))) == "C with C3, 120-120-120"
    assert found["bond_length"].values[0] == pytest.approx(1.42, rel=0.02)
    rings = atoms.deepatoms.motifs(rings=True)
    # of a Stone-Wales defect: two atoms on 5-7-7, four on 5-6-7 and so on
    ends = {name.split("rings ")[1]: 0 for name in _names(rings)}
    for name, n in _names(rings).items():
        ends[name.split("rings ")[1]] += n
    assert ends["5-7-7"] == 2 and ends["5-6-7"] == 4
    assert int(rings["count"].sum()) == atoms.sizes["atom"] == rings["motif_of_atom"].size
    assert rings["count"].values[0] == ends["6-6-6"] - sum(
        n for name, n in _names(rings).items() if "Si" in name and name.endswith("6-6-6")
    )
    figure = atoms.deepatoms.plot_motifs(found, most=5)
    assert sum(ax.axison for ax in figure.axes) == 5
    plt.close(figure)
    _nothing_is_cut(atoms.deepatoms.plot_motifs(found, most=3))
    _nothing_is_cut(atoms.deepatoms.plot_motifs(rings, most=7))


def _nothing_is_cut(figure):
    figure.canvas.draw()
    whole = figure.bbox
    for ax in figure.axes:
        for text in (ax.title, ax.xaxis.label):
            box = text.get_window_extent()
            assert not text.get_text() or (box.y0 >= whole.y0 and box.y1 <= whole.y1 and box.x0 >= whole.x0)
    plt.close(figure)


def test_noise_alone_leaves_a_symmetric_motif():
    sheet, rng = sheets.honeycomb(12, 20), np.random.default_rng(3)
    y, x = (w + rng.normal(0, 0.04, w.size) for w in (sheet.y, sheet.x))
    atoms = _table(1.42 * y, 1.42 * x)
    found = atoms.deepatoms.motifs()
    angles = found["bond_angle"].values[0]
    np.testing.assert_allclose(angles[np.isfinite(angles)], 120, atol=0.5)
    assert found["deviation"].values.mean() == pytest.approx(found["spread"].values[0, 0], rel=0.3)


def test_next_to_nothing_and_no_plane():
    one = hs_deepatoms.positions([5.0], [6.0])
    assert one.deepatoms.motifs(cutoff=3)["coordination"].values.tolist() == [0]
    with pytest.raises(TableError, match="without rings"):
        one.deepatoms.motifs(cutoff=3, rings=True)
    with pytest.raises(TableError, match="no motifs"):
        one.deepatoms.plot_motifs(one.deepatoms.motifs(cutoff=3).isel(motif=slice(0)))
