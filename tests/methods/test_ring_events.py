"""``ring_events``, ``on_tracks`` and ``lifetimes``: what changes in a movie of a network."""

import json

import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms.errors import TableError
from hs_deepatoms.simulate import sheets
from hs_deepatoms.structure.events import RING_KINDS, lifetimes, ring_events

PERFECT = sheets.honeycomb(5, 6)
WALES = sheets.stone_wales(PERFECT)


def _movie(*frames, gone=(), columns=None, noise=0.02):
    """Sheets as frames of a movie, their atoms linked; ``gone`` are (frame, atom) that are not seen."""
    rng, n = np.random.default_rng(0), PERFECT.y.size
    y, x = (np.concatenate([getattr(one, w) + rng.normal(0, noise, n) for one in frames]) for w in "yx")
    frame, atom = np.repeat(np.arange(len(frames)), n), np.tile(np.arange(n), len(frames))
    image = xr.DataArray(np.zeros((len(frames), 300, 240), np.float32), dims=("time", "y", "x"))
    table = hs_deepatoms.positions(20 + 15 * y, 20 + 15 * x, signal=image, frame=frame, columns=columns)
    order = np.lexsort((x, y, frame))  # tables are ordered by frame and row
    near = np.abs(table["y_px"].values - (20 + 15 * y)[order])
    assert near.max() < 15  # rows may differ within a line
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([1e4 * frame, 20 + 15 * y, 20 + 15 * x]))
    row = tree.query(np.column_stack([1e4 * table["time_index"], table["y_px"], table["x_px"]]))[1]
    linked = table.assign_coords(track=("atom", atom[row]))
    keep = [(f, a) not in gone for f, a in zip(frame[row], atom[row], strict=True)]
    return linked.isel(atom=np.array(keep))


def test_a_bond_that_turns_changes_four_rings_and_back():
    atoms = _movie(PERFECT, PERFECT, WALES, WALES, WALES, PERFECT)
    rings = atoms.deepatoms.rings()
    found = atoms.deepatoms.ring_events(rings)
    names = json.loads(found["kind"].attrs["names"])
    rows = zip(found["kind"].values, found["frame"], found["size_before"], found["size_after"], strict=True)
    made = [(names[str(k)], int(f), int(a), int(b)) for k, f, a, b in rows]
    there, back = [("changed", 2, 6, b) for b in (5, 5, 7, 7)], [("changed", 5, a, 6) for a in (5, 5, 7, 7)]
    assert sorted(made) == sorted(there + back)
    numbers = found["ring_number"].values
    assert sorted(numbers[:4]) == sorted(numbers[4:]) and len(set(numbers)) == 4
    n = len(PERFECT.bonds) - PERFECT.y.size + 1
    assert np.unique(found["ring_number_of_ring"]).size == n  # every ring is one ring in all frames
    odd = rings.isel(ring=(rings["size"] != 6).values)
    for k in range(4):  # where the new ring is, within a bond or two of where it had been
        distance = np.hypot(odd["y"] - found["y"].values[k], odd["x"] - found["x"].values[k])
        assert distance.min() < 15
    lives = found.sel(ring_size=[5, 6, 7])
    assert lives["lives_ended"].values.tolist() == [2, 4, 2] and lives["lifetime"].values[0] == 3.0
    assert lives["frames_followed"].values.tolist() == [6, 5 * n - 12, 6]
    bonds = atoms.deepatoms.bond_events()
    assert np.bincount(bonds["kind"], minlength=2).tolist() == [4, 4]
    assert json.loads(found.attrs["provenance"])[-1]["operation"] == "ring_events"


def test_an_atom_out_of_sight_opens_no_ring():
    middle = int(np.argmin(np.hypot(PERFECT.y - PERFECT.y.mean(), PERFECT.x - PERFECT.x.mean())))
    atoms = _movie(PERFECT, PERFECT, PERFECT, gone={(1, middle)})
    assert atoms.deepatoms.rings()["ring_count"].sel(ring_size=12).values.tolist() == [0, 1, 0]
    found = atoms.deepatoms.ring_events()
    assert not (found["kind"].values == RING_KINDS.index("opened")).any()


def test_a_ring_opens_where_its_atoms_part():
    atoms, size = np.arange(6)[None].repeat(2, 0), [6, 6]
    found = ring_events(atoms, size, [0, 1], np.tile(np.arange(6), 4), np.repeat(np.arange(4), 6))
    made = [(RING_KINDS[k], f) for k, f in zip(found.kind.tolist(), found.frame.tolist(), strict=True)]
    assert made == [("opened", 2)] and found.before.tolist() == [1] and found.after.tolist() == [-1]
    found = ring_events(atoms[:1], [6], [1], np.tile(np.arange(6), 2), np.repeat(np.arange(2), 6))
    assert [RING_KINDS[k] for k in found.kind] == ["closed"]
    assert ring_events(np.empty((0, 6)), [], [], [], []).kind.size == 0


def test_rings_of_another_table_are_refused():
    atoms = _movie(PERFECT, WALES)
    rings = atoms.deepatoms.rings()
    with pytest.raises(TableError, match="rings of this table"):
        atoms.isel(atom=slice(40, None)).deepatoms.ring_events(rings)
    with pytest.raises(TableError, match=r"rings=int\. Allowed: rings of this table"):
        atoms.deepatoms.ring_events(3)


def test_rings_classes_and_latents_by_track():
    n = PERFECT.y.size
    species = np.where(np.arange(3 * n) % 7, "C", "Si")
    atoms = _movie(PERFECT, WALES, PERFECT, gone={(1, 9)}, columns={"species": species})
    rings = atoms.deepatoms.rings()
    z = xr.DataArray(np.arange(2.0 * atoms.sizes["atom"]).reshape(2, -1), dims=("latent", "atom"),
                     coords={"atom": atoms["atom"]}, name="z")[:, ::-1]  # fmt: skip
    found = atoms.deepatoms.on_tracks(["species", rings["rings_of_atom"], z])
    assert found["species"].dims == ("track", "time") and found["species"].shape == (n, 3)
    assert found["rings_of_atom"].dims == ("track", "time", "ring_size") and found["z"].shape == (n, 3, 2)
    assert found["species"].sel(track=9).values[1] == -1 and np.isnan(found["z"].sel(track=9, time=1)).all()
    for row in (0, 40, atoms.sizes["atom"] - 1):
        one = atoms.isel(atom=row)
        place = {"track": int(one["track"]), "time": int(one["time_index"])}
        assert found["z"].sel(place).values.tolist() == z.sel(atom=one["atom"]).values.tolist()
        assert found["species"].sel(place).item() == one["species"].item()
    assert json.loads(found["species"].attrs["names"]) == json.loads(atoms["species"].attrs["names"])
    with pytest.raises(TableError, match="atom"):
        atoms.deepatoms.on_tracks(xr.DataArray(np.zeros(3), dims="k", name="k"))


def test_lives_that_are_left_at_a_constant_rate():
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        state = np.zeros((200, 25), np.int64)  # most lives outlast the movie
        for k in range(1, 25):
            leaves = rng.random(200) < np.where(state[:, k - 1] == 0, 1 / 12, 1 / 5)
            state[:, k] = np.where(leaves, 1 - state[:, k - 1], state[:, k - 1])
        found = lifetimes(state[:, :-1].ravel(), state[:, 1:].ravel(), 2)
        pulls.append((found.mean - [12, 5]) / found.std)
    pulls = np.array(pulls)
    assert 0.7 < np.sqrt((pulls**2).mean()) < 1.3 and abs(pulls.mean()) < 0.4


def test_lives_of_classes_of_a_table():
    species = np.repeat(["C", "C", "Si", "Si"], PERFECT.y.size)
    atoms = _movie(PERFECT, PERFECT, PERFECT, PERFECT, columns={"species": species})
    found = atoms.deepatoms.lifetimes()
    assert found["state"].values.tolist() == ["C", "Si"]
    assert found["lifetime"].values.tolist() == [2.0, np.inf] and found["lives_ended"].values.tolist() == [
        PERFECT.y.size,
        0,
    ]
