"""Pictures are turned from pixel to pixel: pixels that are not square are refused, or said."""

from __future__ import annotations

import warnings

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.errors import InvalidAxesError
from hs_deepatoms.methods.square_pixels import check_square

QUICK = {"show_progressbar": False, "steps": 2, "grid": 6, "window": 9}


def image(steps=(0.04, 0.02), units=("nm", "nm")):
    s = hs.signals.Signal2D(np.random.default_rng(0).random((40, 46)).astype(np.float32))
    for axis, step, unit in zip(s.axes_manager.signal_axes[::-1], steps, units, strict=True):
        axis.scale, axis.units = step, unit
    return s


def axes(steps, units=("nm", "nm")):
    return tuple(Axis(name=name, size=9, units=unit, scale=step)
                 for name, step, unit in zip("yx", steps, units, strict=True))  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
def test_rvae_refuses_and_says_both_steps(lazy):
    s = image().as_lazy() if lazy else image()
    with pytest.raises(InvalidAxesError, match=r"0.04 nm along y and 0.02 nm along x for rvae.*rebin.*rotation"):
        s.rvae(**QUICK)
    with pytest.raises(InvalidAxesError, match="for vae"):
        s.vae(invariances=["rotation"], **QUICK)
    patches = s.extract_patches(grid=6, window=9)
    with pytest.raises(InvalidAxesError, match="square"):
        patches.rvae(steps=2)
    assert np.isfinite(s.rvae(invariances=["shift", "scale"], **QUICK)["latent/scale"]).all()
    with pytest.raises(InvalidAxesError, match="square"):
        s.compare_latents(windows=[9], grid=6, steps=2)
    square = s.rebin(scale=[2, 1])
    assert np.isfinite(square.rvae(**QUICK | {"window": 7})["latent/angle"]).all()


def test_of_a_dataarray():
    data = np.random.default_rng(0).random((40, 46)).astype(np.float32)
    coords = {"y": ("y", 0.5 * np.arange(40), {"units": "Å"}), "x": ("x", 0.02 * np.arange(46), {"units": "nm"})}
    with pytest.raises(InvalidAxesError, match=r"0.5 Å along y and 0.02 nm"):
        xr.DataArray(data, coords).deepatoms.rvae(**QUICK)


@pytest.mark.parametrize("steps", [(1.02, 1.0), (-0.02, 0.0206)])
def test_a_little_is_said(steps):
    with pytest.warns(UserWarning, match=r"not quite square: rvae"):
        check_square(axes(steps), "rvae")


@pytest.mark.parametrize(("steps", "units"), [((0.02, 0.02), ("nm", "nm")), ((-20.0, 0.0201), ("pm", "nm")),
                                              ((1, 1), ("px", "px")), ((0.2, 0.2), ("a.u.", "a.u."))])  # fmt: skip
def test_square_ones_pass_in_silence(steps, units):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_square(axes(steps, units), "rvae")


def test_units_that_cannot_be_compared():
    with pytest.warns(UserWarning, match="y is in px and x in nm: rvae turns pictures as if"):
        tree = image((1.0, 0.02), ("px", "nm")).rvae(**QUICK)
    assert np.isfinite(tree["latent/angle"]).all()
    with pytest.raises(InvalidAxesError):
        check_square(axes((0.2, 0.1), ("a.u.", "a.u.")), "rvae")


def test_encode_of_a_tree_from_before(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("hs_deepatoms.methods.latent_request.check_square", lambda *_: None)
        tree = image().rvae(**QUICK)
    with pytest.raises(InvalidAxesError, match="for encode"):
        tree.deepatoms.encode(image(), grid=6)
