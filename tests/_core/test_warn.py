"""Warnings point at the user's line, by whichever way it was called."""

from __future__ import annotations

import warnings

import hyperspy.api as hs
import numpy as np
import pytest
import xarray as xr

import hs_deepatoms
from hs_deepatoms._core.warn import warn_user

ROWS = np.random.default_rng(0).random((40, 40))


@pytest.mark.parametrize("call", [
    lambda: hs_deepatoms.find_atoms(ROWS, show_progressbar=False),
    lambda: hs.signals.Signal2D(ROWS).find_atoms(show_progressbar=False),
    lambda: xr.DataArray(ROWS, dims=("y", "x")).deepatoms.find_atoms(show_progressbar=False),
])  # fmt: skip
def test_function_method_and_accessor(call):
    with pytest.warns(UserWarning, match="noise or a film") as said:
        call()
    assert {one.filename for one in said if "noise or a film" in str(one.message)} == {__file__}


def test_filters_see_what_python_shows():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Look", module=__name__)
        with pytest.raises(UserWarning, match="Look here"):
            warn_user("Look here")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            warn_user("Look there")
    assert len(said) == 1
