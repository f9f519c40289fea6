"""Structures for simulation codes: arrays to ``ase.Atoms``, cells, relaxation, molecular dynamics. Lengths are in Å.

ASE's x is the image's x, ASE's y the image's y, and z points along the beam, into the picture: with y pointing down
this is a right-handed frame, and nothing is mirrored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_number, check_whole
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.tables.neighbours import pairs_within

if TYPE_CHECKING:
    from ase import Atoms
    from ase.constraints import FixCartesian

DRIFT = 0.01  # eV per atom, of what is conserved: a hundred times that of steps that are short enough
OPTIMIZERS = ("FIRE", "BFGS", "LBFGS", "BFGSLineSearch")
FAR = 6.0  # Å: no bond is half as long, and what calculators know of atoms ends there
SAME_SITE = 1e-3  # of each side of the cell: what nearer atoms of a cif file are taken for
HOT = 1e3  # eV/Å: atoms so near that their forces would throw them out of the cell


def build_atoms(x, y, z, numbers, *, cell, pbc=False, info=None, arrays=None) -> Atoms:
    """An ``ase.Atoms`` from arrays (n_atoms,) in Å.

    Parameters
    ----------
    x, y, z
        Shape (n_atoms,), in Å from the corner of the cell.
    numbers
        Shape (n_atoms,): atomic numbers.
    cell
        Three vectors (3, 3), rows (x, y, z).
    pbc
        Whether the cell repeats: one for all, or one for each vector.
    info, arrays
        What rides along: of the structure, and (n_atoms, ...) per atom.

    Examples
    --------
    >>> build_atoms([0.0, 1.42], [0.0, 0.0], [5.0, 5.0], [6, 6], cell=np.eye(3) * 10).get_chemical_formula()
    'C2'
    """
    from ase import Atoms

    places = np.stack([np.broadcast_to(np.asarray(w, float), np.shape(numbers)) for w in (x, y, z)], axis=1)
    made = Atoms(numbers=np.asarray(numbers, int), positions=places, cell=cell, pbc=pbc, info=dict(info or {}))
    for name, values in (arrays or {}).items():
        made.set_array(name, np.asarray(values))
    return made


def read_box(cell: Any, field: tuple[float, float], thickness: float, vacuum: float) -> np.ndarray:
    """Three vectors (3, 3), rows (x, y, z), of a cell in Å.

    Parameters
    ----------
    cell
        ``"auto"``: the field (x, y) of the image and the atoms' thickness with ``vacuum`` on both sides; two or three
        sides (x, y[, z]); or three vectors.
    field
        Sides (x, y) of the image.
    thickness
        From the lowest to the highest atom.
    vacuum
        Above and below the atoms, for cells that do not say their z.

    Raises
    ------
    InvalidArgumentError
        If it is none of these, or encloses no volume.

    Examples
    --------
    >>> read_box("auto", (20.0, 30.0), 0.0, 5.0).diagonal().tolist()
    [20.0, 30.0, 10.0]
    """
    high = thickness + 2 * vacuum
    if isinstance(cell, str) and cell == "auto":
        cell = (*field, high)
    try:
        made = np.asarray(cell, float)
    except (TypeError, ValueError):
        made = np.empty(0)
    negative = made.ndim == 1 and (made < 0).any()  # of sides; vectors may point anywhere
    made = np.append(made, high) if made.shape == (2,) else made
    made = np.diag(made) if made.shape == (3,) else made
    if negative or made.shape != (3, 3) or not np.isfinite(made).all() or abs(np.linalg.det(made)) < 1e-9:
        allowed = "'auto', sides (x, y) or (x, y, z), or three vectors that enclose a volume, in Å"
        raise InvalidArgumentError(explain(f"cell={cell!r} with {high:g} Å along z", allowed, "Give one, or vacuum=."))
    return made


def separate(y, x, distance: float, score=None, frame=None) -> np.ndarray:
    """Which atoms (n_atoms,) to keep so that no two are nearer than ``distance``: of two, the better one.

    Parameters
    ----------
    y, x
        Shape (n_atoms,), in one unit.
    distance
        Smallest distance allowed.
    score
        Shape (n_atoms,); a worse one goes first. None, or equal ones: the first row stays.
    frame
        Shape (n_atoms,): only atoms of one frame can overlap.

    Examples
    --------
    >>> separate([0.0, 0.0, 0.0], [0.0, 0.5, 1.0], 0.8, score=[0.9, 0.5, 0.8]).tolist()
    [True, False, True]
    """
    n = np.size(y)
    pairs = pairs_within(y, x, distance, frame)
    rank = np.empty(n, np.int64)
    worth = np.zeros(n) if score is None else np.nan_to_num(np.asarray(score, float), nan=-np.inf)
    rank[np.lexsort((np.arange(n), -worth))] = np.arange(n)
    pairs = np.take_along_axis(pairs, np.argsort(rank[pairs], axis=1), axis=1)
    keep, open_ = np.ones(n, bool), np.ones(n, bool)
    while len(pairs):  # an atom that is better than all of its open neighbours stays, and those go
        open_[:] = True
        open_[pairs[:, 1]] = False
        gone = pairs[open_[pairs[:, 0]], 1]
        keep[gone] = False
        pairs = pairs[keep[pairs].all(axis=1)]
    return keep


class Anchors:
    """Springs to where the atoms were seen, stiffer the better that is known; an ASE constraint.

    Parameters
    ----------
    positions
        Shape (n_atoms, 3), in Å.
    stiffness
        Shape (n_atoms, 3), in eV/Å^2; 0 for no spring.
    """

    def __init__(self, positions: np.ndarray, stiffness: np.ndarray):
        self.positions, self.stiffness = np.array(positions, float), np.array(stiffness, float)

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Nothing: springs pull, they do not hold."""

    def adjust_momenta(self, atoms: Atoms, momenta: np.ndarray) -> None:
        """Nothing."""

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Adds the springs' forces."""
        forces -= self.stiffness * (atoms.positions - self.positions)

    def adjust_potential_energy(self, atoms: Atoms) -> float:
        """The springs' energy."""
        return float((self.stiffness * (atoms.positions - self.positions) ** 2).sum() / 2)

    def get_removed_dof(self, atoms: Atoms) -> int:
        """None."""
        return 0

    def todict(self) -> dict:
        """For ASE's files."""
        return {"name": "Anchors", "kwargs": {"positions": self.positions, "stiffness": self.stiffness}}


def joined_in_cif(atoms: Atoms) -> int:
    """How many atoms stand, over an edge of the cell or not, where one before them stands, as readers of cif see it.

    Examples
    --------
    >>> joined_in_cif(build_atoms([0.002, 5.0, 9.998], [5.0] * 3, [5.0] * 3, [6] * 3, cell=np.eye(3) * 10))
    1
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(atoms.get_scaled_positions(wrap=True) % 1.0 % 1.0, boxsize=1.0)  # -1e-17 % 1 is 1
    pairs = tree.query_pairs(SAME_SITE, p=np.inf, output_type="ndarray")
    return np.unique(pairs.max(axis=1, initial=0)).size if len(pairs) else 0


def calculated(atoms: Atoms, calculator: Any) -> tuple[Atoms, float, np.ndarray]:
    """A copy with its calculator, its energy in eV, and forces (n_atoms, 3) in eV/Å.

    Raises
    ------
    InvalidArgumentError
        If it is no calculator, or fails, as where it does not know an element, or ASE's Tersoff for atoms of one bond.
    """
    moved = atoms.copy()
    if not hasattr(calculator, "get_property") or isinstance(calculator, type):
        got = f"calculator={calculator!r}"
        raise InvalidArgumentError(explain(got, "an ASE calculator ready made", "For example EMT(), with brackets."))
    moved.calc = calculator
    _say_apart(moved)
    try:
        return moved, moved.get_potential_energy(), moved.get_forces(apply_constraint=False)
    except Exception as error:  # calculators of all makers, each with errors of its own
        name, formula = type(calculator).__name__, moved.get_chemical_formula()
        got = f"a calculator {name} that fails for {formula} ({type(error).__name__}: {error})"
        todo = "Choose another, or other elements with species=; some fail for atoms that stand alone."
        raise InvalidArgumentError(explain(got, "one that can do these elements and places", todo)) from error


def _say_apart(atoms: Atoms) -> None:
    """Atoms that nothing holds do not move, and look relaxed."""
    if len(atoms) < 2 or atoms.pbc.any():
        return
    from scipy.spatial import cKDTree

    nearest = float(cKDTree(atoms.positions).query(atoms.positions, k=2)[0][:, 1].min())
    if nearest > FAR:
        todo = "Check the calibration of the image."
        warn_user(f"no two atoms are nearer than {nearest:.3g} Å, so that no force acts: {todo}")


class Relaxed(NamedTuple):
    """``energies``: before and after, without springs; ``converged``: whether the forces became small enough."""

    atoms: Atoms
    energies: tuple[float, float]
    converged: bool
    steps: int


def relax_atoms(atoms: Atoms, calculator: Any, *, optimizer: str = "FIRE", fmax: float = 0.05, steps: int = 500,
                anchors: np.ndarray | None = None, flat: bool = False) -> Relaxed:  # fmt: skip
    """Atoms moved to where their forces vanish, with one of ASE's optimizers.

    Parameters
    ----------
    atoms
        Left alone; a copy is moved.
    calculator
        Any ASE calculator.
    optimizer
        ``"FIRE"`` [1]_, ``"BFGS"``, ``"LBFGS"`` or ``"BFGSLineSearch"``.
    fmax
        Largest force in eV/Å at which it stops.
    steps
        At most; 0 for the energy and the forces of the atoms as they are.
    anchors
        Stiffness (n_atoms, 3) in eV/Å^2 of springs to the given positions.
    flat
        Whether z stays as it is.

    References
    ----------
    .. [1] E. Bitzek et al., "Structural relaxation made simple", Physical Review Letters 97 (2006) 170201,
       https://doi.org/10.1103/PhysRevLett.97.170201

    Raises
    ------
    InvalidArgumentError
        If there is no such optimizer, numbers are out of range, the calculator fails, or two atoms lie so near that
        their forces are no longer finite.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.calculators.emt import EMT
    >>> done = relax_atoms(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), EMT())
    >>> done.converged, done.energies[1] < done.energies[0]
    (True, True)
    """
    from ase import optimize

    if optimizer not in OPTIMIZERS:
        raise InvalidArgumentError(explain(f"optimizer={optimizer!r}", f"one of {OPTIMIZERS}", "For example 'FIRE'."))
    check_number("fmax", fmax)
    check_whole("steps", steps)
    moved, before, forces = calculated(atoms, calculator)
    if not np.isfinite(forces).all() or np.abs(forces).max(initial=0) > HOT:
        raise InvalidArgumentError(explain(
            f"forces up to {np.abs(forces).max(initial=0):.3g} eV/Å", f"at most {HOT:g}: atoms that do not overlap",
            "Take overlapping atoms out first: remove_overlaps(\"1 Å\")."))  # fmt: skip
    held = list(moved.constraints)
    held += [] if anchors is None else [Anchors(moved.positions, anchors)]
    held += [_in_plane(len(moved))] if flat and len(moved) else []
    moved.set_constraint(held)
    run = getattr(optimize, optimizer)(moved, logfile=None)
    converged = bool(run.run(fmax=fmax, steps=steps)) if len(moved) else True
    number = run.get_number_of_steps()
    moved.set_constraint(atoms.constraints)
    return Relaxed(moved, (float(before), float(moved.get_potential_energy())), converged, int(number))


def _in_plane(n_atoms: int) -> FixCartesian:
    from ase.constraints import FixCartesian

    return FixCartesian(range(n_atoms), mask=(False, False, True))


class Trajectory(NamedTuple):
    """``positions`` (n_times, n_atoms, 3) in Å, ``forces`` alike in eV/Å; time in fs, energies in eV, (n_times,)."""

    positions: np.ndarray
    time: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    forces: np.ndarray


def run_dynamics(atoms: Atoms, calculator: Any, *, steps: int = 1000, timestep: float = 1.0, temperature: float = 300.0,
                 friction: float | None = None, every: int = 10, seed: int = 0,
                 flat: bool = False) -> Trajectory:  # fmt: skip
    """Short molecular dynamics with ASE: velocity Verlet [1]_ at constant energy, or a Langevin thermostat.

    Parameters
    ----------
    atoms
        Left alone. Velocities that it has are kept, otherwise they are drawn.
    calculator
        Any ASE calculator.
    steps, timestep
        Number and length (fs) of the steps.
    temperature
        In K: of the drawn velocities, and of the thermostat.
    friction
        In 1/fs: Langevin dynamics. None: constant energy.
    every
        Steps from one stored time to the next.
    seed
        Of the velocities and of the thermostat.
    flat
        Whether z stays as it is.

    References
    ----------
    .. [1] W. C. Swope et al., "A computer simulation method for the calculation of equilibrium constants for the
       formation of physical clusters of molecules", Journal of Chemical Physics 76 (1982) 637-649,
       https://doi.org/10.1063/1.442716

    Raises
    ------
    InvalidArgumentError
        If numbers are out of range, or the calculator fails.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> made = run_dynamics(bulk("Cu", cubic=True), EMT(), steps=20, every=10)
    >>> made.positions.shape, made.time.tolist()
    ((3, 4, 3), [0.0, 10.0, 20.0])
    """
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    check_whole("steps", steps, 1)
    check_whole("every", every, 1)
    check_number("timestep", timestep)
    check_number("temperature", temperature, zero=True)
    check_whole("seed", seed, 0, 2**32 - 1)
    check_number("friction", friction, zero=True, optional=True)
    rng = np.random.RandomState(seed)  # what ASE asks for
    moved = calculated(atoms, calculator)[0]
    if flat:
        moved.set_constraint([*moved.constraints, _in_plane(len(moved))])
    if not np.any(moved.get_momenta()):
        width = np.sqrt(moved.get_masses() * units.kB * temperature)[:, None]
        momenta = width * rng.normal(size=(len(moved), 3))
        share = moved.get_masses()[:, None] / max(moved.get_masses().sum(), 1e-300)
        moved.set_momenta(momenta - share * momenta.sum(axis=0))  # the whole does not drift
    if friction is None:
        run = VelocityVerlet(moved, timestep * units.fs)
    else:
        run = Langevin(moved, timestep * units.fs, temperature_K=temperature, friction=friction / units.fs, rng=rng,
                       fixcm=False)  # fmt: skip
    kept: list[tuple] = []

    def keep() -> None:
        energies = moved.get_potential_energy(), moved.get_kinetic_energy()
        kept.append((moved.positions.copy(), run.get_time() / units.fs, *energies, moved.get_forces().copy()))

    before = moved.get_total_energy()
    run.attach(keep, interval=every)
    run.run(steps)
    if friction is None:
        _say_drift((moved.get_total_energy() - before) / max(len(moved), 1), timestep)
    return Trajectory(*(np.array(column) for column in zip(*kept, strict=True)))


def _say_drift(drift: float, timestep: float) -> None:
    """Energy is conserved where the steps follow the motion."""
    if not abs(drift) < DRIFT:
        found = f"the energy, which is conserved, changed by {drift:.3g} eV per atom"
        todo = f"timestep={timestep:g} (fs) is too long for this structure. Try {timestep / 4:g}, or relax it first."
        warn_user(f"{found}: {todo}")
