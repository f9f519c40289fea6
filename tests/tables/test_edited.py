"""Tables after atoms were removed and added."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.tables.edited import edited_table
from hs_deepatoms.tables.schema import read_json
from tests.tables.samples import image_table, stack_table, to_value


def test_columns_of_added_atoms():
    ds, _, _ = image_table()
    keep = np.arange(11) != 4
    made = edited_table(ds, keep=keep, y=to_value("y", [2.5]), x=to_value("x", [30.0]), frame=np.zeros(1, int), axes=())
    assert made.atom.values.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    new = made.sel(atom=11)
    np.testing.assert_allclose([new.y_px, new.x_px, new.probability], [2.5, 30, 1])
    assert np.isnan(new.height)
    assert new.species == -1
    assert read_json(made.species.attrs, "names", {})["-1"] == "unknown"
    assert made.sel(atom=3).height == ds.sel(atom=3).height
    assert list(made.data_vars) == list(ds.data_vars)


def test_frames_of_added_atoms():
    ds, _ = stack_table()
    made = edited_table(
        ds,
        keep=np.ones(17, bool),
        y=to_value("y", [1, 2]),
        x=to_value("x", [3, 4]),
        frame=np.array([4, 0]),
        axes=(),
    )
    assert (made.deepatoms.count() - ds.deepatoms.count()).values.ravel().tolist() == [1, 0, 0, 0, 1, 0]
    assert made.time_index.dtype == np.int64
    np.testing.assert_allclose(made.time[-2:], to_value("time", [2, 0]))


def test_nothing_done():
    ds, _ = stack_table()
    none = np.empty(0)
    made = edited_table(ds, keep=np.ones(17, bool), y=none, x=none, frame=none.astype(int), axes=())
    assert made.drop_attrs().identical(ds.drop_attrs())
