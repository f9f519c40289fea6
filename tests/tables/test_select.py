"""Selections by every condition."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np
import pytest

from hs_deepatoms.errors import InvalidArgumentError, TableError
from hs_deepatoms.tables.schema import read_json
from hs_deepatoms.tables.select import select
from tests.tables.samples import SHAPE, image_table, stack_table


def test_conditions_add_up_and_ids_stay():
    ds, _, _ = image_table()
    chosen = select(ds, probability=0.3, species="Sr")
    keep = (ds.probability.values >= 0.3) & (ds.species.values == 0)
    assert 0 < keep.sum() < 11
    assert chosen.atom.values.tolist() == np.flatnonzero(keep).tolist()
    assert read_json(chosen.attrs, "provenance", [])[-1]["parameters"] == {"probability": 0.3, "species": "Sr"}


def test_species_by_number_and_several():
    ds, _, _ = image_table()
    assert select(ds, species=0).equals(select(ds, species=["Sr"]))
    assert select(ds, species=["Sr", 1]).sizes == ds.sizes


def test_frames():
    ds, frame = stack_table()
    assert select(ds, frames={"time": 1}).sizes["atom"] == np.isin(frame, [2, 3]).sum()
    assert select(ds, frames=4).sizes["atom"] == 0


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (
            hs.roi.RectangularROI(left=5.1, top=-2.9, right=5.6, bottom=-2.4),
            lambda y, x: (x >= 5.1) & (x < 5.6) & (y >= -2.9) & (y < -2.4),
        ),
        (hs.roi.CircleROI(cx=5.4, cy=-2.7, r=0.2), lambda y, x: np.hypot(x - 5.4, y + 2.7) <= 0.2),
        (
            hs.roi.CircleROI(cx=5.4, cy=-2.7, r=0.3, r_inner=0.1),
            lambda y, x: (np.hypot(x - 5.4, y + 2.7) <= 0.3) & (np.hypot(x - 5.4, y + 2.7) >= 0.1),
        ),
        (hs.roi.PolygonROI([(5.0, -3.0), (5.8, -3.0), (5.0, -2.3)]), lambda y, x: (x - 5) / 0.8 + (y + 3) / 0.7 < 1),
    ],
)
def test_regions(region, inside):
    ds, _, _ = image_table(200)
    expected = inside(ds.y.values, ds.x.values)
    assert 0 < expected.sum() < 200
    assert select(ds, region=region).atom.values.tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize(("border", "pixels"), [(4, (4, 4)), (0.12, (4, 6)), ("120 pm", (4, 6))])
def test_border(border, pixels):
    ds, y, x = image_table(200)
    keep = (y >= pixels[0] - 0.5) & (y <= SHAPE[0] - 0.5 - pixels[0])
    keep &= (x >= pixels[1] - 0.5) & (x <= SHAPE[1] - 0.5 - pixels[1])
    assert select(ds, border=border).atom.values.tolist() == np.flatnonzero(keep).tolist()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"region": (1, 2, 3, 4)}, InvalidArgumentError),
        ({"region": hs.roi.RectangularROI()}, InvalidArgumentError),
        ({"species": "Xe"}, TableError),
        ({"probability": "high"}, InvalidArgumentError),
        ({"probability": 5}, InvalidArgumentError),
        ({"probability": -2}, InvalidArgumentError),
        ({"probability": np.nan}, InvalidArgumentError),
        ({"probability": (0.9, 0.1)}, InvalidArgumentError),
        ({"border": "2 eV"}, InvalidArgumentError),
        ({"frames": 1}, TableError),
    ],
)
def test_named_errors(arguments, error):
    with pytest.raises(error, match="Allowed"):
        select(image_table()[0], **arguments)


def test_missing_column():
    with pytest.raises(TableError, match="'probability'"):
        select(image_table()[0].drop_vars("probability"), probability=0.5)


@pytest.mark.parametrize("given", [{"species": 0.5}, {"species": [None]}, {"frames": slice("a")}])
def test_more_that_cannot_be_read(given):
    with pytest.raises(TableError, match=r"Got .* Allowed: "):
        image_table()[0].deepatoms.select(**given)
    with pytest.raises(InvalidArgumentError, match="Got probability=True"):
        image_table()[0].deepatoms.select(probability=True)
