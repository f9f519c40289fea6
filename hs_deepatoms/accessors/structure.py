"""`.deepatoms` of a table: bonds, rings, and structures for simulation codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import networkx
    import xarray as xr
    from ase import Atoms


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

    def bond_events(self, *, elements: Any = None, factor: float | None = None,
                    cutoff: int | float | str | None = None, cell: Any = None) -> xr.Dataset:  # fmt: skip
        """Bonds that break and form in a linked movie, dim ``event``; arguments of `bonds`.

        See `hs_deepatoms.methods.bond_events.bond_events`.
        """
        from hs_deepatoms.methods.bond_events import bond_events

        return bond_events(self._ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell)

    def ring_events(self, rings: xr.Dataset | None = None) -> xr.Dataset:
        """Rings that change their size, open or close in a linked movie, dim ``event``, and how long rings last.

        See `hs_deepatoms.methods.ring_events.ring_events`.

        Parameters
        ----------
        rings
            What `rings` returned. None: found with its defaults.
        """
        from hs_deepatoms.methods.ring_events import ring_events

        return ring_events(self._ds, rings)

    def motifs(self, *, elements: Any = None, factor: float | None = None, cutoff: int | float | str | None = None,
               cell: Any = None, rings: bool = False, seed: int = 0) -> xr.Dataset:  # fmt: skip
        """Local environments, named, averaged and counted, dims ``motif``, ``member``, ``atom``.

        See `hs_deepatoms.methods.motifs.motifs`.

        Parameters
        ----------
        elements, factor, cutoff, cell
            What a bond is, as in `bonds`.
        rings
            Whether the sizes of the rings around keep environments apart too.
        seed
            Of the mixtures.
        """
        from hs_deepatoms.methods.motifs import motifs

        return motifs(self._ds, elements=elements, factor=factor, cutoff=cutoff, cell=cell, rings=rings, seed=seed)

    def plot_motifs(self, motifs: xr.Dataset | None = None, *, most: int = 12) -> matplotlib.figure.Figure:
        """The library of averaged motifs, a panel each. See `hs_deepatoms.plot.motifs.plot_motifs`.

        Parameters
        ----------
        motifs
            What `motifs` returned. None: found with its defaults.
        most
            Panels.
        """
        from hs_deepatoms.methods.motifs import motifs as find
        from hs_deepatoms.plot.motifs import plot_motifs

        return plot_motifs(find(self._ds) if motifs is None else motifs, most=most)

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
        keep_doubtful: bool = False,
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
        keep_doubtful
            Whether improbable atoms stay without which the rings are more regular.

        Returns
        -------
        xarray.Dataset
            Dims ``ring``, ``member``, ``atom``, ``ring_size``, ``cluster``.
        """
        from hs_deepatoms.methods.rings import rings

        bond = {"elements": elements, "factor": factor, "cutoff": cutoff, "cell": cell}
        chosen = {"containing": containing, "keep_doubtful": keep_doubtful}
        return rings(self._ds, **bond, largest=largest, regular=regular, **chosen)

    def plot_rings(
        self,
        signal: Any = None,
        *,
        rings: xr.Dataset | None = None,
        frame: int = 0,
        ax: matplotlib.axes.Axes | None = None,
        regular: bool = False,
        bonds: bool | str = True,
    ) -> matplotlib.axes.Axes:
        """Rings filled by their size, over the image if there is one. See `hs_deepatoms.plot.rings.plot_rings`.

        Parameters
        ----------
        signal
            Image to draw beneath. None: the network alone.
        rings
            What `rings` returned. None: found with its defaults.
        frame
            Flattened frame.
        ax
            Where to draw. None: a new figure.
        regular
            Whether regular rings are filled too.
        bonds
            Whether the sides of the rings are drawn; ``"length"``: coloured by length.
        """
        from hs_deepatoms.plot.rings import plot_rings

        return plot_rings(self._ds, signal, ax, rings=rings, frame=frame, regular=regular, bonds=bonds)

    def to_ase(
        self,
        *,
        frame: int = 0,
        species: Any = None,
        cell: str | Sequence[Any] = "auto",
        vacuum: float | str = 5.0,
        pbc: bool | Sequence[bool] = False,
        z: float | str | Callable | None = None,
    ) -> Atoms:
        """The atoms of one frame as an ``ase.Atoms``; lengths in Å. See `hs_deepatoms.methods.to_ase.to_ase`.

        Parameters
        ----------
        frame
            Flattened frame.
        species
            ``{class: symbol}``, or one symbol. None: the classes are named as elements.
        cell
            ``"auto"`` (the field of the image), sides (x, y[, z]), or three vectors.
        vacuum
            Above and below.
        pbc
            Whether the cell repeats.
        z
            A number, a column, or ``function(y, x)``.
        """
        from hs_deepatoms.methods.to_ase import to_ase

        return to_ase(self._ds, frame=frame, species=species, cell=cell, vacuum=vacuum, pbc=pbc, z=z)

    def to_slab(
        self,
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
        """Columns as columns of atoms: slab, supercell or bulk. See `hs_deepatoms.methods.build_structure.to_slab`.

        Parameters
        ----------
        spacing
            Of the atoms along the beam, Å or text.
        layers
            Atoms of a column.
        repeat
            Cells along (x, y).
        vacuum
            Above and below. None: bulk.
        shifts
            ``{class: Å}``: how much deeper columns begin.
        frame, species, cell
            As in `to_ase`.
        """
        from hs_deepatoms.methods.build_structure import to_slab

        return to_slab(self._ds, spacing=spacing, layers=layers, repeat=repeat, vacuum=vacuum, shifts=shifts,
                       frame=frame, species=species, cell=cell)  # fmt: skip

    def plot_ase(self, *, species: Any = None, frame: int = 0, rotation: str = "180x", radii: float = 0.5,
                 ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:  # fmt: skip
        """The atoms of one frame as ASE draws them. See `hs_deepatoms.plot.structure.plot_structure`.

        Parameters
        ----------
        species, frame
            As in `to_ase`.
        rotation
            Angles about the axes, as ``"-80x,10y"``.
        radii
            Of the spheres, in covalent radii.
        ax
            Where to draw. None: a new figure.
        """
        from hs_deepatoms.plot.structure import plot_structure

        return plot_structure(self.to_ase(frame=frame, species=species), ax, rotation=rotation, radii=radii)

    def export(
        self,
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
        """Write the atoms in any format of ASE. See `hs_deepatoms.methods.simulate_structure.export`.

        Parameters
        ----------
        path
            File to write.
        format
            ASE's name of it. None: from the path.
        frames
            Flattened frame or frames. None: all.
        options
            For ASE's writer.
        species, cell, vacuum, pbc, z
            As in `to_ase`.
        """
        from hs_deepatoms.methods.simulate_structure import export

        structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
        return export(self._ds, path, format=format, frames=frames, options=options, **structure)

    def relax(
        self,
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
        """Atoms moved to where their forces vanish. See `hs_deepatoms.methods.simulate_structure.relax`.

        Parameters
        ----------
        calculator
            Any ASE calculator.
        frame
            Flattened frame.
        optimizer
            ``"FIRE"``, ``"BFGS"``, ``"LBFGS"``, ``"BFGSLineSearch"``.
        fmax
            Largest force (eV/Å) at the end.
        steps
            At most.
        restraint
            Springs to the measured positions: eV, twice the cost of one sigma.
        flat
            Whether z stays.
        species, cell, vacuum, pbc, z
            As in `to_ase`.
        """
        from hs_deepatoms.methods.simulate_structure import relax

        structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
        how = {"optimizer": optimizer, "fmax": fmax, "steps": steps, "restraint": restraint, "flat": flat}
        return relax(self._ds, calculator, frame=frame, **how, **structure)

    def md(
        self,
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
        """Short molecular dynamics. See `hs_deepatoms.methods.simulate_structure.dynamics`.

        Parameters
        ----------
        calculator
            Any ASE calculator.
        frame
            Flattened frame.
        steps, timestep
            Number and length (fs) of the steps.
        temperature
            K.
        friction
            1/fs: Langevin dynamics. None: constant energy.
        every
            Steps from one stored time to the next.
        seed
            Of velocities and thermostat.
        flat
            Whether z stays.
        species, cell, vacuum, pbc, z
            As in `to_ase`.

        Returns
        -------
        xarray.Dataset
            The trajectory as a linked table with the axis ``time`` (fs), energies and forces.
        """
        from hs_deepatoms.methods.simulate_structure import dynamics

        structure = {"species": species, "cell": cell, "vacuum": vacuum, "pbc": pbc, "z": z}
        how = {"steps": steps, "timestep": timestep, "temperature": temperature, "friction": friction}
        return dynamics(self._ds, calculator, frame=frame, every=every, seed=seed, flat=flat, **how, **structure)

    def remove_overlaps(self, distance: int | float | str, *, by: str | None = None) -> xr.Dataset:
        """The table without atoms nearer than ``distance`` to a better one.

        Parameters
        ----------
        distance
            Pixels (int), axis units (float) or ``"1 Å"``.
        by
            Column of which the larger value stays. None: ``probability``, else ``height``.
        """
        from hs_deepatoms.methods.simulate_structure import remove_overlaps

        return remove_overlaps(self._ds, distance, by=by)
