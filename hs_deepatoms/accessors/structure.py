"""`.deepatoms` of a table: bonds, rings, and structures for simulation codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import networkx
    import xarray as xr


class StructureMethods:
    """Bond network, rings, defects, ASE."""

    _ds: xr.Dataset

    def bonds(self, *, elements: Any = None, factor: float | None = None, cutoff: int | float | str | None = None,
              cell: Any = None) -> xr.Dataset:  # fmt: skip
        """The bonds between the atoms, dim ``bond``. See `hs_deepatoms.methods.bonds.bonds`.

        Parameters
        ----------
        elements
            ``{class: symbol}`` or one symbol: bonds from covalent radii.
        factor
            Of the sum of the radii (1.2); without ``elements``, of the usual distance around (1.45).
        cutoff
            Instead: bonds up to this length, pixels (int), axis units (float) or ``"1.8 Å"``.
        cell
            Sides (y, x) or vectors of a periodic cell.
        """
        from hs_deepatoms.methods.bonds import bonds

        return bonds(self._ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)

    def graph(self, *, elements: Any = None, factor: float | None = None, cutoff: int | float | str | None = None,
              cell: Any = None) -> networkx.Graph:  # fmt: skip
        """The bonds as a ``networkx.Graph``; arguments of `bonds`. See `hs_deepatoms.methods.bonds.graph`."""
        from hs_deepatoms.methods.bonds import graph

        return graph(self._ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)

    def coordination(self, *, elements: Any = None, factor: float | None = None,
                     cutoff: int | float | str | None = None, cell: Any = None) -> xr.Dataset:  # fmt: skip
        """The table with ``coordination``, ``bond_length`` and ``component``; arguments of `bonds`.

        See `hs_deepatoms.methods.bonds.coordination`.
        """
        from hs_deepatoms.methods.bonds import coordination

        return coordination(self._ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)

    def rings(
        self,
        *,
        elements: Any = None,
        factor: float | None = None,
        cutoff: int | float | str | None = None,
        cell: Any = None,
        largest: int = 12,
        regular: int | None = None,
        containing: int | str | Sequence[int | str] | None = None,
    ) -> xr.Dataset:
        """The rings of a planar network, and the defects they form. See `hs_deepatoms.methods.rings.rings`.

        Parameters
        ----------
        elements, factor, cutoff, cell
            What a bond is, as in `bonds`.
        largest
            Atoms of the largest ring.
        regular
            Size of rings that are no defects. None: the most frequent.
        containing
            Only rings with an atom of these species.

        Returns
        -------
        xarray.Dataset
            Dims ``ring``, ``member``, ``atom``, ``ring_size``, ``cluster``.
        """
        from hs_deepatoms.methods.rings import rings

        bond = {"elements": elements, "factor": factor, "cutoff": cutoff, "cell": cell}
        return rings(self._ds, **bond, largest=largest, regular=regular, containing=containing)
