"""Positions of somebody else that cannot be read, or that would be read wrongly, are named errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hs_deepatoms
from hs_deepatoms.errors import InvalidArgumentError, TableError
from tests.tables.samples import image_signal, stack_table

Y, X = np.array([2.0, 8.0, 5.0]), np.array([3.0, 4.0, 9.0])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"y": Y + 1j}, "complex values for y"),
        ({"y": np.ma.masked_array(Y, [0, 1, 0])}, "1 values that are not finite"),
        ({"columns": {"y_px": X}}, "columns .'y_px'."),
        ({"columns": {"frame": [0, 0, 1]}}, "columns .'frame'."),
    ],
)
def test_arrays(given, match):
    with pytest.raises(TableError, match=f"Got .*{match}"):
        hs_deepatoms.positions(**{"y": Y, "x": X, **given})


def test_words_and_names():
    with pytest.raises(InvalidArgumentError, match="Got order="):
        hs_deepatoms.positions(np.stack([Y, X], 1), order=np.array(["y", "x"]))
    assert "5" in hs_deepatoms.positions(Y, X, columns={5: [1, 2, 3]})


@pytest.mark.parametrize("content", ["", "\x00\x01", bytes(range(256)) * 4, None])
def test_files_that_are_no_csv(tmp_path, content):
    path = tmp_path / "positions.csv"
    if content is None:
        path.mkdir()
    elif content or content == "":
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError, match="Got "):
        hs_deepatoms.positions(path)


def test_several_units_in_one_column(tmp_path):
    frame = pd.DataFrame({"y": Y, "x": X, "units": ["nm", "px", "nm"]})
    with pytest.raises(TableError, match=r"nm.*px.*one unit for all"):
        hs_deepatoms.positions(frame, signal=image_signal())
    frame.to_csv(tmp_path / "mixed.csv")
    with pytest.raises(TableError, match=r"nm.*px.*one unit for all"):
        hs_deepatoms.load(tmp_path / "mixed.csv")


@pytest.mark.parametrize("units", [("um", "\u00b5m", "\u03bcm"), ("A", "\u00c5", "angstrom")])
def test_one_unit_in_several_spellings_is_one_unit(units, tmp_path):
    image = image_signal()
    for axis, name in zip(image.axes_manager.signal_axes, units, strict=False):  # x and y do not even agree
        axis.units = name
    plain = hs_deepatoms.positions(Y, X, signal=image)
    frame = pd.DataFrame({"y": plain["y"], "x": plain["x"], "units": units})
    frame.to_csv(tmp_path / "mixed.csv", index=False)
    for given in (frame, tmp_path / "mixed.csv"):
        np.testing.assert_allclose(hs_deepatoms.positions(given, signal=image)["y_px"], plain["y_px"])
    loaded = hs_deepatoms.load(tmp_path / "mixed.csv")
    assert loaded["y"].attrs["units"] in units
    both = hs_deepatoms.concat([plain, plain.deepatoms.to_units("nm"), loaded], dim="image")
    np.testing.assert_allclose(both["y"].values.reshape(3, -1), plain["y"].values + np.zeros((3, 1)))


def test_a_csv_with_text_for_positions_is_no_table_of_classes(tmp_path):
    (tmp_path / "table.csv").write_text("y,x\n1,abc\n")
    with pytest.raises(TableError, match=r"text in .'x'."):
        hs_deepatoms.load(tmp_path / "table.csv")


def test_frames_of_a_stack_do_not_fall_onto_one_image():
    table = stack_table()[0]
    with pytest.raises(TableError, match=r"frames=0"):
        hs_deepatoms.positions(table, signal=image_signal())
    one = table.deepatoms.select(frames=0)
    assert hs_deepatoms.positions(one, signal=image_signal()).sizes == one.sizes


def test_frames_with_gaps():
    table = stack_table()[0]
    holes = table.assign_coords(time_index=table["time_index"].where(table["atom"] > 3))
    with pytest.raises(TableError, match="whole numbers from 0 to 2"):
        hs_deepatoms.positions(holes, signal=image_signal("time", "tilt"))
