"""Points of many blocks in one, above a threshold."""

import numpy as np
import pytest

from hs_deepatoms.atoms import frame_sums, pile
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.pile import Pile, indecision


def points(rng, n, frame):
    arrays = [rng.normal(size=n) for _ in range(5)]
    fitted = {"height": rng.normal(size=n).astype(np.float32), "quality": rng.integers(0, 4, n).astype(np.int8)}
    return Points(np.full(n, frame), *arrays, rng.uniform(size=n).astype(np.float32), fitted)


@pytest.mark.parametrize("rows", [7, 64, 10**6])
def test_all_rows_above_the_threshold_in_the_order_they_came(monkeypatch, rows):
    monkeypatch.setattr(pile, "ROWS", rows)
    rng, heap = np.random.default_rng(0), Pile(0.4)
    parts = [points(rng, n, k) for k, n in enumerate((5, 0, 23, 7, 64))]
    for k, part in enumerate(parts):
        heap.put("columns", k, part)
    p = np.concatenate([part.probability for part in parts]).astype(float)
    assert heap.indecision() == pytest.approx(indecision(p[p >= frame_sums.COUNTED]))
    got = heap.points()
    for name in ("frame", "y", "x", "width", "probability"):
        np.testing.assert_array_equal(getattr(got, name), np.concatenate([getattr(q, name) for q in parts])[p >= 0.4])
    assert got.fitted["quality"].dtype == np.int8 and got.fitted["height"].dtype == np.float32
    np.testing.assert_array_equal(got.fitted["height"], np.concatenate([q.fitted["height"] for q in parts])[p >= 0.4])


def test_nothing_may_be_kept_and_nothing_may_come():
    heap = Pile(0.5)
    assert len(heap.points().y) == 0 and heap.indecision() == 0
    heap.put("columns", 0, points(np.random.default_rng(0), 9, 0))
    none = heap.points(keep=False)
    assert len(none.y) == 0 and set(none.fitted) == {"height", "quality"}


def test_what_is_hardly_likely_does_not_tell_how_undecided_the_rest_is():
    """A lower threshold lets in candidates of little probability, and nothing is believed less for that."""
    few, more = Pile(0.4), Pile(0.03)
    part = points(np.random.default_rng(1), 300, 0)
    few.put("columns", 0, part.keep(part.probability >= 0.1))
    more.put("columns", 0, part)
    assert few.indecision() == more.indecision() > 0 and more.rows > few.rows
