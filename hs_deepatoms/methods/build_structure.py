"""Columns of atoms to slabs and crystals, and the files that VASP and GPAW start from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.methods.to_ase import length_in_angstrom, to_ase
from hs_deepatoms.tables.categories import category_names

if TYPE_CHECKING:
    import xarray as xr
    from ase import Atoms

CODES = ("vasp", "gpaw")
CALCULATIONS = {"relax": (2, 200), "static": (-1, 0)}  # of VASP: IBRION, NSW


def to_slab(
    ds: xr.Dataset,
    *,
    spacing: float | str,
    layers: int = 1,
    repeat: Sequence[int] = (1, 1),
    vacuum: float | str | None = 5.0,
    shifts: Mapping[Any, float | str] | None = None,
    frame: int = 0,
    species: Any = None,
    cell: str | Sequence[Any] = "auto",
) -> Atoms:
    """Columns seen from above as columns of atoms: a slab, a supercell, or a crystal without end.

    Parameters
    ----------
    ds
        Positions table with axes in a unit of length; every atom of it is a column.
    spacing
        From one atom of a column to the next along the beam, Å or text with its unit.
    layers
        Atoms of a column.
    repeat
        How often the cell stands side by side along (x, y).
    vacuum
        Empty space above and below. None: a bulk crystal that repeats along the beam.
    shifts
        ``{class number or name: Å}``: how much deeper the columns of a class begin, as of the two sublattices of a
        perovskite. None: all begin together.
    frame, species, cell
        As in `hs_deepatoms.methods.to_ase.to_ase`; with a cell that is given the structure repeats along x and y.

    Returns
    -------
    ase.Atoms
        As of `to_ase`, with ``layer`` in ``arrays``.

    Raises
    ------
    InvalidArgumentError
        If a number is out of range, or ``shifts`` names no class.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> image = xr.DataArray(np.zeros((32, 48)), {"y": np.arange(32) * 0.1, "x": np.arange(48) * 0.1}, ("y", "x"))
    >>> for dim in image.dims: image[dim].attrs["units"] = "nm"
    >>> atoms = hs_deepatoms.positions([10.0], [20.0], signal=image)
    >>> slab = atoms.deepatoms.to_slab(spacing=2.5, layers=4, species="Cu")
    >>> len(slab), float(slab.cell[2, 2]), float(np.ptp(slab.positions[:, 2]))
    (4, 17.5, 7.5)
    """
    step = length_in_angstrom(spacing, "spacing")
    counts = [layers, *repeat] if np.ndim(repeat) == 1 and len(repeat) == 2 else [0]
    if step <= 0 or any(not is_whole(n, 1) for n in counts):
        got = f"spacing={spacing!r}, layers={layers!r}, repeat={repeat!r}"
        raise InvalidArgumentError(explain(got, "a length above 0 and whole numbers from 1, two of repeat",
                                           "For example spacing='0.39 nm', layers=10, repeat=(2, 2)."))  # fmt: skip
    flat = to_ase(ds, frame=frame, species=species, cell=cell, vacuum=0.5)
    offset = _offsets(ds, flat, shifts)
    made = flat.repeat((1, 1, layers))
    layer = np.repeat(np.arange(layers), len(flat))
    depth = step * layer + np.tile(offset - offset.min(initial=0.0), layers)
    empty = 0.0 if vacuum is None else length_in_angstrom(vacuum, "vacuum")
    places = np.tile(flat.positions, (layers, 1))
    places[:, 2] = depth + empty
    box = flat.cell.array.copy()
    box[2] = [0, 0, layers * step if vacuum is None else np.ptp(depth) + 2 * empty if len(made) else 1.0]
    made.set_cell(box)
    made.set_positions(places)
    made.set_array("layer", layer)
    sideways = not isinstance(cell, str)
    made.pbc = (sideways, sideways, vacuum is None)
    return made.repeat((*map(int, repeat), 1))


def _offsets(ds: xr.Dataset, flat: Atoms, shifts: Mapping[Any, float | str] | None) -> np.ndarray:
    made = np.zeros(len(flat))
    if not shifts:
        return made
    if "species" not in ds.variables or "species_class" not in flat.arrays:
        raise TableError(explain("shifts= for a table without species", "a table of classes", "Classify the atoms."))
    names = category_names(ds["species"].attrs)
    for key, shift in shifts.items():
        classes = [value for value, name in names.items() if key in (value, name)]
        classes += [key] if not classes and key in flat.arrays["species_class"] else []
        if not classes:
            raise InvalidArgumentError(explain(f"shifts for {key!r}", f"classes of the table: {names}", "Name these."))
        made[np.isin(flat.arrays["species_class"], classes)] = length_in_angstrom(shift, "shifts")
    return made


def hand_over(
    structure: Atoms,
    folder: str | os.PathLike,
    *,
    code: str = "vasp",
    calculation: str = "relax",
    cutoff: float = 400.0,
    kpoints: Sequence[int] = (1, 1, 1),
) -> list[Path]:
    """The files from which VASP or GPAW start: the structure and plain settings, to be read before they are used.

    Parameters
    ----------
    structure
        What `to_ase` or `to_slab` made.
    folder
        A new or empty folder.
    code
        ``"vasp"``: POSCAR (atoms sorted by element), INCAR, KPOINTS; POTCAR is the user's to add. ``"gpaw"``:
        ``structure.xyz`` and ``run.py``.
    calculation
        ``"relax"`` or ``"static"``.
    cutoff
        Of the plane waves, eV.
    kpoints
        Divisions of the reciprocal cell, Gamma-centred.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    InvalidArgumentError
        If an argument is none of these, or the folder holds files.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in hand_over(bulk("Cu"), folder, kpoints=(4, 4, 4))]
    ['POSCAR', 'INCAR', 'KPOINTS']
    """
    from ase import Atoms
    from ase.io import write

    if not isinstance(structure, Atoms) or not len(structure):
        got = f"{type(structure).__name__} for hand_over" if not isinstance(structure, Atoms) else "no atoms"
        raise InvalidArgumentError(explain(got, "an ase.Atoms object with atoms", "Make one of a table by to_ase()."))
    folder = Path(folder)
    grid = tuple(kpoints) if np.ndim(kpoints) == 1 else ()
    good = code in CODES and calculation in CALCULATIONS and len(grid) == 3 and all(
        isinstance(n, int | np.integer) and n > 0 for n in grid)  # fmt: skip
    if not good or not 0 < cutoff < np.inf:
        got = f"code={code!r}, calculation={calculation!r}, cutoff={cutoff!r}, kpoints={kpoints!r}"
        raise InvalidArgumentError(
            explain(got, f"{CODES}, {tuple(CALCULATIONS)}, eV, three whole numbers", "Give these.")
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidArgumentError(
            explain(f"the folder {folder} with files in it", "a new or empty one", "Name another.")
        )
    folder.mkdir(parents=True, exist_ok=True)
    if code == "gpaw":
        write(folder / "structure.xyz", structure, format="extxyz")
        (folder / "run.py").write_text(_gpaw(calculation, cutoff, grid))
        return [folder / "structure.xyz", folder / "run.py"]
    write(folder / "POSCAR", structure, format="vasp", sort=True, direct=False)
    kind, steps = CALCULATIONS[calculation]
    (folder / "INCAR").write_text(f"ENCUT = {cutoff:g}\nEDIFF = 1E-5\nISMEAR = 0\nSIGMA = 0.05\nIBRION = {kind}\n"
                                  f"NSW = {steps}\nISIF = 2\nEDIFFG = -0.02\n")  # fmt: skip
    (folder / "KPOINTS").write_text(f"divisions\n0\nGamma\n{grid[0]} {grid[1]} {grid[2]}\n0 0 0\n")
    return [folder / name for name in ("POSCAR", "INCAR", "KPOINTS")]


def _gpaw(calculation: str, cutoff: float, grid: tuple[int, ...]) -> str:
    lines = [
        "from ase.io import read, write",
        "from gpaw import GPAW, PW",
        "",
        'atoms = read("structure.xyz")',
        f'atoms.calc = GPAW(mode=PW({cutoff:g}), xc="PBE", kpts={{"size": {tuple(map(int, grid))}, "gamma": True}}, '
        'txt="gpaw.txt")',
    ]
    if calculation == "relax":
        lines += ["from ase.optimize import BFGS", "", 'BFGS(atoms, logfile="relax.log").run(fmax=0.02)']
    return "\n".join([*lines, "atoms.get_potential_energy()", 'write("result.xyz", atoms)', ""])
