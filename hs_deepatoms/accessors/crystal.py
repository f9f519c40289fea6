"""`.deepatoms` of a table: what it says about a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import numpy as np
    import xarray as xr


class CrystalMethods:
    """Lattice, strain, off-centring, neighbours."""

    _ds: xr.Dataset

    def lattice(
        self,
        *,
        reference: Any = None,
        species: int | str | Sequence[int | str] | None = None,
        show_progressbar: bool | None = None,
    ) -> xr.Dataset:
        """Site in the crystal, displacement from it, and strain of every atom.

        See `hs_deepatoms.methods.lattice.lattice`.

        Parameters
        ----------
        reference
            None or ``"mean"``: the mean lattice of each grain; a HyperSpy ROI: the lattice inside it; ``(a, b)``:
            lengths of its vectors.
        species
            Class or classes that take part.
        show_progressbar
            Of frames, where they take longer than a second. None: HyperSpy's preference.

        Returns
        -------
        xarray.Dataset
            With ``grain``, ``site_i``, ``site_j``, ``basis``, ``displacement_y``, ``displacement_x``, ``strain_yy``,
            ``strain_xx``, ``strain_xy``, ``lattice_rotation``, their ``_std``, and the attribute ``lattice``.
        """
        from hs_deepatoms.methods.lattice import lattice

        return lattice(self._ds, reference=reference, species=species, show_progressbar=show_progressbar)

    def mean_strain(self) -> xr.Dataset:
        """One strain per grain through all atoms of a table that ``lattice`` made (or of a selection), with its errors.

        Returns
        -------
        xarray.Dataset
            Dim ``grain``.
        """
        from hs_deepatoms.methods.mean_strain import mean_strain

        return mean_strain(self._ds)

    def off_centring(
        self, *, of: int | str, among: int | str | Sequence[int | str], neighbours: int | None = None
    ) -> xr.Dataset:
        """Vector from the middle of the surrounding ``among`` atoms to every atom ``of`` a species.

        Parameters
        ----------
        of, among
            Species in the middle and around it, as numbers or names.
        neighbours
            How many are around one. None: where their distances make the largest jump.

        Returns
        -------
        xarray.Dataset
            With ``off_centring_y``, ``off_centring_x`` and their ``_std``; NaN for other atoms.
        """
        from hs_deepatoms.methods.off_centring import off_centring

        return off_centring(self._ds, of=of, among=among, neighbours=neighbours)

    def neighbours(self, *, k: int | None = None, cutoff: int | float | str | None = None) -> xr.Dataset:
        """The nearest other atoms of the same frame, dims ``atom`` and ``neighbour``.

        Parameters
        ----------
        k
            How many. None: 4, or all within ``cutoff``.
        cutoff
            At most this far: pixels along x (int), units of x (float) or ``"0.5 nm"``.
        """
        from hs_deepatoms.methods.neighbours import neighbours

        return neighbours(self._ds, k=k, cutoff=cutoff)

    def plot_strain(
        self,
        signal: Any = None,
        *,
        column: str | None = None,
        frame: int = 0,
        ax: matplotlib.axes.Axes | None = None,
        limit: float | None = None,
    ) -> matplotlib.axes.Axes | np.ndarray:
        """Maps of the strain that ``lattice`` found: blue is negative, white 0, red positive.

        Parameters
        ----------
        signal
            Image to draw beneath. None: the map alone.
        column
            ``"strain_xx"``, ``"strain_yy"``, ``"strain_xy"`` or ``"lattice_rotation"``. None: all four.
        frame
            Flattened frame.
        ax
            Where to draw one column. None: a new figure.
        limit
            End of the colours in percent (rotation: degrees). None: 98 % of the atoms are inside.
        """
        from hs_deepatoms.plot.strain import plot_strain

        return plot_strain(self._ds, signal, ax, column=column, frame=frame, limit=limit)

    def to_atomap(self, signal: Any = None, *, frame: int = 0) -> Any:
        """The atoms of one frame as an atomap ``Atom_Lattice``, one sublattice per species.

        Parameters
        ----------
        signal
            Their image. None: zeros.
        frame
            Flattened frame.

        Raises
        ------
        MissingExtraError
            Without atomap: ``pip install 'hs_deepatoms[atomap]'``.
        """
        from hs_deepatoms.methods.atomap import to_atomap

        return to_atomap(self._ds, signal, frame=frame)
