import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms import segment
from hs_deepatoms.errors import InvalidArgumentError, InvalidImageError


def test_map_on_the_same_axes_with_metadata(signal, standard):
    image, y, x = standard
    found = signal.segment(show_progressbar=False)
    assert type(found) is hs.signals.Signal2D and found.data.shape == image.shape and found.data.dtype == np.float32
    for one, other in zip(found.axes_manager._axes, signal.axes_manager._axes, strict=True):
        assert one.get_axis_dictionary() == other.get_axis_dictionary()
    assert found.metadata.Acquisition_instrument.TEM.beam_energy == 200.0
    assert "probability" in found.metadata.General.title
    assert 0 <= found.data.min() and found.data.max() <= 1
    inner = (y > 5) & (x > 5) & (y < 174) & (x < 254)
    at = found.data[np.rint(y[inner]).astype(int), np.rint(x[inner]).astype(int)]
    assert np.median(at) > 0.9 and found.data.mean() < 0.5 * at.mean()


@pytest.mark.parametrize("chunks", [(2, 180, 260), (1, 70, 111)])
def test_lazy_equals_eager_and_is_not_computed_before_it_is_asked_for(standard, chunks):
    stack = np.stack([standard[0], standard[0][::-1], np.zeros_like(standard[0])])
    eager = hs.signals.Signal2D(stack).segment(show_progressbar=False)
    lazy = hs.signals.Signal2D(da.from_array(stack, chunks=chunks)).as_lazy().segment(show_progressbar=False)
    assert lazy._lazy and hasattr(lazy.data, "dask")
    np.testing.assert_allclose(lazy.data.compute(scheduler="synchronous"), eager.data, atol=1e-4)
    assert not eager.data[2].any() and eager.data[0].max() > 0.9


def test_tiles_equal_the_whole(standard, small_tiles, monkeypatch):
    from hs_deepatoms.engine import plan

    image = np.tile(standard[0], (2, 2))
    with monkeypatch.context() as patch:
        patch.setattr(plan, "choose_tile", lambda *args, **options: (1000, 1))
        untiled = segment(image, show_progressbar=False)
    assert isinstance(untiled, xr.DataArray) and untiled.dims == ("y", "x") and untiled["y"].attrs["units"] == "px"
    tiled = segment(image, show_progressbar=False)
    np.testing.assert_allclose(tiled.values, untiled.values, atol=1e-4)
    assert small_tiles == [1, 6]


def test_masks_and_lazy_output(standard):
    mask = np.zeros(standard[0].shape, bool)
    mask[:, :100] = True
    lazy = segment(standard[0], signal_mask=mask, lazy_output=True, show_progressbar=False)
    assert lazy.chunks is not None
    values = lazy.compute().values
    assert not values[:, :100].any() and values[:, 110:].max() > 0.9


@pytest.mark.parametrize("lazy", [False, True])
def test_a_region(signal, lazy):
    """The map of the part inside, on its own axes, and nothing outside a circle."""
    import hs_deepatoms

    signal = signal.as_lazy() if lazy else signal
    box = hs.roi.RectangularROI(left=-2.0, top=2.0, right=2.0, bottom=4.0)  # 0.025 nm, 0.02 nm per pixel
    found = signal.segment(region=box, show_progressbar=False)
    assert found.data.shape == (100, 160) and found._lazy is lazy
    x_axis, y_axis = found.axes_manager.signal_axes
    assert (x_axis.offset, y_axis.offset) == (pytest.approx(-2.0), pytest.approx(2.0))
    part = np.asarray(found.data)
    atoms = hs_deepatoms.find_atoms(signal, region=box, show_progressbar=False)
    inner = atoms.where((atoms.y_px > 27) & (atoms.x_px > 42) & (atoms.y_px < 122) & (atoms.x_px < 197), drop=True)
    at = part[np.rint(inner.y_px - 25).astype(int), np.rint(inner.x_px - 40).astype(int)]
    assert len(at) > 50 and np.median(at) > 0.9
    circle = signal.segment(region=hs.roi.CircleROI(cx=0.0, cy=3.3, r=1.0), show_progressbar=False)
    corner = np.asarray(circle.data)[:8, :8]
    assert not corner.any() and np.asarray(circle.data).max() > 0.9
    assert "RectangularROI" in str(found.metadata.deepatoms.provenance)


def test_bad_input():
    with pytest.raises(InvalidImageError, match="Allowed"):
        segment(np.ones((40, 50), complex))


def test_lazy_output_is_yes_or_no():
    with pytest.raises(InvalidArgumentError, match=r"Got lazy_output='no'"):
        segment(np.random.default_rng(0).normal(size=(40, 50)), lazy_output="no")
