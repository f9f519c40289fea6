"""To atomap's objects and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.optional import require
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.positions import positions
from hs_deepatoms.tables.units import in_pixels

if TYPE_CHECKING:
    import xarray as xr

UNFITTED = (1.0, 1.0, 0.01)  # sigmas and rotation of an atomap column that nobody fitted
PIXELS = ("", "px", "pix", "pixel", "pixels")


def to_atomap(ds: xr.Dataset, signal: Any = None, *, frame: int = 0) -> Any:
    """The atoms of one frame as an ``atomap.atom_lattice.Atom_Lattice``, one sublattice per species.

    Parameters
    ----------
    ds
        Positions table.
    signal
        The image of the atoms: HyperSpy signal, DataArray or array. None: an image of zeros, on which atomap can do
        whatever needs no intensities.
    frame
        Flattened frame.

    Returns
    -------
    atomap.atom_lattice.Atom_Lattice
        Positions in pixels, (x, y); fitted widths, rotation and volume where the table has them; pixel size and units.

    Raises
    ------
    MissingExtraError
        Without atomap.
    TableError
        If there is no such frame, the table does not know its axes, or pixels are not squares: atomap has one size.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> atoms = hs_deepatoms.positions([4.0, 9.0], [5.0, 12.0], signal=np.ones((16, 20)))
    >>> atoms.deepatoms.to_atomap().sublattice_list[0].x_position.tolist()  # doctest: +SKIP
    [5.0, 12.0]
    """
    require("atomap.api", "atomap", "to_atomap")  # its parts can only be imported after this
    lattices, parts = require("atomap.atom_lattice", "atomap"), require("atomap.sublattice", "atomap")
    ds = schema.dropna(ds)
    axes = schema.known_axes(ds, "to_atomap")[1][-2:]
    size, units = _pixel(axes)
    image = _image(signal, axes, frame)
    grid = frame_grid(ds)
    if not 0 <= frame < max(grid.n_frames, 1):
        raise TableError(explain(f"frame={frame}", f"0 to {grid.n_frames - 1}", "Choose a frame that exists."))
    atoms = in_pixels(ds).isel({schema.DIM: frame_of(ds, grid) == frame})
    made = []
    for name, rows in _by_species(atoms):
        of = atoms.isel({schema.DIM: rows})
        part = parts.Sublattice(np.column_stack([of["x"], of["y"]]), image=image, name=name, pixel_size=size,
                                units=units)  # fmt: skip
        _write_fit(part.atom_list, of)
        made.append(part)
    lattice = lattices.Atom_Lattice(image=image, name="hs_deepatoms", sublattice_list=made)
    lattice.pixel_size, lattice.units = size, units
    return lattice


def from_atomap(lattice: Any, *, signal: Any = None) -> xr.Dataset:
    """A positions table from an atomap ``Sublattice`` or ``Atom_Lattice``.

    Parameters
    ----------
    lattice
        Several sublattices become species with the sublattices' names.
    signal
        The image, for its calibration and metadata. None: atomap's own image, pixel size and units.

    Returns
    -------
    xarray.Dataset
        With ``width_y``, ``width_x`` and ``rotation`` (ours turns from +x towards +y, atomap's the other way round)
        where atomap fitted the columns.

    Raises
    ------
    InvalidArgumentError
        If it is none of the two.

    Examples
    --------
    >>> import atomap.api as am, hs_deepatoms  # doctest: +SKIP
    >>> hs_deepatoms.from_atomap(am.dummy_data.get_simple_cubic_sublattice()).sizes["atom"]  # doctest: +SKIP
    400
    """
    parts = list(getattr(lattice, "sublattice_list", [lattice]))
    if not parts or not all(hasattr(part, "atom_list") for part in parts):
        raise InvalidArgumentError(explain(f"a {type(lattice).__name__}", "an atomap Sublattice or Atom_Lattice",
                                           "Use hs_deepatoms.positions for others."))  # fmt: skip
    atoms = [atom for part in parts for atom in part.atom_list]
    read = lambda name: np.array([getattr(atom, name) for atom in atoms], float)  # noqa: E731
    columns: dict[str, np.ndarray] = {}
    widths = read("sigma_x"), read("sigma_y"), read("rotation")
    if atoms and not all(np.all(values == default) for values, default in zip(widths, UNFITTED, strict=True)):
        turned = (-widths[2] + np.pi / 2) % np.pi - np.pi / 2
        columns |= {"width_x_px": widths[0], "width_y_px": widths[1], "rotation": turned}
    if len(parts) > 1:
        names = [part.name or f"sublattice {k}" for k, part in enumerate(parts)]
        names = [f"{name} {k}" if names.count(name) > 1 else name for k, name in enumerate(names)]
        columns["species"] = np.repeat(np.array(names, dtype=str), [len(part.atom_list) for part in parts])
    source = _calibrated(lattice) if signal is None else signal
    return positions(read("pixel_y"), read("pixel_x"), signal=source, units="px", columns=columns)


def _pixel(axes) -> tuple[float, str]:
    same = same_units(axes[0].units, axes[1].units) and np.isclose(axes[0].step, axes[1].step, rtol=1e-6)
    if not same or any(axis.values is not None for axis in axes):
        got = " and ".join(f"{axis.step:.6g} {axis.units}" for axis in axes)
        raise TableError(explain(f"pixels of {got}", "square pixels on regular axes", "Use to_units('px') first."))
    return float(axes[0].step), "pixel" if axes[0].units == "px" else axes[0].units


def _image(signal: Any, axes, frame: int) -> np.ndarray:
    shape = tuple(axis.size for axis in axes)
    if signal is None:
        return np.zeros(shape)
    from hs_deepatoms.bridge.source import read_source

    data = read_source(signal, operation="to_atomap").data
    data = data.reshape((-1, *data.shape[-2:]))
    image = data[frame if data.shape[0] > 1 else 0]
    if image.shape != shape:
        raise TableError(explain(f"an image of {image.shape}", f"one of {shape}, the atoms'", "Give their image."))
    return np.asarray(image.compute() if hasattr(image, "compute") else image)


def _by_species(atoms: xr.Dataset) -> list[tuple[str, np.ndarray]]:
    if "species" not in atoms.variables:
        return [("atoms", np.ones(atoms.sizes[schema.DIM], bool))]
    values, names = atoms["species"].values, category_names(atoms["species"].attrs)
    return [(names.get(int(one), f"species {one:g}"), values == one) for one in np.unique(values)]


def _write_fit(columns: list, of: xr.Dataset) -> None:
    fitted = all(name in of.variables for name in ("width_x", "width_y"))
    if not fitted:
        return
    turn = of["rotation"].values if "rotation" in of.variables else np.zeros(len(columns))
    height = of["height"].values if "height" in of.variables else np.full(len(columns), np.nan)
    values = (of["width_x"].values, of["width_y"].values, turn, height)
    for atom, width_x, width_y, angle, top in zip(columns, *values, strict=True):  # atomap has an object per column
        if np.isfinite([width_x, width_y, angle]).all():
            atom.sigma_x, atom.sigma_y, atom.rotation = float(width_x), float(width_y), float(-angle)
        if np.isfinite(top):
            atom.amplitude_gaussian = float(2 * np.pi * width_x * width_y * top)


def _calibrated(lattice: Any) -> xr.DataArray:
    import xarray as xr

    image = np.asarray(lattice.image)
    units, size = str(getattr(lattice, "units", "") or ""), float(getattr(lattice, "pixel_size", 1.0) or 1.0)
    array = xr.DataArray(image, dims=("y", "x"))
    if units in PIXELS:
        return array
    for axis, dim in enumerate(array.dims):
        array = array.assign_coords({dim: (dim, np.arange(image.shape[axis]) * size, {"units": units})})
    return array
