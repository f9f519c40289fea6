"""Events of a bond network whose atoms are tracked."""

import numpy as np
import xarray as xr

import hs_deepatoms
from hs_deepatoms.structure.events import KINDS, bond_events


def test_atoms_that_come_or_go_make_no_events():
    # 0-1 breaks in frame 2; 1-2 forms in frame 1; 3 is bound once and then gone
    first, second, frame = [0, 0, 1, 1, 2], [1, 1, 2, 2, 3], [0, 1, 1, 2, 0]
    track, seen = [0, 1, 2, 3, 0, 1, 2, 0, 1, 2], [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    found = bond_events(first, second, frame, track, seen)
    made = [(KINDS[k], int(f), first[b], second[b]) for b, k, f in zip(*found, strict=True)]
    assert made == [("formed", 1, 1, 2), ("broken", 2, 0, 1)]
    assert bond_events([], [], [], [], []).bond.size == 0


def test_of_a_table():
    image = xr.DataArray(np.zeros((3, 60, 70), np.float32), dims=("time", "y", "x"))
    x = [10, 20, 50, 10, 20, 50, 10, 24, 50]
    frame = np.repeat(np.arange(3), 3)
    atoms = hs_deepatoms.positions([30.0] * 9, x, signal=image, frame=frame)
    linked = atoms.deepatoms.link(max_step=8, drift=False)
    found = linked.deepatoms.bond_events(cutoff=11)
    assert found["frame"].values.tolist() == [2] and found["kind"].values.tolist() == [0]
    assert found["x"].values.tolist() == [15.0] and found["length"].values.tolist() == [10.0]
