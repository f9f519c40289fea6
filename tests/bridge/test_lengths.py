from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import METRES, read_length, same_units, unit_factor, unit_kind
from hs_deepatoms.errors import InvalidArgumentError

NM = Axis(name="x", size=50, units="nm", scale=-0.02, offset=7.0)
PX = Axis(name="x", size=50, scale=1.0)


@pytest.mark.parametrize(
    ("value", "axis", "pixels"),
    [
        (8, NM, 8), (np.int16(8), NM, 8), (0.5, NM, 25), (np.float32(0.5), NM, 25), ("1.2 nm", NM, 60),
        ("1.2nm", NM, 60), ("12 Å", NM, 60), ("12 A", NM, 60), ("1.2e3 pm", NM, 60), (".0012 µm", NM, 60),
        ("0.0012 μm", NM, 60), ("8 px", NM, 8), ("8.5 pixels", NM, 8.5), (0, NM, 0), (3.5, PX, 3.5), ("3 px", PX, 3),
        ("1.2 nanometers", NM, 60), ("1.2e-9 m", NM, 60),
    ],
)  # fmt: skip
def test_lengths(value, axis, pixels):
    assert read_length(value, axis) == pytest.approx(pixels)


@pytest.mark.parametrize(
    "value",
    [True, np.True_, -1, -0.5, np.nan, np.inf, "1.2", "nm", "", "1,2 nm", "1.2 eV", "1.2 mrad", "0.1 1/nm", "-3 px",
     None, [1], 2j, "1.2 blorp", "1 2 nm", np.array([1, 2])],
)  # fmt: skip
def test_refused_lengths(value):
    with pytest.raises(InvalidArgumentError, match="Allowed"):
        read_length(value, NM)


def test_a_length_in_nm_on_an_uncalibrated_axis_says_what_to_do():
    with pytest.raises(InvalidArgumentError, match="Calibrate the axis"):
        read_length("1.2 nm", PX)


def test_non_uniform_axis_uses_its_mean_step():
    axis = Axis(name="x", size=3, units="nm", values=np.array([0.0, 1.0, 4.0]))
    assert read_length("4 nm", axis) == pytest.approx(2)


@pytest.mark.parametrize(
    ("first", "second", "factor"),
    [("nm", "pm", 1e3), ("Å", "nm", 0.1), ("A", "pm", 100), ("um", "nm", 1e3), ("µm", "μm", 1), ("px", "pixel", 1),
     ("A\u030a", "Å", 1), ("\u212b", "nm", 0.1), ("micrometer", "µm", 1), ("1/\u00b5m", "1/\u03bcm", 1),
     ("1/nm", "1/Å", 0.1), ("1/A", "1/nm", 10), ("eV", "keV", 1e-3), ("odd", "odd", 1), ("nm", "inch", 1 / 2.54e7)],
)  # fmt: skip
def test_unit_factor(first, second, factor):
    assert unit_factor(first, second) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [("nm", "px"), ("px", "nm"), ("nm", "eV"), ("nm", "1/nm"), ("odd", "nm")])
def test_units_that_do_not_fit(first, second):
    with pytest.raises(InvalidArgumentError, match=r"Got .* Allowed"):
        unit_factor(first, second)


@pytest.mark.parametrize("units", [("um", "\u00b5m", "\u03bcm", "micrometer"),
                                   ("A", "\u00c5", "\u212b", "A\u030a", "angstrom"), ("px", "pixel", "")])  # fmt: skip
def test_one_unit_in_several_spellings(units):
    assert all(same_units(one, other) for one in units for other in units)
    assert all(unit_kind(one) == unit_kind(units[0]) for one in units)
    assert not any(same_units(one, "nm") for one in units)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(METRES)), st.sampled_from(sorted(METRES)), st.sampled_from(sorted(METRES)))
def test_unit_factors_chain(a, b, c):
    assert unit_factor(a, b) * unit_factor(b, c) == pytest.approx(unit_factor(a, c), rel=1e-12)
    assert unit_factor(a, b) == pytest.approx(METRES[a] / METRES[b], rel=1e-12)


@pytest.mark.parametrize(
    ("units", "kind"),
    [("nm", "length"), ("inch", "length"), ("px", "pixel"), ("", "pixel"), ("1/nm", "reciprocal"),
     ("1 / nm", "reciprocal"), ("/nm", "reciprocal"),
     (r"$\AA^{-1}$", "reciprocal"), (r"$\mathring{A}^{-1}$", "reciprocal"), ("nm^{-1}", "reciprocal"),
     (r"\AA", "length"), ("$nm$", "length"), ("[nm]", "length"), (r"$\mu m$", "length"),
     ("nm^-1", "reciprocal"), ("nm⁻¹", "reciprocal"), ("1/A", "reciprocal"),
     ("Å**-1", "reciprocal"), ("nm-1", "reciprocal"), ("1/blorp", "reciprocal"), ("mrad", "angle"), ("rad", "angle"),
     ("deg", "angle"), ("°", "angle"), ("blorp", "unknown"), ("2π/nm", "reciprocal"), ("2 pi / Å", "reciprocal"),
     ("k", "reciprocal"), ("k_x", "reciprocal"), ("q", "reciprocal"), ("eV", "energy"), ("keV", "energy"),
     ("J", "energy"), ("s", "time"), ("ms", "time"), ("µs", "time"), ("seconds", "time"),
     # no lengths to pint, but perhaps to the user
     ("Nm", "other"), ("a", "other"), ("V", "other"), ("nanometres", "length"), ("micron", "length")],
)  # fmt: skip
def test_unit_kinds(units, kind):
    assert unit_kind(units) == kind
