import numpy as np
import pytest

from hs_deepatoms.atoms.lines import label_lines, measure_lines


def band(shape, distance, half=1.6):
    return (np.abs(distance) <= half).astype(float) * np.ones(shape)


@pytest.mark.parametrize("angle", [0, 13, 30, 45, 71, 90])
def test_straight_lines_have_their_length_and_direction(angle):
    rows, columns = np.mgrid[:121, :141].astype(float)
    t = np.deg2rad(angle)
    along = (columns - 70) * np.cos(t) + (rows - 60) * np.sin(t)
    across = -(columns - 70) * np.sin(t) + (rows - 60) * np.cos(t)
    lines = label_lines(band(rows.shape, across) * (np.abs(along) < 40))
    found = measure_lines(lines)
    assert lines.max() == 1 and found["ends"][0] == 2
    # thinning ends up to half a band before either end
    assert found["length"][0] == pytest.approx(80 - 1.6, abs=4)
    turned = found["rotation"][0]
    assert min(abs(turned - t % np.pi), np.pi - abs(turned - t % np.pi)) < 0.05
    assert (found["y_px"][0], found["x_px"][0]) == pytest.approx((60, 70), abs=1)


def test_closed_lines_short_ones_and_the_rim():
    rows, columns = np.mgrid[:90, :110]
    ring = band(rows.shape, np.hypot(rows - 45, columns - 40) - 25)
    ring[:, 90:93] = 1
    ring[3:6, 3:6] = 1
    lines = label_lines(ring)
    found = measure_lines(lines, image=rows.astype(float))
    order = np.argsort(found["x_px"])
    assert lines.max() == 2
    assert found["ends"][order].tolist() == [0, 2]
    assert found["length"][order] == pytest.approx([2 * np.pi * 25, 89], rel=0.03)
    assert (lines[:, 91] > 0).all()  # up to the rim
    assert found["mean_intensity"][order] == pytest.approx([45, 44.5], abs=1)
    assert label_lines(ring, shortest=1).max() == 3


def test_pixels_that_are_not_square():
    straight = np.zeros((30, 50))
    straight[14:17, 5:45] = 1
    found = measure_lines(label_lines(straight), spacing=(2.0, 0.5))
    assert found["length"][0] == pytest.approx(0.5 * 39, abs=1.5)
    assert found["y_px"][0] == pytest.approx(15, abs=0.6)


def test_nothing_has_no_line():
    found = measure_lines(label_lines(np.zeros((20, 30))), image=np.ones((20, 30)))
    assert len(found["length"]) == 0 and set(found) >= {"y_px", "x_px", "ends", "rotation"}
