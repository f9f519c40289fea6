"""Whatever the user hands over, read into one labelled shape: navigation dimensions first, then the signal's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidAxesError, InvalidImageError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import (
    Axis,
    axis_of_coordinate,
    axis_of_signal,
    choose_names,
    has_scale,
    named_axes,
    text_or_none,
    units_of,
)
from hs_deepatoms.bridge.checks import check_image_source
from hs_deepatoms.bridge.fields import stored_fields
from hs_deepatoms.bridge.metadata import metadata_of_array, metadata_of_signal
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.signal_dims import signal_dims_of

if TYPE_CHECKING:
    import dask.array as da

__all__ = ["Source", "check_image_source", "crop_region", "is_dask", "read_source"]

NOUNS = {1: "spectra (one signal dimension)", 2: "images (two signal dimensions)"}
ACCEPTED = "a HyperSpy signal, an xarray.DataArray, or a NumPy or dask array"


@dataclass(frozen=True, eq=False)
class Source:
    """What a method was given, whatever it was.

    Parameters
    ----------
    data : numpy.ndarray or dask.array.Array
        Shape: sizes of ``navigation``, then of ``signal``. A view of the input where NumPy allows.
    navigation, signal : tuple of Axis
        Slowest first; the last two signal axes of an image are y and x.
    metadata : dict
        Plain and JSON-able.
    provenance : list of dict
        What the input carried.
    kind : {"signal", "xarray", "array"}
        What the input was.
    signal_type : str
        HyperSpy's signal type, empty if there is none.
    lazy : bool
        Whether ``data`` is a dask array.
    title : str
        Title, empty if there is none.
    original : object
        The input itself.
    """

    data: np.ndarray | da.Array
    navigation: tuple[Axis, ...]
    signal: tuple[Axis, ...]
    metadata: dict = field(default_factory=dict)
    provenance: list[dict] = field(default_factory=list)
    kind: str = "array"
    signal_type: str = ""
    lazy: bool = False
    title: str = ""
    original: Any = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        """All axes, in the order of ``data``."""
        return (*self.navigation, *self.signal)


def read_source(
    obj: Any,
    *,
    signal_dims: Sequence[str | int] | None = None,
    n_signal: int | None = 2,
    operation: str = "find_atoms",
) -> Source:
    """Read a signal, DataArray or array as labelled data.

    Parameters
    ----------
    obj : hyperspy signal, xarray.DataArray, numpy or dask array
        Any number of navigation dimensions.
    signal_dims : sequence of str or int, optional
        Names (or places) of the signal dimensions, slowest first. Default: HyperSpy's signal axes; of a DataArray its
        attribute ``signal_dims``; else the last ``n_signal`` dimensions.
    n_signal : int or None
        Number of signal dimensions that the operation takes. None: any; then a DataArray or array must say which.
    operation : str
        Name of the method, for messages.

    Returns
    -------
    Source

    Raises
    ------
    InvalidImageError
        Not one of the accepted kinds, a ragged signal, or the wrong number of signal dimensions.
    InvalidAxesError
        ``signal_dims`` that are not there or not unique; too few dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> source = read_source(np.zeros((3, 32, 40)))
    >>> [axis.name for axis in source.axes], source.signal[1].units
    (['nav_0', 'y', 'x'], 'px')
    """
    import xarray as xr

    if hasattr(obj, "axes_manager"):
        return _read_signal(obj, signal_dims, n_signal, operation)
    if isinstance(obj, xr.DataArray):
        return _read_xarray(obj, signal_dims, n_signal, operation)
    if isinstance(obj, np.ndarray) or is_dask(obj):
        return _read_array(obj, signal_dims, n_signal, operation)
    todo = "Convert it, for example with numpy.asarray."
    if isinstance(obj, str | PurePath):
        todo = "Open the file first: signal = hs.load(...)."
    elif isinstance(obj, xr.Dataset):
        todo = f"Choose one of its variables: {', '.join(map(repr, map(str, obj.data_vars)))}."
    elif isinstance(obj, list | tuple):
        todo = "Give one at a time: hs.load returns a list for a file with several signals."
    got = f"a {type(obj).__module__}.{type(obj).__qualname__} for {operation}"
    raise InvalidImageError(explain(got, ACCEPTED, todo))


def _check_known_shape(data: Any, operation: str) -> None:
    if is_dask(data) and not all(np.isfinite(size) for size in data.shape):
        got = f"a dask array whose shape is not known, {tuple(data.shape)}, for {operation}"
        raise InvalidImageError(explain(got, "known shapes and chunks", "Use array.compute_chunk_sizes() first."))


def is_dask(data: Any) -> bool:
    """Whether data is a dask array, without importing dask."""
    return hasattr(data, "dask") and hasattr(data, "chunks")


def _read_signal(signal: Any, signal_dims, n_signal: int | None, operation: str) -> Source:
    manager = signal.axes_manager
    if manager.ragged:
        todo = "Use one signal with a navigation axis, whose images all have one shape."
        raise InvalidImageError(explain(f"a ragged signal for {operation}", "signals of one shape", todo))
    given = named_axes(signal)
    names = list(given)
    for name, axis in given.items():
        if axis.is_uniform and not has_scale(axis):
            _warn_of_scale(name, f"scale {axis.scale:g} and offset {axis.offset:g}", "axis.scale = ...")
    axes = [axis_of_signal(axis, name=name) for name, axis in given.items()]
    if signal_dims is None:
        places = [i for i, axis in enumerate(axes) if not axis.navigate]
        _check_signal_class(signal, len(places), n_signal, operation)
    else:
        places = _places(signal_dims, names, n_signal, operation)
    metadata, provenance = metadata_of_signal(signal)
    return _arranged(
        signal.data, axes, places, metadata=metadata, provenance=provenance, kind="signal", original=signal,
        signal_type=str(signal.metadata.get_item("Signal.signal_type") or ""),
        title=str(signal.metadata.get_item("General.title") or ""),
    )  # fmt: skip


def _read_xarray(array: Any, signal_dims, n_signal: int | None, operation: str) -> Source:
    _check_known_shape(array.data, operation)
    if not all(isinstance(dim, str) for dim in array.dims):
        array = array.rename({dim: str(dim) for dim in array.dims})
    dims = list(array.dims)
    wanted = signal_dims if signal_dims is not None else signal_dims_of(array)
    places = _places(wanted, dims, n_signal, operation)
    metadata, provenance, signal_type = metadata_of_array(array)
    axes = [_axis_of_dim(array, dim, navigate=place not in places) for place, dim in enumerate(array.dims)]
    title = (metadata.get("General") or {}).get("title") or array.attrs.get("long_name") or array.name or ""
    return _arranged(
        array.data, axes, places, metadata=metadata, provenance=provenance, kind="xarray", original=array,
        signal_type=signal_type, title=str(title),
    )  # fmt: skip


def _axis_of_dim(array: Any, dim: Any, *, navigate: bool) -> Axis:
    coordinate, stored = array.coords.get(dim), stored_fields(array, dim)
    if coordinate is not None and coordinate.size > 1 and coordinate.dtype.kind in "iuf":
        if (coordinate.values == coordinate.values[0]).all():
            _warn_of_scale(str(dim), f"the value {coordinate.values[0]:g} throughout", "give it other coordinates.")
    return axis_of_coordinate(
        None if coordinate is None else coordinate.values,
        name=str(dim),
        size=array.sizes[dim],
        units=None if coordinate is None else units_of(coordinate),
        navigate=navigate,
        named=not stored or stored.get("dim") != str(dim) or bool(stored.get("name")),
        scale=stored.get("scale") or 1.0,
    )


def _warn_of_scale(name: str, got: str, todo: str) -> None:
    warn_user(explain(f"axis {name!r} with {got}", "finite values that differ from pixel to pixel",
                      f"It is read in pixels. Calibrate it: {todo}"))  # fmt: skip


def _read_array(array: Any, signal_dims, n_signal: int | None, operation: str) -> Source:
    _check_known_shape(array, operation)
    places = _places(signal_dims, [], n_signal, operation, ndim=array.ndim)
    navigate = [place not in places for place in range(array.ndim)]
    names = choose_names([None] * array.ndim, navigate)
    axes = [
        Axis(name=name, size=int(size), navigate=nav, named=False)
        for name, size, nav in zip(names, array.shape, navigate, strict=True)
    ]
    return _arranged(array, axes, places, metadata={"General": {"title": ""}}, original=array)


def _arranged(data: Any, axes: Sequence[Axis], places: Sequence[int], **fields) -> Source:
    """Source with navigation dimensions first; ``places`` are the signal's, in the order they shall have."""
    from dataclasses import replace

    rest = [i for i in range(len(axes)) if i not in places]
    order = (*rest, *places)
    if isinstance(data, np.ma.MaskedArray):
        data = np.ma.filled(data.astype(np.result_type(data.dtype, np.float32)), np.nan)
    if order != tuple(range(len(axes))):
        data = data.transpose(order)
    return Source(
        data=data,
        navigation=tuple(replace(axes[i], navigate=True) for i in rest),
        signal=tuple(replace(axes[i], navigate=False) for i in places),
        lazy=is_dask(data),
        **fields,
    )


def _places(wanted, dims: Sequence[str], n_signal: int | None, operation: str, ndim: int | None = None) -> list[int]:
    """Places of the signal dimensions in the array."""
    ndim = len(dims) if ndim is None else ndim
    allowed = f"{n_signal} signal dimensions" if n_signal else "named signal dimensions"
    have = ", ".join(map(repr, dims)) if dims else f"an array of {ndim} dimensions"
    if wanted is None:
        if n_signal is None:
            todo = "Say which dimensions are the signal: signal_dims=('y', 'x') for images, ('energy',) for spectra."
            raise InvalidAxesError(explain(f"{have} for {operation}", "images or spectra", todo))
        if ndim < n_signal:
            todo = "Check how it was read or sliced."
            raise InvalidAxesError(explain(f"{have} for {operation}", f"at least {n_signal} dimensions", todo))
        return list(range(ndim - n_signal, ndim))
    if isinstance(wanted, Set):  # has no order: y and x would change places from one Python to the next
        got = f"signal_dims={wanted!r} for {operation}"
        raise InvalidAxesError(explain(got, "a tuple or list, slowest first", "For example signal_dims=('y', 'x')."))
    wanted = [wanted] if not isinstance(wanted, Iterable) or isinstance(wanted, str) else list(wanted)
    places = [_place(name, dims, ndim) for name in wanted]
    if None in places or len(set(places)) < len(places):
        got = f"signal_dims={tuple(wanted)!r} for {operation}, of {have}"
        what, example = ("names", tuple(dims[-2:])) if dims else ("numbers", (0, 1))
        todo = f"Leave it out for the last ones, or give for example {example!r}."
        raise InvalidAxesError(explain(got, f"{what} of its dimensions, each once", todo))
    if n_signal is not None and len(places) != n_signal:
        got = f"{len(places)} signal dimensions {tuple(wanted)!r} for {operation}"
        raise InvalidAxesError(explain(got, allowed, f"Give signal_dims= with {n_signal} of {have}."))
    return places


def _place(name: Any, dims: Sequence[str], ndim: int) -> int | None:
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return int(name) % ndim if -ndim <= name < ndim else None
    return dims.index(name) if name in dims else None


def _check_signal_class(signal: Any, found: int, n_signal: int | None, operation: str) -> None:
    if n_signal is None or found == n_signal:
        return
    names = ", ".join(text_or_none(axis.name) or "unnamed" for axis in signal.axes_manager.signal_axes) or "none"
    kind, plural = type(signal).__name__, "" if found == 1 else "s"
    got = f"a{'n' * (kind[0] in 'AEIOU')} {kind} with {found} signal dimension{plural} ({names}) for {operation}"
    todo = (
        f"If it holds {NOUNS.get(n_signal, 'such data').split(' ')[0]}, use signal.transpose(signal_axes={n_signal})."
    )
    if len(signal.axes_manager._axes) < n_signal:
        todo = "Check how it was read or sliced."
    raise InvalidImageError(explain(got, NOUNS.get(n_signal, f"{n_signal} signal dimensions"), todo))
