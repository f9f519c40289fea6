import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.prepare.resample import (
    resample,
    resample_frame,
    resampled_size,
    resampling_matrix,
    source_window,
    to_grid,
    to_source,
)
from hs_deepatoms.simulate.columns import draw_columns


@settings(max_examples=30, deadline=None)
@given(st.floats(0.15, 4), st.floats(-50, 5000))
def test_to_grid_and_back(zoom, position):
    assert to_source(to_grid(position, zoom), zoom) == pytest.approx(position, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 90), st.floats(0.2, 3.0), st.data())
def test_a_window_gives_the_same_samples_as_the_whole(size, zoom, data):
    n = resampled_size(size, zoom)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    line = np.random.default_rng(size).normal(size=size).astype(np.float32)
    whole = resampling_matrix(0, n, zoom, (0, size), size) @ line
    window = source_window(start, stop, zoom, size)
    part = resampling_matrix(start, stop, zoom, window, size) @ line[slice(*window)]
    np.testing.assert_allclose(part, whole[start:stop], atol=1e-6)


@pytest.mark.parametrize("zoom", [0.3, 0.77, 1.0, 1.9])
def test_columns_stay_where_they_are(zoom):
    y, x = 40.3, 61.8
    image = draw_columns((80, 110), np.array([y]), np.array([x]), np.ones(1), 5.0)
    small = resample_frame(image, zoom)
    rows, columns = np.indices(small.shape)
    weight = small / small.sum()
    assert to_source((rows * weight).sum(), zoom) == pytest.approx(y, abs=0.02)
    assert to_source((columns * weight).sum(), zoom) == pytest.approx(x, abs=0.02)


def test_constants_stay_constant_and_axes_are_not_mixed():
    np.testing.assert_allclose(resample_frame(np.full((31, 57), 2.5), 0.4), 2.5, rtol=1e-6)
    rows = resampling_matrix(0, 10, 0.5, (0, 20), 20)
    columns = resampling_matrix(0, 30, 0.5, (0, 60), 60)
    assert resample(np.ones((20, 60)), rows, columns).shape == (10, 30)
