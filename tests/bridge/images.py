"""The standard test image of the bridge: not square, every axis calibrated differently, nothing by default."""

from __future__ import annotations

import hyperspy.api as hs
import numpy as np

SIGNAL = (("row", 20, "nm", 0.02, 3.0), ("column", 27, "pm", 30.0, -5.0))
NAVIGATION = (("time", 3, "s", 0.5, 1.0), ("tilt", 4, "deg", 2.0, -6.0), ("dose", 2, "e", 10.0, 5.0))


def axes_of(n_navigation: int = 1, n_signal: int = 2) -> list[dict]:
    fields = [*NAVIGATION[:n_navigation], *SIGNAL[2 - n_signal :]]
    return [
        {"name": name, "size": size, "units": units, "scale": scale, "offset": offset, "navigate": i < n_navigation}
        for i, (name, size, units, scale, offset) in enumerate(fields)
    ]


def standard(n_navigation: int = 1, n_signal: int = 2, *, lazy: bool = False, dtype=np.float32):
    """Signal of shape (3, 4, 2)[:n_navigation] + (20, 27)[-n_signal:]."""
    axes = axes_of(n_navigation, n_signal)
    shape = tuple(axis["size"] for axis in axes)
    data = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)
    signal = (hs.signals.Signal2D if n_signal == 2 else hs.signals.Signal1D)(data, axes=axes)
    signal.metadata.General.title = "standard"
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
    signal.original_metadata.set_item("file.version", (1, 2))
    return signal.as_lazy() if lazy else signal


def assert_equal(first, second) -> None:
    """Nested values are equal, with their types."""
    assert type(first) is type(second), (first, second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, two in zip(first, second, strict=True):
            assert_equal(one, two)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype and first.shape == second.shape
        if first.dtype == object:
            assert_equal(first.tolist(), second.tolist())
        else:
            assert first.tobytes() == second.tobytes()
    else:
        assert first == second or (first != first and second != second)


def assert_same_signal(first, second, *, chunks: bool = True) -> None:
    """Data, dtype, chunks, every field of every axis, both metadata, class."""
    from hs_deepatoms.bridge.metadata import tree_dictionary

    assert type(first) is type(second)
    assert first.data.dtype == second.data.dtype
    if chunks and first._lazy:
        assert first.data.chunks == second.data.chunks
    np.testing.assert_array_equal(np.asarray(first.data), np.asarray(second.data))
    assert_equal(first.axes_manager._get_axes_dicts(), second.axes_manager._get_axes_dicts())
    assert first.axes_manager.navigation_indices_in_array == second.axes_manager.navigation_indices_in_array
    assert_equal(tree_dictionary(first.metadata), tree_dictionary(second.metadata))
    assert_equal(tree_dictionary(first.original_metadata), tree_dictionary(second.original_metadata))
