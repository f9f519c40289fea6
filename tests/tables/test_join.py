"""Joining tables."""

from __future__ import annotations

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import TableError
from hs_deepatoms.tables.schema import read_json
from tests.tables.samples import image_signal, image_table, stack_table


def operations(ds):
    return [entry["operation"] for entry in read_json(ds.attrs, "provenance", [])]


def test_parts_of_a_table_give_it_back():
    ds, _ = stack_table()
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(ds.sizes["atom"])
    joined = hs_deepatoms.concat([ds.isel(atom=shuffled[:5]), ds.isel(atom=shuffled[5:])])
    assert joined.drop_attrs().identical(ds.drop_attrs())
    assert joined.attrs["axes"] == ds.attrs["axes"]
    assert operations(joined) == ["positions", "concat"]


def test_clashing_ids_are_numbered_anew():
    ds, _, _ = image_table()
    joined = hs_deepatoms.concat([ds, ds])
    assert joined.atom.values.tolist() == list(range(22))
    assert (np.diff(joined.y_px) >= 0).all()


def test_every_provenance_is_kept():
    ds, _, _ = image_table()
    one, two = ds.deepatoms.select(probability=0.5), ds.deepatoms.select(probability=(0, 0.4999))
    joined = hs_deepatoms.concat([one, two])
    assert operations(joined) == ["positions", "concat"]
    inputs = read_json(joined.attrs, "provenance", [])[-1]["inputs"]
    assert [entries[0]["parameters"]["probability"] for entries in inputs] == [0.5, [0, 0.4999]]
    assert joined.sizes["atom"] == 11


def test_images_along_a_new_dim():
    ds, y, _ = image_table()
    joined = hs_deepatoms.concat([ds, ds.isel(atom=slice(0, 0)), ds.isel(atom=slice(4))], dim="image")
    assert joined.deepatoms.count().dims == ("image",)
    assert joined.deepatoms.count().values.tolist() == [11, 0, 4]
    np.testing.assert_allclose(joined.y_px[:11], y)
    assert joined.deepatoms.to_signal("height").data.shape == (3, 24, 40)


def test_stacks_along_a_new_dim():
    ds, frame = stack_table()
    counts = hs_deepatoms.concat([ds, ds], dim="sample").deepatoms.count()
    assert counts.dims == ("sample", "time", "tilt")
    np.testing.assert_array_equal(counts[1].values.ravel(), np.bincount(frame, minlength=6))


def test_other_units_are_converted():
    ds, _, _ = image_table()
    joined = hs_deepatoms.concat([ds, ds.deepatoms.to_units("pm")])
    assert joined.y.attrs["units"] == "nm"
    np.testing.assert_allclose(joined.y[::2], joined.y[1::2])
    np.testing.assert_allclose(joined.y_std, 0.003)


def test_missing_columns_and_classes_by_name():
    ds, _, _ = image_table()
    image = image_signal()
    other = hs_deepatoms.positions([1.0, 2.0], [1.0, 2.0], signal=image, columns={"species": ["Ti", "Pb"]})
    bare = hs_deepatoms.positions([3.0], [3.0], signal=image)
    joined = hs_deepatoms.concat([ds, other, bare], dim="image")
    names = read_json(joined.species.attrs, "names", {})
    species = [names[str(value)] for value in joined.species.values]
    assert species[-3:] == ["Ti", "Pb", "unknown"]
    assert species[:11] == [{0: "Sr", 1: "Ti"}[value] for value in ds.species.values]
    assert np.isnan(joined.height[-3:]).all()
    assert np.isfinite(joined.height[:11]).all()


def test_images_of_different_axes_keep_frames_and_say_what_is_missing():
    ds, _, _ = image_table()
    other = image_signal()
    other.axes_manager[1].scale = 0.5
    joined = hs_deepatoms.concat([ds, hs_deepatoms.positions([1.0], [1.0], signal=other)], dim="image")
    assert joined.deepatoms.count().values.tolist() == [11, 1]
    with pytest.raises(TableError, match="axes of its image"):
        joined.deepatoms.to_signal("height")


@pytest.mark.parametrize(
    ("tables", "dim", "message"),
    [
        ([], None, "no table"),
        (image_table()[0], None, "one table.*list"),
        ("atoms.zarr", None, "a str"),
        (None, None, "a NoneType"),
        ([image_table()[0], stack_table()[0]], None, "dim='image'"),
        ([image_table()[0], stack_table()[0]], "image", "same shape"),
        ([stack_table()[0]], "time", "taken"),
        ([image_table()[0]], "y", "taken"),
        ([image_table()[0].drop_vars("y")], None, "no 'y'"),
    ],
)
def test_named_errors(tables, dim, message):
    with pytest.raises(TableError, match=message):
        hs_deepatoms.concat(tables, dim=dim)
