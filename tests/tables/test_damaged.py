"""Tables that somebody damaged, on disk or by hand: a named error, or as if what is damaged were not there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from tests.tables.samples import image_signal, image_table, stack_table

AXES = ["5", "[1, 2]", '[{"name": "y"}, {"name": "x"}]', "{junk", "null", '{"name": "y"}', '"text"']


@pytest.mark.parametrize("axes", AXES)
def test_axes_that_cannot_be_read_are_axes_that_are_not_known(axes):
    table = image_table()[0].assign_attrs(axes=axes)
    assert int(table.deepatoms.count()) == table.sizes["atom"]
    assert table.deepatoms.to_units("pm")["y"].attrs["units"] == "pm"
    assert hs_deepatoms.concat([table, table]).sizes["atom"] == 2 * table.sizes["atom"]
    again = hs_deepatoms.positions(table, signal=image_signal())
    np.testing.assert_allclose(again["y"], table["y"])
    with pytest.raises(TableError, match="without the axes of its image"):
        table.deepatoms.to_signal("height")


@pytest.mark.parametrize("size", ["-24", '"q"', "0"])
def test_sizes_that_are_none(size):
    table = image_table()[0]
    table.attrs["axes"] = table.attrs["axes"].replace('"size": 24', f'"size": {size}')
    with pytest.raises(TableError, match="without the axes of its image"):
        table.deepatoms.to_signal("height")


def test_ids_that_are_text():
    table = image_table()[0]
    named = table.assign_coords(atom=[f"a{i}" for i in range(table.sizes["atom"])])
    with pytest.raises(TableError, match="ids of dtype"):
        hs_deepatoms.concat([named, named])


@pytest.mark.parametrize("name", ["y", "x_px"])
def test_a_store_that_lost_chunks_of_its_positions(tmp_path, name):
    path = stack_table()[0].deepatoms.save(tmp_path / "table.zarr")
    shutil.rmtree(path / name / "c")
    for lazy in (False, True):
        with pytest.raises(TableError, match=f"without all chunks of {name}"):
            hs_deepatoms.load(path, lazy=lazy)


@pytest.mark.parametrize(("version", "fine"), [(1, True), (99, False), ("x", False)])
def test_other_versions(tmp_path, version, fine):
    path = image_table()[0].deepatoms.save(tmp_path / "table.zarr")
    header = json.loads((path / "zarr.json").read_text())
    header["attributes"]["format_version"] = version
    (path / "zarr.json").write_text(json.dumps(header))
    if fine:
        assert hs_deepatoms.load(path).sizes["atom"]
        return
    with pytest.raises(TableError, match=f"format version {version!r}.*Update"):
        hs_deepatoms.load(path)


def test_a_file_that_was_cut_short(tmp_path):
    path = image_table()[0].deepatoms.save(tmp_path / "table.nc")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(TableError, match="cannot be read"):
        hs_deepatoms.load(path)


@pytest.mark.parametrize("name", ["x" * 3000 + ".zarr", "x" * 3000 + ".nc", "a\0b.zarr"])
def test_names_that_no_file_can_have(name):
    with pytest.raises((TableError, InvalidArgumentError), match="Got path"):
        hs_deepatoms.load(name)
    with pytest.raises(InvalidArgumentError, match="Got path"):
        image_table()[0].deepatoms.save(name)


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file.zarr").write_text("mine")
    for name in ("file.zarr", "file.zarr/table.csv", "file.zarr/table.nc"):
        with pytest.raises(InvalidArgumentError, match=r"Got path .*can be written to"):
            image_table()[0].deepatoms.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file.zarr"]
    assert (tmp_path / "file.zarr").read_text() == "mine"


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_attributes_and_columns_that_no_file_holds(tmp_path, ending):
    table = image_table()[0]
    odd = table.assign_attrs(mine=object())
    column = table.assign(things=("atom", [object()] * table.sizes["atom"]))
    for given, name in ((odd, "'mine'"), (column, "'things'")):
        with pytest.raises(TableError, match=f"cannot be written to.*drop {name}"):
            given.deepatoms.save(tmp_path / f"table{ending}")
    assert not list(tmp_path.iterdir())


def test_classes_with_gaps_go_through_csv(tmp_path):
    table = image_table()[0]
    holes = table.assign(species=table["species"].where(table["atom"] > 2))  # as an outer join leaves them
    back = hs_deepatoms.load(holes.deepatoms.save(tmp_path / "table.csv"))
    names = json.loads(back["species"].attrs["names"])
    assert [names[str(one)] for one in back["species"].values[:3]] == ["unknown"] * 3
