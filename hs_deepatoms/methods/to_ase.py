"""Tables of positions to ``ase.Atoms`` and back, with calibration, provenance and uncertainties."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_number, is_whole
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.methods.bonds import angstrom
from hs_deepatoms.methods.elements import atomic_numbers, classes_of
from hs_deepatoms.structure.ase import build_atoms, read_box
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.build import build_table
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.history import with_entry

if TYPE_CHECKING:
    import xarray as xr
    from ase import Atoms

VACUUM = 5.0  # Å above and below the atoms
PIXEL = 0.1  # Å: of a structure that no image belongs to
UNITS = {"z": "Å", "atom_energy": "eV", "kinetic_energy": "eV", "potential_energy": "eV"} | {
    f"force_{one}": "eV/Å" for one in "xyz"
}


def to_ase(
    ds: xr.Dataset,
    *,
    frame: int = 0,
    species: Any = None,
    cell: str | Sequence[Any] = "auto",
    vacuum: float | str = VACUUM,
    pbc: bool | Sequence[bool] = False,
    z: float | str | Callable | None = None,
) -> Atoms:
    """The atoms of one frame as an ``ase.Atoms``. Numbers are in Å, as everywhere in ASE; text carries its own unit.

    Parameters
    ----------
    ds
        Positions table with axes in a unit of length.
    frame
        Flattened frame.
    species
        ``{class number or name: symbol}``, in any order; one symbol for all; None: the classes' names are symbols.
    cell
        ``"auto"``: the field of the image, as high as the atoms and ``vacuum`` on both sides. Sides (x, y) or
        (x, y, z), or three vectors.
    vacuum
        Empty space above and below, for cells that do not say their z.
    pbc
        Whether the cell repeats: one for all, or along (x, y, z).
    z
        Height along the beam: a number; the name of a column of the table; ``function(y, x)`` of positions in Å; text
        such as ``"0.3 nm"``. None: flat. The lowest atom is then moved to ``vacuum`` above the cell's bottom.

    Returns
    -------
    ase.Atoms
        x and y as in the image, from the corner of its first pixel; z along the beam, so that nothing is mirrored.
        ``info``: ``origin`` (of the cell, in the image's calibration, Å), ``pixel_size``, ``axes``, ``frame``,
        ``title``, ``provenance`` (JSON). ``arrays``: ``atom_id``, ``species_class``, ``score`` (probability) and
        ``sigma`` (n_atoms, 3; one-sigma uncertainties in Å, NaN along z).

    Raises
    ------
    TableError
        If a class has no element, the axes have no unit of length, or there is no such frame.
    InvalidArgumentError
        If the cell, pbc or z cannot be read.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> image = xr.DataArray(np.zeros((32, 48)), {"y": np.arange(32) * 0.1, "x": np.arange(48) * 0.1}, ("y", "x"))
    >>> for dim in image.dims: image[dim].attrs["units"] = "nm"
    >>> atoms = hs_deepatoms.positions([10.0], [20.0], signal=image).deepatoms.to_ase(species="C")
    >>> atoms.positions.round(6).tolist(), atoms.cell.lengths().round(6).tolist()
    ([[20.5, 10.5, 5.0]], [48.0, 32.0, 10.0])
    """
    ds, repeats = _one_frame(schema.dropna(ds), frame), _repeats(pbc)
    axes = schema.known_axes(ds, "to_ase")[1][-2:]
    to_angstrom = {name: angstrom(units, "to_ase") for name, units in schema.axis_units(ds).items()}
    y, x = (np.asarray(ds[name].values, float) * to_angstrom[name] for name in "yx")
    corner = [_corner(axis) * to_angstrom[name] for axis, name in zip(axes, "yx", strict=True)]
    numbers = atomic_numbers(ds, species, argument="species")
    empty = length_in_angstrom(vacuum, "vacuum")
    heights = _heights(z, ds, y, x)
    bottom = float(heights.min(initial=np.inf)) if heights.size else 0.0
    sides = tuple(axis.size * _step(axis) * to_angstrom[name] for axis, name in zip(axes, "yx", strict=True))
    box = read_box(cell, sides[::-1], float(np.ptp(heights)) if heights.size else 0.0, empty)
    origin = [corner[1], corner[0], bottom - empty]
    made = with_entry(ds, "to_ase", {"frame": frame, "species": species, "cell": cell, "pbc": pbc})
    return build_atoms(x - origin[0], y - origin[1], heights - origin[2], numbers, cell=box, pbc=repeats,
                       info=_info(made, origin, axes, to_angstrom, frame), arrays=_arrays(ds, to_angstrom))  # fmt: skip


def from_ase(structure: Any, *, signal: Any = None, pixel_size: float | str = PIXEL) -> xr.Dataset:
    """A positions table from ``ase.Atoms``, or from a list of them (a trajectory: a navigation axis ``step``).

    Parameters
    ----------
    structure
        ``ase.Atoms``; all of a list have the same image.
    signal
        The image: its first pixel's corner is the cell's origin, unless ``info["origin"]`` says where that is. None:
        the image that `to_ase` wrote down, else one in Å that covers the cell.
    pixel_size
        Of an image made up: Å, or text with a unit.

    Returns
    -------
    xarray.Dataset
        With ``species`` (symbols), ``z`` in Å, ``probability``, ``y_std``, ``x_std`` and ids where the structure has
        them; ``force_y``, ``force_x``, ``force_z`` in eV/Å and the attribute ``energy`` in eV where it was calculated,
        and ``atom_energy``, every atom's part of it, where the calculator knows parts.

    Raises
    ------
    InvalidArgumentError
        If it is no structure, or pixels have no size.

    Examples
    --------
    >>> from ase.build import graphene
    >>> import hs_deepatoms
    >>> hs_deepatoms.from_ase(graphene(vacuum=5)).x.values.round(3).tolist()
    [0.0, 1.23]
    """
    images = list(structure) if isinstance(structure, list | tuple) else [structure]
    if not images or not all(hasattr(one, "get_positions") and hasattr(one, "cell") for one in images):
        raise InvalidArgumentError(explain(f"a {type(structure).__name__}", "ase.Atoms, or a list of them",
                                           "Read a file with ase.io.read first."))  # fmt: skip
    pixel = length_in_angstrom(pixel_size, "pixel_size")
    if not pixel:
        raise InvalidArgumentError(explain(f"pixel_size={pixel_size!r}", "more than 0", "Leave it out for 0.1 Å."))
    several = len(images) > 1
    navigation = Axis(name="step", size=len(images), navigate=True) if several else None
    made = table_of(images, navigation, signal=signal, pixel=pixel)
    energies = [one.calc.results.get("energy") for one in images if one.calc is not None]
    if energies and None not in energies:
        made.attrs["energy"] = float(energies[0]) if not several else json.dumps([float(one) for one in energies])
    return with_entry(made, "from_ase", {"atoms": made.sizes[schema.DIM], "structures": len(images)})


def table_of(images: list, navigation: Axis | None, *, signal: Any = None, pixel: float = PIXEL,
             columns: dict[str, np.ndarray] | None = None) -> xr.Dataset:  # fmt: skip
    """The table of structures that are frames along an axis, or of one; ``columns`` are further ones."""
    axes, origin, history = _place(images[0], signal, pixel)
    y_px, x_px, read, ids = _read_columns(images, axes, origin)
    frame = np.repeat(np.arange(len(images)), [len(one) for one in images])
    named = ids is not None and navigation is None and np.unique(ids).size == ids.size
    return build_table(y_px, x_px, frame=frame, columns=read | (columns or {}), signal=axes, provenance=history,
                       navigation=[] if navigation is None else [navigation], units=UNITS,
                       ids=ids if named else None)  # fmt: skip


def length_in_angstrom(length: Any, name: str) -> float:
    """A number in Å, or text with its own unit.

    Raises
    ------
    InvalidArgumentError
        If it is neither, or not 0 or more.
    """
    from hs_deepatoms.bridge.lengths import read_length

    if isinstance(length, str):
        return read_length(length, Axis(name=name, size=1, units="Å", scale=1.0))
    if not is_number(length) or length < 0:
        raise InvalidArgumentError(explain(f"{name}={length!r}", "Å (0 or more) or text such as '0.5 nm'", "Give one."))
    return float(length)


def _one_frame(ds: xr.Dataset, frame: Any) -> xr.Dataset:
    grid = frame_grid(ds)
    if not is_whole(frame, 0, grid.n_frames - 1):
        raise TableError(explain(f"frame={frame!r}", f"0 to {grid.n_frames - 1}", "Choose a frame that exists."))
    return ds if not grid.columns else ds.isel({schema.DIM: frame_of(ds, grid) == frame})


def _repeats(pbc: Any) -> np.ndarray:
    """Whether the cell repeats along (x, y, z)."""
    given = np.asarray(pbc)
    if given.dtype.kind not in "biu" or not np.isin(given, (0, 1)).all() or given.shape not in ((), (3,)):
        raise InvalidArgumentError(explain(f"pbc={pbc!r}", "True, False, or three of these for (x, y, z)", "Give one."))
    return np.broadcast_to(given.astype(bool), 3)


def _corner(axis: Axis) -> float:
    """The smaller of the axis' two ends, where its outer pixels end."""
    return float(min(axis.to_value(-0.5), axis.to_value(axis.size - 0.5)))


def _step(axis: Axis) -> float:
    return abs(float(axis.to_value(axis.size - 0.5) - axis.to_value(-0.5))) / axis.size


def _heights(z: Any, ds: xr.Dataset, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    if callable(z):
        values = np.asarray(z(y, x), float)
    elif isinstance(z, str) and z in ds.variables:
        units = ds[z].attrs.get("units")
        values = np.asarray(schema.check_column(ds, z).values, float) * (angstrom(units, f"z={z!r}") if units else 1.0)
    elif isinstance(z, str):
        values = np.full(y.size, length_in_angstrom(z, "z (no column of this name)"))
    else:
        values = np.asarray(0.0 if z is None else z, float)
    if values.shape not in ((), y.shape) or not np.isfinite(values).all():
        raise InvalidArgumentError(explain(f"z of shape {values.shape}", f"finite heights, one or {y.size}",
                                           "Give a number, a column, or a function of (y, x)."))  # fmt: skip
    return np.broadcast_to(values, y.shape).astype(float)


def _info(ds: xr.Dataset, origin, axes, to_angstrom, frame: int) -> dict[str, Any]:
    title = schema.read_json(ds.attrs, "metadata", {}).get("General", {})
    sizes = [_step(axis) * to_angstrom[name] for axis, name in zip(axes, "yx", strict=True)]
    return {
        "title": str(title.get("title", "") if isinstance(title, dict) else ""), "frame": int(frame),
        "origin": np.array(origin, float), "pixel_size": np.array(sizes[::-1]),
        "axes": json.dumps([axis.as_dict() for axis in axes]), "provenance": ds.attrs["provenance"],
    }  # fmt: skip


def _arrays(ds: xr.Dataset, to_angstrom) -> dict[str, np.ndarray]:
    made = {"atom_id": np.asarray(ds[schema.DIM].values), "species_class": classes_of(ds)[0]}
    if "probability" in ds.variables:
        made["score"] = np.asarray(ds["probability"].values, float)
    if "y_std" in ds.variables and "x_std" in ds.variables:
        sigma = [np.asarray(ds[f"{name}_std"].values, float) * to_angstrom[name] for name in "xy"]
        made["sigma"] = np.stack([*sigma, np.full(len(sigma[0]), np.nan)], axis=1)
    return made


def _place(structure: Atoms, signal: Any, pixel: float) -> tuple[tuple[Axis, Axis], np.ndarray, list]:
    """Axes (y, x) of the image, where the cell's origin lies in them (x, y, z; Å), and what is known of before."""
    info = structure.info
    history = schema.read_json(info, "provenance", [])
    if signal is not None:
        from hs_deepatoms.bridge.source import read_source

        axes = tuple(read_source(signal, n_signal=2, operation="from_ase").signal[-2:])
    else:
        stored = schema.read_json(info, "axes", None)
        axes = tuple(Axis.from_dict(one) for one in stored) if stored else _made_up(structure, pixel)
    origin = info.get("origin")
    if origin is None:
        known = signal is not None
        origin = [_corner(axis) * angstrom(axis.units, "from_ase") if known else 0.0 for axis in axes[::-1]] + [0.0]
    return axes, np.asarray(origin, float), history


def _made_up(structure: Atoms, pixel: float) -> tuple[Axis, Axis]:
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T @ structure.cell.array
    points = np.concatenate([corners, structure.get_positions()])[:, 1::-1]
    low, high = points.min(axis=0), points.max(axis=0)
    sizes = np.maximum(np.ceil((high - low) / pixel).astype(int), 1) + 1
    return tuple(Axis(name=name, size=int(n), units="Å", scale=pixel, offset=float(start))
                 for name, n, start in zip("yx", sizes, low, strict=True))  # fmt: skip


def _read_columns(images: list, axes, origin) -> tuple[np.ndarray, np.ndarray, dict, np.ndarray | None]:
    join = lambda read: np.concatenate([np.asarray(read(one)) for one in images])  # noqa: E731
    places = join(lambda one: one.get_positions()).reshape(-1, 3) + origin
    per = [1 / angstrom(axis.units, "from_ase") for axis in axes]
    y_px, x_px = (np.asarray(axis.to_index(places[:, k] * f)) for axis, k, f in zip(axes, (1, 0), per, strict=True))
    columns = {"species": join(lambda one: np.array(one.get_chemical_symbols(), str)), "z": places[:, 2]}
    has = lambda name: all(one.has(name) for one in images)  # noqa: E731
    if has("score"):
        columns["probability"] = join(lambda one: one.arrays["score"])
    if has("sigma"):
        sigma = join(lambda one: one.arrays["sigma"])
        sizes = [_step(axis) / f for axis, f in zip(axes, per, strict=True)]  # Å per pixel
        columns |= {"y_std_px": sigma[:, 1] / sizes[0], "x_std_px": sigma[:, 0] / sizes[1]}
    if all(one.calc is not None and one.calc.results.get("forces") is not None for one in images):
        forces = join(lambda one: one.calc.results["forces"])
        columns |= {f"force_{name}": forces[:, k] for k, name in enumerate("xyz")}
    if all(one.calc is not None and np.shape(one.calc.results.get("energies")) == (len(one),) for one in images):
        columns["atom_energy"] = join(lambda one: one.calc.results["energies"])
    return y_px, x_px, columns, join(lambda one: one.arrays["atom_id"]) if has("atom_id") else None
