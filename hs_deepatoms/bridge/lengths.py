"""Lengths as HyperSpy slicing reads them, and conversion of units."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.axes import UNKNOWN_UNITS

if TYPE_CHECKING:
    from hs_deepatoms.bridge.axes import Axis

PIXELS = frozenset({"", "px", "pix", "pixel", "pixels", "<undefined>"})
NO_UNITS = PIXELS | {UNKNOWN_UNITS}
CALIBRATE = "Calibrate the axis (its units and scale), or give the length in pixels."
# metres of the usual units: pint takes a third of a second to import, and reads "px" as a length and "A" as ampere
METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "\u03bcm": 1e-6, "micron": 1e-6, "microns": 1e-6, "micrometer": 1e-6,
          "micrometers": 1e-6, "nm": 1e-9, "nanometer": 1e-9, "nanometers": 1e-9, "pm": 1e-12, "picometer": 1e-12,
          "picometers": 1e-12, "fm": 1e-15, "\u00c5": 1e-10, "A": 1e-10, "Ang": 1e-10, "ang": 1e-10,
          "angstrom": 1e-10, "angstroms": 1e-10, "Angstrom": 1e-10, "Angstroms": 1e-10}  # fmt: skip
WAVE_NUMBER = re.compile(r"(2\s*\*?\s*(π|pi)\s*/|[kq](_?[xyz])?$)")  # 2π/nm; k, k_x, q
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d.,].*)?$")


def read_length(value: int | float | str, axis: Axis) -> float:
    """A length along an axis, in pixels.

    Parameters
    ----------
    value : int, float or str
        An integer is pixels, a float is in the axis' units (known or not), text carries its own unit
        (``"1.2 nm"``, ``"8 px"``).
    axis : Axis
        The axis along which the length is measured.

    Returns
    -------
    float
        Pixels, 0 or more.

    Raises
    ------
    InvalidArgumentError
        Not a number or text, negative, not finite, or a unit that does not fit the axis.

    Examples
    --------
    >>> from hs_deepatoms.bridge.axes import Axis
    >>> axis = Axis(name="x", size=64, units="nm", scale=0.02)
    >>> read_length(7, axis), read_length(0.5, axis), round(read_length("400 pm", axis), 6)
    (7.0, 25.0, 20.0)
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | str | np.number):
        raise _refused(value, axis, "Give one number, or text with a unit.")
    if isinstance(value, str):
        pixels = _pixels_of_text(value, axis)
    elif isinstance(value, int | np.integer):
        pixels = float(value)
    elif isinstance(value, np.complexfloating):
        raise _refused(value, axis, "Give a real number.")
    else:
        pixels = float(value) / axis.step if axis.step else np.nan
    if not np.isfinite(pixels) or pixels < 0:
        raise _refused(value, axis, "Give a finite length of 0 or more.")
    return float(pixels)


def unit_factor(from_units: str, to_units: str) -> float:
    """What a value in ``from_units`` is multiplied with to be in ``to_units``.

    Parameters
    ----------
    from_units, to_units : str
        Units in the spellings of microscopy (``"nm"``, ``"Å"``, ``"A"``, ``"angstrom"``, ``"um"``, ``"µm"``, ``"px"``),
        or whatever pint reads. ``"A"`` is angstrom.

    Raises
    ------
    InvalidArgumentError
        Unknown units, or units of different things (pixels are only pixels).

    Examples
    --------
    >>> unit_factor("nm", "pm")
    1000.0
    """
    first, second = _spelled(from_units), _spelled(to_units)
    if first == second or (first in PIXELS and second in PIXELS):
        return 1.0
    if first in METRES and second in METRES:
        # 10 ** whole number is exact, the ratio of two roundings is not
        return float(10.0 ** round(np.log10(METRES[first] / METRES[second])))
    if first in NO_UNITS or second in NO_UNITS:
        got = f"units {first or 'px'!r} to be read as {second or 'px'!r}"
        raise InvalidArgumentError(explain(got, "units of the same thing", CALIBRATE))
    return _factor_of_pint(first, second)


def same_units(first: str, second: str) -> bool:
    """Whether two texts are the same units, as "um", "µm" (micro sign) and "μm" (the Greek letter) are.

    Examples
    --------
    >>> same_units("A", "angstrom"), same_units("nm", "pm"), same_units("px", "nm")
    (True, False, False)
    """
    first, second = _spelled(first), _spelled(second)
    if first == second or (first in PIXELS and second in PIXELS):
        return True
    return first in METRES and METRES[first] == METRES.get(second)


def _spelled(units: str) -> str:
    """Units in one of the ways to write the same letters: µ, Å and A with a ring have several in Unicode."""
    return unicodedata.normalize("NFC", str(units)).replace("\u00b5", "\u03bc").strip()


def _plain(units: str) -> str:
    """Units without the marks of LaTeX, and with the one that a fraction of nothing means."""
    text = _spelled(units).strip("$[]").replace("{", "").replace("}", "")
    for mark, meant in ((r"\\mathring\s*A|\\AA", "Å"), (r"\\mu\s*", "µ"), (r"\\(mathrm|rm|,)\s*", "")):
        text = re.sub(mark, meant, text)
    return _spelled(re.sub(r"^(/|per\s)", "1/", text.strip()))


def unit_kind(units: str) -> str:
    """What units measure: "pixel", "length", "reciprocal", "angle", "energy", "time", "other" or "unknown".

    "energy" and "time" only where nothing else can be meant: pint reads Nm as torque and a as a year.
    """
    text = _plain(units)
    if text in PIXELS:
        return "pixel"
    if text == UNKNOWN_UNITS:
        return "unknown"
    if text in METRES:
        return "length"
    if WAVE_NUMBER.match(text):
        return "reciprocal"
    try:
        unit = _pint_unit(text)
    except InvalidArgumentError:
        return "reciprocal" if re.search(r"^1\s*/|(\^|\*\*)?\s*[-−]\s*1$|⁻¹$", text) else "unknown"
    if unit.dimensionless:
        angle = any(name in str(unit) for name in ("radian", "degree", "turn", "arc"))
        return "angle" if angle else "other"
    if str(unit.dimensionality) == "[mass] * [length] ** 2 / [time] ** 2":
        return "energy" if re.search("volt|joule|hartree|rydberg", str(unit)) else "other"
    powers = dict(unit.dimensionality)
    if powers == {"[time]": 1}:
        return "other" if text == "a" else "time"
    return {(("[length]", 1),): "length", (("[length]", -1),): "reciprocal"}.get(tuple(powers.items()), "other")


def _pixels_of_text(text: str, axis: Axis) -> float:
    found = NUMBER.match(text)
    if found is None or not found.group(2):
        raise _refused(text, axis, "Write a number and a unit, with a decimal point.")
    number, units = float(found.group(1)), found.group(2).strip()
    if units in PIXELS:
        return number
    try:
        return number * unit_factor(units, axis.units) / axis.step if axis.step else np.nan
    except InvalidArgumentError as error:
        todo = CALIBRATE if axis.units in NO_UNITS else ""
        raise _refused(text, axis, todo or f"Give a length in {axis.units}, or an integer number of pixels.") from error


def _refused(value: Any, axis: Axis, todo: str) -> InvalidArgumentError:
    units = "values of the axis, whose units are not set" if axis.units == UNKNOWN_UNITS else axis.units
    got = f"the length {value!r} along axis {axis.name!r} in {units}"
    allowed = f"an integer (pixels), a float ({units}), or text with a unit such as '1.2 nm' or '8 px'"
    return InvalidArgumentError(explain(got, allowed, todo))


def _factor_of_pint(first: str, second: str) -> float:
    import pint

    try:
        return float((1 * _pint_unit(first)).to(_pint_unit(second)).magnitude)
    except pint.PintError as error:
        message = explain(f"units {first!r} to be read as {second!r}", "units of the same thing", f"({error})")
        raise InvalidArgumentError(message) from error


def _pint_unit(text: str) -> Any:
    import pint

    # the registry HyperSpy uses; nothing is defined in it here
    spelled = re.sub(r"(?<![A-Za-zµμ])(A|Ang|ang|Angstroms?|\u212b)(?![A-Za-z])", "angstrom", text)
    try:
        return pint.get_application_registry().Unit(spelled)
    except Exception as error:  # pint lets errors of its parser and of Python's tokenizer through
        message = explain(f"the unit {text!r}", "units such as nm, Å, pm, µm, 1/nm, mrad, s, px", f"({error})")
        raise InvalidArgumentError(message) from error
