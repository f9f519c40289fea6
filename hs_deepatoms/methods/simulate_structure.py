"""What simulation codes do with the atoms of a table: relaxed positions, molecular dynamics, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import check_number
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.methods.bonds import angstrom
from hs_deepatoms.methods.plane import length_in, read_plane
from hs_deepatoms.methods.to_ase import from_ase, table_of, to_ase
from hs_deepatoms.structure.ase import SAME_SITE, Trajectory, joined_in_cif, relax_atoms, run_dynamics, separate
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_grid, frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.storage import written_beside

if TYPE_CHECKING:
    import xarray as xr
    from ase import Atoms

LEAST_SIGMA = 0.01  # Å: no position is known better than atoms vibrate


def remove_overlaps(ds: xr.Dataset, distance: int | float | str, *, by: str | None = None) -> xr.Dataset:
    """The table without atoms that lie too near to a better one of the same frame.

    Parameters
    ----------
    ds
        Positions table.
    distance
        Smallest distance allowed: pixels along x (int), axis units (float) or ``"1 Å"``.
    by
        Column of which the larger value stays. None: ``probability``, else ``height``, else the first row.

    Returns
    -------
    xarray.Dataset
        Ids are kept.

    Examples
    --------
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.positions([5.0, 5.0], [5.0, 5.4], columns={"probability": [0.6, 0.9]})
    >>> atoms.deepatoms.remove_overlaps(1).atom.values.tolist()
    [1]
    """
    ds = schema.dropna(ds)
    plane = read_plane(ds, "remove_overlaps")
    names = [by] if by is not None else [one for one in ("probability", "height") if one in ds.variables]
    score = np.asarray(schema.check_column(ds, names[0]).values, float) if names else None
    keep = separate(plane.y, plane.x, length_in(distance, ds, plane.units), score, frame_of(ds))
    parameters = {"distance": distance, "by": names[0] if names else None, "removed": int((~keep).sum())}
    return with_entry(ds.isel({schema.DIM: keep}), "remove_overlaps", parameters)


def relax(
    ds: xr.Dataset,
    calculator: Any,
    *,
    frame: int = 0,
    optimizer: str = "FIRE",
    fmax: float = 0.05,
    steps: int = 500,
    restraint: float | None = None,
    flat: bool = True,
    species: Any = None,
    cell: str | Sequence[Any] = "auto",
    vacuum: float | str = 5.0,
    pbc: bool | Sequence[bool] = False,
    z: float | str | Callable | None = None,
) -> xr.Dataset:
    """The atoms of one frame moved to where their forces vanish.

    Parameters
    ----------
    ds
        Positions table with axes in a unit of length.
    calculator
        Any ASE calculator: EMT and Lennard-Jones ship with ASE, Tersoff [1]_ since its version 3.25.
    frame
        Flattened frame.
    optimizer, fmax, steps
        See `hs_deepatoms.structure.ase.relax_atoms`.
    restraint
        Energy in eV: springs to the measured positions, of which a displacement by one ``y_std`` or ``x_std`` costs
        half of this. None: no springs.
    flat
        Whether z stays as it is, which an image does not know.
    species, cell, vacuum, pbc, z
        As in `hs_deepatoms.methods.to_ase.to_ase`.

    Returns
    -------
    xarray.Dataset
        The frame's atoms, moved, with ``z`` (Å), ``force_y``, ``force_x``, ``force_z`` (eV/Å) and, where the calculator
        knows it, ``atom_energy`` (eV), every atom's part of the energy; attributes ``energy``, ``energy_before`` (eV)
        and ``converged``.

    Raises
    ------
    TableError
        As `to_ase`; and with ``restraint``, if the table has no uncertainties.
    InvalidArgumentError
        If atoms overlap, there is no such optimizer, numbers are out of range, or the calculator fails.

    References
    ----------
    .. [1] J. Tersoff, "New empirical approach for the structure and energy of covalent systems", Physical Review B 37
       (1988) 6991, https://doi.org/10.1103/PhysRevB.37.6991

    Examples
    --------
    >>> from ase.build import fcc111
    >>> from ase.calculators.emt import EMT
    >>> import hs_deepatoms
    >>> atoms = hs_deepatoms.from_ase(fcc111("Cu", (3, 4, 1), vacuum=5))
    >>> done = atoms.deepatoms.relax(EMT(), species={0: "Cu"})
    >>> done.attrs["energy"] < done.attrs["energy_before"], done["atom_energy"].attrs["units"]
    (True, 'eV')
    """
    structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
    before = to_ase(ds, frame=frame, **structure)
    anchors = None if restraint is None else _stiffness(before, restraint)
    done = relax_atoms(before, calculator, optimizer=optimizer, fmax=fmax, steps=steps, anchors=anchors, flat=flat)
    part = schema.dropna(ds)
    grid = frame_grid(part)
    part = part.isel({schema.DIM: frame_of(part, grid) == frame}) if grid.columns else part
    made = _moved(part, done.atoms, before)
    made.attrs |= {"energy_before": done.energies[0], "energy": done.energies[1], "converged": int(done.converged)}
    parameters = {"calculator": type(calculator).__name__, "optimizer": optimizer, "fmax": fmax, "steps": done.steps,
                  "converged": done.converged, "restraint": restraint, "flat": flat, **structure}  # fmt: skip
    return with_entry(made, "relax", parameters)


def dynamics(
    ds: xr.Dataset,
    calculator: Any,
    *,
    frame: int = 0,
    steps: int = 1000,
    timestep: float = 1.0,
    temperature: float = 300.0,
    friction: float | None = None,
    every: int = 10,
    seed: int = 0,
    flat: bool = True,
    species: Any = None,
    cell: str | Sequence[Any] = "auto",
    vacuum: float | str = 5.0,
    pbc: bool | Sequence[bool] = False,
    z: float | str | Callable | None = None,
) -> xr.Dataset:
    """Short molecular dynamics of the atoms of one frame.

    Parameters
    ----------
    ds, calculator, frame, flat, species, cell, vacuum, pbc, z
        As in `relax`. A layer that is not ``flat`` may crumple.
    steps, timestep, temperature, friction, every, seed
        See `hs_deepatoms.structure.ase.run_dynamics`: constant energy, or with ``friction`` (1/fs) a
        Langevin thermostat.

    Returns
    -------
    xarray.Dataset
        The trajectory as a positions table: a linked movie along the navigation axis ``time`` (fs), in which ``track``
        is the id that the atom has in ``ds``. With ``z`` (Å), ``force_y``, ``force_x``, ``force_z`` (eV/Å) and the
        ``potential_energy`` and ``kinetic_energy`` (eV) of the atom's whole frame: one row per frame is
        ``run.groupby("time").first()``. All that is asked of movies can be asked of it.

    Raises
    ------
    TableError
        As `to_ase`.
    InvalidArgumentError
        If numbers are out of range, or the calculator fails.
    """
    structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
    start = to_ase(ds, frame=frame, **structure)
    run = run_dynamics(start, calculator, steps=steps, timestep=timestep, temperature=temperature, friction=friction,
                       every=every, seed=seed, flat=flat)  # fmt: skip
    parameters = {"calculator": type(calculator).__name__, "steps": steps, "timestep": timestep, "seed": seed,
                  "temperature": temperature, "friction": friction, "every": every, "frame": frame,
                  "flat": flat, **structure}  # fmt: skip
    return with_entry(_trajectory(start, run), "md", parameters)


def _trajectory(start: Atoms, run: Trajectory) -> xr.Dataset:
    """The stored times as frames of one table."""
    from ase.calculators.singlepoint import SinglePointCalculator

    images = []
    for positions, forces in zip(run.positions, run.forces, strict=True):
        image = start.copy()
        image.positions = positions
        for measured in ("score", "sigma"):  # of the image, not of what comes after it
            image.arrays.pop(measured, None)
        image.calc = SinglePointCalculator(image, forces=forces)
        images.append(image)
    energies = {"potential_energy": run.potential, "kinetic_energy": run.kinetic}
    columns = {name: np.repeat(values, len(start)) for name, values in energies.items()}
    columns["track"] = np.tile(start.arrays["atom_id"], len(images))
    time = Axis(name="time", size=len(images), units="fs", scale=None, offset=None, values=run.time, navigate=True)
    made = table_of(images, time, columns=columns)
    return made.set_coords("track")


def export(
    ds: xr.Dataset,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    frames: int | Sequence[int] | None = None,
    options: Mapping[str, Any] | None = None,
    species: Any = None,
    cell: str | Sequence[Any] = "auto",
    vacuum: float | str = 5.0,
    pbc: bool | Sequence[bool] = False,
    z: float | str | Callable | None = None,
) -> Path:
    """Write the atoms in any format that ASE writes: POSCAR, cif, extxyz, lammps-data, ...

    Parameters
    ----------
    ds
        Positions table with axes in a unit of length.
    path
        File to write; an existing one is replaced. A POSCAR has the atoms sorted by element.
    format
        ASE's name of the format. None: from the path (``POSCAR``, ``.cif``, ``.xyz``, ``.traj``, ...).
    frames
        Flattened frame or frames. None: all, where there is more than one.
    options
        For ASE's writer.
    species, cell, vacuum, pbc, z
        As in `hs_deepatoms.methods.to_ase.to_ase`.

    Raises
    ------
    InvalidArgumentError
        If ASE has no such format or cannot write it, it holds one structure and there are several, the folder is not
        there, or the path is itself a folder.
    TableError
        If there are no atoms in a frame; and as in `to_ase`.
    """
    from ase.io import write

    if not isinstance(path, str | os.PathLike):
        raise InvalidArgumentError(
            explain(f"path={path!r}", "the name of a file", "For example 'POSCAR' or 'atoms.cif'.")
        )
    path = Path(path)
    if not path.parent.is_dir():
        got = f"path {str(path)!r} in a folder that is not there"
        raise InvalidArgumentError(explain(got, "a file in a folder that is there", "Make the folder first."))
    kind = _writer(path, format)
    n_frames = frame_grid(schema.check_table(ds)).n_frames
    chosen = range(n_frames) if frames is None else [frames] if np.ndim(frames) == 0 else list(frames)
    structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
    images = [to_ase(ds, frame=number, **structure) for number in chosen]
    if not images or (len(images) > 1 and kind.single):
        raise InvalidArgumentError(explain(f"{len(images)} frames for format {kind.name!r}", "one structure per file",
                                           "Name one with frames=, or use extxyz, traj or cif."))  # fmt: skip
    if not all(len(image) for image in images):
        got = f"a frame without atoms among {len(images)}"
        raise TableError(explain(got, "atoms", "Name the frames that have some with frames=."))
    settings = dict(options or {})
    if kind.name == "cif":
        settings.setdefault("wrap", False)  # an atom on the rim stays where it is
    if kind.name == "vasp":
        settings.setdefault("sort", True)  # every element once, as its potentials follow in another file
    if kind.name == "lammps-data":
        settings.setdefault("masses", True)  # types are numbers; by their masses the elements are known again
    with written_beside(path) as temporary:
        try:
            write(temporary, images if len(images) > 1 else images[0], format=kind.name, **settings)
        except OSError:
            raise
        except Exception as error:  # each of ASE's writers fails in its own way
            got = f"format {kind.name!r} with options={options!r}: {type(error).__name__}: {error}"
            todo = "See ASE's description of this format, or use extxyz, which takes everything."
            raise InvalidArgumentError(explain(got, "what ASE's writer of this format takes", todo)) from error
    if kind.name == "cif" and (lost := sum(map(joined_in_cif, images))):
        where = f"nearer than {SAME_SITE} of the cell to another one, maybe over its edge"
        warn_user(f"{lost} atoms in {path.name} are {where}: programs that read it may take two for one. "
                  "Use extxyz, or remove_overlaps first.")  # fmt: skip
    return path


def _writer(path: Path, name: str | None):
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        found = ioformats[name or filetype(str(path), read=False)]
    except (KeyError, UnknownFileTypeError) as error:
        raise InvalidArgumentError(explain(f"format={name!r} for {path.name!r}", "one that ASE writes",
                                           "For example 'extxyz', 'vasp', 'lammps-data'.")) from error  # fmt: skip
    if not found.can_write:
        raise InvalidArgumentError(explain(f"format={found.name!r}", "a format that ASE writes", "For example 'cif'."))
    return found


def _stiffness(atoms: Any, restraint: float) -> np.ndarray:
    check_number("restraint", restraint, zero=True)
    if "sigma" not in atoms.arrays:
        raise TableError(explain("restraint= without y_std and x_std", "a table with uncertainties",
                                 "Find the atoms with refine='quick' or 'full'."))  # fmt: skip
    sigma = np.maximum(atoms.arrays["sigma"], LEAST_SIGMA)
    return np.nan_to_num(restraint / sigma**2, nan=0.0, posinf=0.0)


def _moved(part: xr.Dataset, after: Any, before: Any) -> xr.Dataset:
    """The table with new positions, in its own order and units."""
    read = from_ase(after)
    read = read.sel({schema.DIM: part[schema.DIM].values})
    made = part.copy()
    for name in ("y", "x"):
        factor = angstrom(read[name].attrs["units"], "relax") / angstrom(part[name].attrs["units"], "relax")
        made[name] = part[name].variable.copy(data=read[name].values * factor)
        if f"{name}_px" in made.variables:
            made[f"{name}_px"] = part[f"{name}_px"].variable.copy(data=read[f"{name}_px"].values)
    for name in ("z", "force_y", "force_x", "force_z", "atom_energy"):
        if name in read.variables:
            made[name] = read[name]
    return made
