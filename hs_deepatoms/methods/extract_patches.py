"""``extract_patches``: image and positions (or a grid) -> patches that remember where they came from."""

from __future__ import annotations

from typing import Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.patches import is_patches, write_patches
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.methods.patch_set import Request, read_patch_set


def extract_patches(
    signal: Any,
    atoms: Any = None,
    *,
    window: int | float | str | tuple | None = None,
    grid: int | float | str | tuple | None = None,
    channels: str | None = None,
    centring: str | None = None,
    edge: str = "drop",
    normalisation: str | None = None,
    signal_dims: tuple[str, str] | None = None,
    lazy_output: bool | None = None,
) -> Any:
    """Patches around atoms, or at every step of a grid.

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), real numbers; also the maps of ``segment``.
    atoms : xarray.Dataset, optional
        A positions table of these images, or of others with the same coordinates.
    window : int, float, str or pair of them
        Side of a patch, or height and width: pixels (int), axis units (float), ``"1.2 nm"``; rounded to whole pixels.
        None: about twice the typical distance between atoms.
    grid : int, float, str or pair of them, optional
        Instead of atoms: the step between the middles of patches. 1 with ``edge="reflect"`` is a patch per pixel.
    channels : str, optional
        Name of the navigation axis that holds channels (detectors, classes) of one image.
    centring : {"subpixel", "integer"}, optional
        Interpolated so that the position is exactly in the middle (default for atoms), or whole pixels as they are
        (default for a grid); then ``patch_offset_y`` and ``patch_offset_x`` say where the position lies in the patch.
    edge : {"drop", "reflect", "mask"}
        What to do where a window leaves the image: leave the atom out (with a warning; its id is in ``.dropped``),
        mirror the image, or fill with NaN.
    normalisation : {"mean", "zscore", "minmax", "norm"}, optional
        Each patch by itself.
    signal_dims : tuple of str, optional
        Names of y and x, where the input does not say.
    lazy_output : bool, optional
        None: as the input is.

    Returns
    -------
    AtomPatches or xarray.DataArray
        Of a signal: an ``AtomPatches`` signal, data (channel,) atom, y, x; its atom axis has the ids of the table as
        values, ``.atoms`` is the table, ``.dropped`` the ids without a patch by reason. Of anything else: a DataArray,
        dims (channel,) ``atom``, ``window_y``, ``window_x``, with the columns of the table as coordinates. By frame,
        then row-major. float32 (float64 of float64); whole pixels keep their dtype.

    Raises
    ------
    InvalidArgumentError
        A window larger than the image, no patch left, atoms and grid, patches instead of images.
    TableError
        A table that is none, or of other frames.
    InvalidImageError, InvalidAxesError
        Data that is no image.

    Notes
    -----
    Interpolation: cubic convolution (Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1153 (1981),
    doi:10.1109/TASSP.1981.1163711).

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal2D(np.random.default_rng(0).random((40, 50)))
    >>> atoms = hs_deepatoms.positions([10.0, 20.5], [12.0, 30.25], signal=s)
    >>> s.extract_patches(atoms, window=9)
    <AtomPatches, title: patches, dimensions: (2|9, 9)>
    >>> s.extract_patches(grid=8, window=(8, 10)).data.shape
    (30, 8, 10)
    """
    if is_patches(signal):
        got = "patches for extract_patches"
        raise InvalidArgumentError(explain(got, "images", "Give the image that they were cut from."))
    request = Request(window, grid, channels, centring, edge, normalisation, signal_dims, lazy_output)
    found = read_patch_set(signal, atoms, request, operation="extract_patches")
    history = read_provenance(found.table.attrs.get("provenance"))
    counts = {reason: len(ids) for reason, ids in found.notes["dropped"].items()}
    entry = provenance_entry("extract_patches", {**found.notes, "window": window, "dropped": counts})
    title = f"patches of {found.source.title}" if found.source.title else "patches"
    return write_patches(found.source, found.data, found.table, axes=found.axes, channel=found.channel,
                         notes=found.notes, title=title, provenance=[*history, entry])  # fmt: skip
