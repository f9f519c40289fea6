from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import PurePosixPath

import hyperspy.api as hs
import numpy as np

import hs_deepatoms
from hs_deepatoms.bridge.provenance import plain, provenance_entry, read_provenance


def test_entry():
    entry = provenance_entry("find_atoms", {"spacing": np.float32(0.5)}, model={"name": "m", "sha256": "ab"}, seed=3,
                             device="cpu")  # fmt: skip
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["package"] == "hs_deepatoms" and entry["version"] == hs_deepatoms.__version__
    assert (entry["parameters"], entry["seed"], entry["device"]) == ({"spacing": 0.5}, 3, "cpu")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(entry["time"])).total_seconds()) < 60


def test_what_was_not_used_is_not_there():
    assert not {"model", "seed", "device"} & set(provenance_entry("a", {}))


def test_plain_values():
    given = {"a": np.arange(3), "b": (np.int8(1), np.True_), "c": PurePosixPath("x/y"), "d": np.nan, "e": None, 5: {6},
             "roi": hs.roi.RectangularROI(0, 1, 2, 3), "big": np.zeros((100, 20)), "z": 1j}  # fmt: skip
    found = plain(given)
    json.dumps(found, allow_nan=False)
    assert found["a"] == [0, 1, 2] and found["b"] == [1, True] and found["c"] == "x/y" and found["d"] == "nan"
    assert found["big"] == "ndarray of shape (100, 20) and dtype float64"
    assert found["roi"].startswith("RectangularROI(")


def test_reading_is_lenient():
    entries = [provenance_entry("a", {})]
    assert read_provenance(json.dumps(entries)) == read_provenance(entries) == entries
    assert read_provenance(None) == read_provenance("no json") == read_provenance({}) == []
