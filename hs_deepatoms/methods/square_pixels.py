"""Whether pixels are square: asked before pictures are turned, which is done from pixel to pixel."""

from __future__ import annotations

from collections.abc import Sequence

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import unit_factor

NEARLY, MOST = 0.01, 0.05  # share by which steps differ: from there on said, and refused


def check_square(axes: Sequence[Axis], operation: str) -> None:
    """Refuse to turn pictures whose pixels are not square: a turned motif would be another one.

    Steps that differ by more than 1 % are said in a warning. Where the units of y and x cannot be compared (one axis
    is calibrated, the other is not), pixels are taken as square, with a warning.

    Parameters
    ----------
    axes : (Axis, Axis)
        y and x.
    operation : str
        Who asks.

    Raises
    ------
    InvalidAxesError
        If the steps differ by more than 5 %.

    Examples
    --------
    >>> y, x = Axis(name="y", size=9, units="pm", scale=-40.0), Axis(name="x", size=9, units="nm", scale=0.02)
    >>> check_square((y, x), "rvae")
    Traceback (most recent call last):
    hs_deepatoms._core.errors.InvalidAxesError: Got pixels of 40 pm along y and 0.02 nm along x for rvae, which turns pictures pixel by pixel. Allowed: square pixels. Resample the image first (interpolate_on_axis or rebin of the signal), or leave "rotation" out of the invariances.
    """  # noqa: E501
    y, x = axes
    try:
        along_y, along_x = y.step * unit_factor(y.units, x.units), x.step
    except InvalidArgumentError:
        warn_user(f"y is in {y.units} and x in {x.units}: {operation} turns pictures as if their pixels were square")
        return
    short, long = sorted((along_y, along_x))
    if long - short <= NEARLY * short:
        return
    steps = f"pixels of {y.step:.4g} {y.units} along y and {x.step:.4g} {x.units} along x"
    if long - short > MOST * short:
        todo = ('Resample the image first (interpolate_on_axis or rebin of the signal), or leave "rotation" out of the '
                "invariances.")  # fmt: skip
        got = f"{steps} for {operation}, which turns pictures pixel by pixel"
        raise InvalidAxesError(explain(got, "square pixels", todo))
    warn_user(f"{steps} are not quite square: {operation} turns pictures as if they were, angles are somewhat wrong")
