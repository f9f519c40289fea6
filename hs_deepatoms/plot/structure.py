"""A structure as ASE draws it: spheres of the elements' colours and radii, seen from any side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_number

if TYPE_CHECKING:
    import matplotlib.axes
    from ase import Atoms

ANGLES = r"(|([-+]?[0-9]*\.?[0-9]+[xyz])(,[-+]?[0-9]*\.?[0-9]+[xyz])*)"


def plot_structure(
    structure: Atoms, ax: matplotlib.axes.Axes | None = None, *, rotation: str = "180x", radii: float = 0.5
) -> matplotlib.axes.Axes:
    """Draw a structure.

    Parameters
    ----------
    structure : ase.Atoms
    ax : matplotlib Axes, optional
        Where to draw. None: a new figure.
    rotation : str
        Angles about the axes, as ``"-80x,10y"``. ``"180x"``: as in the image, with y downwards.
    radii : float
        Of the spheres, in covalent radii.

    Raises
    ------
    InvalidArgumentError
        If the angles cannot be read, or the radii are not above 0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> ax = plot_structure(bulk("Cu", cubic=True), rotation="-80x,20y")
    """
    import matplotlib.pyplot as plt
    from ase.visualize.plot import plot_atoms

    check_number("radii", radii)
    if not isinstance(rotation, str) or not re.fullmatch(ANGLES, rotation.replace(" ", "")):
        allowed = "angles about axes, in degrees"
        raise InvalidArgumentError(explain(f"rotation={rotation!r}", allowed, "For example '180x' or '-80x,10y'."))
    if ax is None:
        ax = plt.subplots(layout="constrained")[1]
    plot_atoms(structure, ax, rotation=rotation, radii=radii)
    ax.set_aspect("equal")
    return ax
