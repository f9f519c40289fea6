import numpy as np
import pytest

from hs_deepatoms.prepare.masks import invalid_pixels
from hs_deepatoms.prepare.scaling import apply_scaling, frame_scaling
from hs_deepatoms.simulate.columns import draw_columns


@pytest.fixture
def frame():
    return np.random.default_rng(0).poisson(20, (50, 70))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"])
def test_scaling_does_not_depend_on_the_type(frame, dtype):
    want = apply_scaling(frame.astype(float), frame_scaling(frame.astype(float)))
    got = apply_scaling(frame.astype(dtype), frame_scaling(frame.astype(dtype)))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(("gain", "offset"), [(1, 1000), (1e-6, 0), (1e6, 0), (3, -1e5)])
def test_gain_and_offset_cancel(frame, gain, offset):
    want = apply_scaling(frame, frame_scaling(frame))
    moved = frame * gain + offset
    np.testing.assert_allclose(apply_scaling(moved, frame_scaling(moved)), want, atol=1e-4)


def test_full_int16_range_does_not_overflow():
    frame = np.linspace(-32768, 32767, 6000).astype(np.int16).reshape(60, 100)
    scaled = apply_scaling(frame, frame_scaling(frame))
    assert np.all(np.diff(scaled.ravel()) >= 0)
    assert scaled.max() - scaled.min() == pytest.approx(1.0, abs=0.02)


def test_nan_and_hot_pixels_do_not_move_the_scale(frame):
    clean = frame_scaling(frame)
    dirty = frame.astype(float)
    dirty[3] = np.nan
    dirty[10, 5:10] = 1e9
    assert frame_scaling(dirty)[0] == clean[0]
    assert frame_scaling(dirty)[1] == pytest.approx(clean[1], rel=0.1)


@pytest.mark.parametrize("frame", [np.full((8, 9), 3), np.full((8, 9), np.nan), np.empty((0, 5))])
def test_nothing_to_scale(frame):
    assert frame_scaling(frame)[1] == 0
    assert not apply_scaling(frame, frame_scaling(frame)).any()


def test_a_few_atoms_on_an_exact_zero_background_are_kept_and_a_lone_pixel_is_not():
    atom = draw_columns((100, 120), np.array([50.2]), np.array([60.4]), np.array([4.0]), 1.0)
    atom[atom < 0.01] = 0
    scaled = apply_scaling(atom, frame_scaling(atom))
    assert scaled.max() > 1 and not invalid_pixels(scaled).any()
    lone = np.zeros((100, 120))
    lone[50, 60] = 4.0
    assert invalid_pixels(apply_scaling(lone, frame_scaling(lone))).sum() == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("n", [2, 3, 7, 1000])
def test_the_range_is_that_of_numpys_percentiles(dtype, n):
    values = np.random.default_rng(n).normal(60, 20, n).astype(dtype)
    low, centre, high = np.percentile(values.astype(float), [0.5, 50, 99.5])
    assert frame_scaling(values) == pytest.approx((centre, high - low), rel=1e-12)


@pytest.mark.parametrize(("dtype", "most"), [("int8", 127), ("int16", 32767), ("uint32", 2**32 - 1), ("uint64", 2**45)])
@pytest.mark.parametrize("spread", [50, 2**20])
def test_counts_far_from_zero_are_put_in_order(dtype, most, spread):
    down = np.random.default_rng(0).integers(0, min(spread, most), 1003)
    values = (most - down.astype(float)).astype(dtype)
    low, centre, high = np.percentile(values.astype(float), [0.5, 50, 99.5])
    assert frame_scaling(values) == pytest.approx((centre, high - low), rel=1e-12)
