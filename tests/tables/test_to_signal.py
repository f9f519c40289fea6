"""Maps of a column."""

from __future__ import annotations

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.tables.maps import rasterise
from tests.tables.samples import OFFSET, SCALE, SHAPE, image_signal, image_table, stack_table


def test_nearest_is_nearest_in_the_sample():
    ds, y, x = image_table()
    made = ds.deepatoms.to_signal("height")
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot((rows[..., None] - y) * SCALE["y"], (columns[..., None] - x) * SCALE["x"])
    np.testing.assert_array_equal(made.data, ds.height.values[distance.argmin(-1)])
    for axis in made.axes_manager.signal_axes:
        assert (axis.scale, axis.offset, axis.units) == (SCALE[axis.name], OFFSET[axis.name], "nm")
    assert made.metadata.General.title == "height of sample"
    assert made.metadata.deepatoms.provenance[-1]["operation"] == "to_signal"


@pytest.mark.parametrize("reach", [4, 0.08, "80 pm"])
def test_reach_of_nearest(reach):
    ds = hs_deepatoms.positions([10.0], [20.0], signal=image_signal(), columns={"height": [2.0]})
    made = ds.deepatoms.to_signal("height", max_distance=reach).data
    assert np.isnan(made[10, 25])
    assert np.isnan(made[13, 20])
    assert made[10, 23] == made[12, 20] == 2


def test_linear_gives_a_plane_back():
    ds, y, x = image_table(40)
    ds["plane"] = ("atom", 3 * y - 2 * x + 1)
    made = ds.deepatoms.to_signal("plane", method="linear").data
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = np.isfinite(made)
    assert 0.5 < inside.mean() < 1
    np.testing.assert_allclose(made[inside], (3 * rows - 2 * columns + 1)[inside], atol=1e-9)


def test_linear_without_a_triangle():
    ds = hs_deepatoms.positions([1.0, 2.0], [1.0, 2.0], signal=image_signal(), columns={"height": [1.0, 2.0]})
    assert np.isnan(ds.deepatoms.to_signal("height", method="linear").data).all()


def test_scatter_means_several_and_leaves_the_outside():
    image = rasterise(
        np.array([2.1, 1.9, 9.0]), np.array([3.2, 2.8, 1.0]), np.array([1.0, 3.0, 5.0]), (5, 7), method="scatter"
    )
    assert image[2, 3] == 2
    assert np.isfinite(image).sum() == 1


@pytest.mark.parametrize("lazy", [True, False])
def test_stack(lazy):
    ds, _ = stack_table()
    made = ds.deepatoms.to_signal("probability", lazy_output=lazy)
    assert made._lazy is lazy
    data = made.data.compute() if lazy else made.data
    assert data.shape == (3, 2, *SHAPE)
    assert np.isnan(data[2, 0]).all()
    assert np.isfinite(data[0, 1]).all()
    assert [axis.name for axis in made.axes_manager.navigation_axes] == ["tilt", "time"]


def test_a_table_in_other_units_is_the_same_map():
    ds, _, _ = image_table()
    one, two = ds.deepatoms.to_signal("height"), ds.deepatoms.to_units("pm").deepatoms.to_signal("height")
    np.testing.assert_array_equal(one.data, two.data)
    assert two.axes_manager["x"].scale == pytest.approx(20)


def test_named_errors():
    ds, _, _ = image_table()
    with pytest.raises(InvalidArgumentError, match="nearest"):
        ds.deepatoms.to_signal("height", method="cubic")
    with pytest.raises(TableError, match="'height'"):
        ds.deepatoms.to_signal("weight")
    with pytest.raises(TableError, match="signal=image"):
        ds.drop_attrs().deepatoms.to_signal("height")
