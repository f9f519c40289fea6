"""Pixels to calibrated units: positions, uncertainties, peak widths and angles. Pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hs_deepatoms.bridge.axes import Axis


ROWS = 2**18  # of a table, that are converted at a time


def local_scale(axis: Axis, position: np.ndarray) -> np.ndarray:
    """Signed units per pixel of ``axis`` at sub-pixel positions (n,): the slope over one pixel."""
    if axis.values is None and axis.scale is not None:
        return np.broadcast_to(float(axis.scale), np.shape(position))
    position = np.asarray(position, float)
    inside = np.clip(position, 0.5, max(axis.size - 1.5, 0.5))
    return np.asarray(axis.to_value(inside + 0.5)) - np.asarray(axis.to_value(inside - 0.5))


def scale_peak(
    width_y: np.ndarray, width_x: np.ndarray, rotation: np.ndarray, scale_y: np.ndarray, scale_x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A rotated Gaussian peak seen in other units: its sigmas (n,) and angle (n,) under x -> scale_x x, y -> scale_y y.

    With different scales a rotated peak changes its angle too, so the whole covariance is transformed. Which of the
    two sigmas is called x stays with the axis nearest to the one it belonged to.
    """
    cosine, sine = np.cos(rotation), np.sin(rotation)
    xx = scale_x**2 * ((width_x * cosine) ** 2 + (width_y * sine) ** 2)
    yy = scale_y**2 * ((width_x * sine) ** 2 + (width_y * cosine) ** 2)
    xy = scale_x * scale_y * cosine * sine * (width_x**2 - width_y**2)
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    large, small = np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    wanted = np.arctan2(scale_y * sine, scale_x * cosine)
    swap = np.abs(np.sin(angle - wanted)) > np.sqrt(0.5)
    angle = np.where(swap, angle + np.pi / 2, angle)
    round_peak = half <= 1e-12 * np.maximum(middle, np.finfo(float).tiny)
    angle = np.where(round_peak, wanted, angle)
    return np.where(swap, large, small), np.where(swap, small, large), (angle + np.pi / 2) % np.pi - np.pi / 2


def calibrate_columns(
    columns: dict[str, np.ndarray],
    y_px: np.ndarray,
    x_px: np.ndarray,
    y_axis: Axis,
    x_axis: Axis,
    *,
    owned: bool = False,
) -> dict[str, np.ndarray]:
    """Columns given in pixels (``y_std_px``, ``width_x_px``, ...) become calibrated ones (``y_std``, ``width_x``, ...).

    ``yx_corr`` and ``rotation`` belong to pixels when the quantities beside them do, and are converted with them.
    Columns that are ``owned`` are written to: of millions of rows copies are too many.
    """
    columns = dict(columns)
    scale_y, scale_x = local_scale(y_axis, y_px), local_scale(x_axis, x_px)
    if "y_std_px" in columns or "x_std_px" in columns:
        if "yx_corr" in columns:
            columns["yx_corr"] = _times(columns["yx_corr"], np.sign(scale_y) * np.sign(scale_x), owned)
        for name, scale in (("y_std", scale_y), ("x_std", scale_x)):
            if f"{name}_px" in columns:
                columns[name] = _times(columns.pop(f"{name}_px"), np.abs(scale), owned)
    if "width_y_px" in columns and "width_x_px" in columns and "rotation" in columns:
        peak = columns.pop("width_y_px"), columns.pop("width_x_px"), columns["rotation"]
        made = [v if owned and v.dtype == _real(v) else np.empty(v.shape, _real(v)) for v in peak]
        for start in range(0, y_px.size, ROWS):  # a part at a time: it takes a dozen arrays on the way
            rows = slice(start, start + ROWS)
            for whole, part in zip(made, scale_peak(*(v[rows] for v in (*peak, scale_y, scale_x))), strict=True):
                whole[rows] = part
        columns["width_y"], columns["width_x"], columns["rotation"] = made
    for name, scale in (("width_y", scale_y), ("width_x", scale_x), ("y_spread", scale_y), ("x_spread", scale_x)):
        if f"{name}_px" in columns:
            columns[name] = _times(columns.pop(f"{name}_px"), np.abs(scale), owned)
    return columns


def _times(values: np.ndarray, factor: np.ndarray, owned: bool) -> np.ndarray:
    """The product in the precision of the values; in their place if they are ``owned``."""
    made = values if owned and values.dtype == _real(values) else np.empty(values.shape, _real(values))
    return np.multiply(values, factor, out=made, casting="same_kind")


def _real(values: np.ndarray) -> np.dtype:
    return np.result_type(values.dtype, np.float32)
