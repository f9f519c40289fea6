"""``Dataset.deepatoms``: what a positions table can do. Thin: every method calls one function of a room below."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import matplotlib.axes
    import numpy as np
    import pandas as pd
    from hyperspy.api import plot
    from hyperspy.signal import BaseSignal

    from hs_deepatoms.plot.edit import TableEditor


class TableAccessor:
    """Methods of a positions table: a Dataset with the dim ``atom`` and the coordinates ``y``, ``x``."""

    def __init__(self, ds: xr.Dataset):
        self._ds = ds

    def count(self) -> xr.DataArray:
        """Number of atoms per frame over the navigation dims, empty frames included.

        Returns
        -------
        xarray.DataArray
            Over the navigation dims of the source; 0-dimensional for a single image.
        """
        from hs_deepatoms.tables.counts import count

        return count(self._ds)

    def select(
        self,
        *,
        frames: int | slice | Sequence[int] | Mapping[str, Any] | None = None,
        region: Any = None,
        species: int | str | Sequence[int | str] | None = None,
        probability: float | tuple[float, float] | None = None,
        border: int | float | str | None = None,
    ) -> xr.Dataset:
        """The atoms that fulfil every condition given; ids are kept. See `hs_deepatoms.tables.select.select`.

        Parameters
        ----------
        frames
            Frame number, slice or list (flattened), or per navigation axis: ``{"time": slice(0, 5)}``.
        region
            A HyperSpy ROI with an area, in the units of x and y.
        species
            Class or classes, as numbers or names.
        probability
            At least this; or (from, to).
        border
            Drops atoms nearer than this to the image's edge: pixels (int), axis units (float) or ``"0.5 nm"``.
        """
        from hs_deepatoms.tables.select import select

        return select(self._ds, frames=frames, region=region, species=species, probability=probability, border=border)

    def lattice(self, *, reference: Any = None, species: int | str | Sequence[int | str] | None = None) -> xr.Dataset:
        """Site in the crystal, displacement from it, and strain of every atom.

        See `hs_deepatoms.methods.lattice.lattice`.

        Parameters
        ----------
        reference
            None or ``"mean"``: the mean lattice of each grain; a HyperSpy ROI: the lattice inside it; ``(a, b)``:
            lengths of its vectors.
        species
            Class or classes that take part.

        Returns
        -------
        xarray.Dataset
            With ``grain``, ``site_i``, ``site_j``, ``basis``, ``displacement_y``, ``displacement_x``, ``strain_yy``,
            ``strain_xx``, ``strain_xy``, ``lattice_rotation``, their ``_std``, and the attribute ``lattice``.
        """
        from hs_deepatoms.methods.lattice import lattice

        return lattice(self._ds, reference=reference, species=species)

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

    def classify(
        self,
        n: int | str | Sequence[str] = "auto",
        *,
        method: str = "mixture",
        by: str = "intensity",
        local: bool | str = "auto",
        signal: Any = None,
        seed: int = 0,
    ) -> xr.Dataset:
        """A new table with the ``species`` of every atom. See `hs_deepatoms.methods.classify.classify`.

        Parameters
        ----------
        n
            Number of species, their names (strongest first), or ``"auto"``.
        method
            ``"mixture"``, ``"kmeans"``, ``"meanshift"`` or ``"threshold"``.
        by
            What tells them apart: ``"intensity"``, ``"height"``, another column, or ``"contrast"`` to the neighbours.
        local
            Take a smooth trend (thickness) off: True, False or ``"auto"``.
        signal
            The image, for tables without fitted peaks.
        seed
            Of the random numbers.
        """
        from hs_deepatoms.methods.classify import classify

        return classify(self._ds, n, method=method, by=by, local=local, signal=signal, seed=seed)

    def rename_species(self, names: Mapping[int | str, str]) -> xr.Dataset:
        """The table with other names for its species: ``{"A": "Sr", "B": "Ti"}``, or by number."""
        from hs_deepatoms.methods.classify import rename_species

        return rename_species(self._ds, names)

    def sublattices(self) -> dict[str, xr.Dataset]:
        """Name of every species -> the table of its atoms, strongest first."""
        from hs_deepatoms.methods.classify import sublattices

        return sublattices(self._ds)

    def vacancies(self) -> xr.Dataset:
        """Empty sites of the local lattice, a table of their own with ``species`` expected and ``confidence``.

        See `hs_deepatoms.methods.sites.vacancies`.
        """
        from hs_deepatoms.methods.sites import vacancies

        return vacancies(self._ds)

    def dopants(self) -> xr.Dataset:
        """The table with ``site_species``, the species of most equivalents, and ``off_class`` where an atom differs.

        See `hs_deepatoms.methods.sites.dopants`.
        """
        from hs_deepatoms.methods.sites import dopants

        return dopants(self._ds)

    def to_units(self, units: str) -> xr.Dataset:
        """The table with positions, uncertainties and widths in other units (``"pm"``) or in pixels (``"px"``)."""
        from hs_deepatoms.tables.units import to_units

        return to_units(self._ds, units)

    def to_dataframe(self) -> pd.DataFrame:
        """A DataFrame indexed by ``atom``; ``frame.attrs["units"]`` gives the units of its columns."""
        from hs_deepatoms.tables.storage import to_dataframe

        return to_dataframe(self._ds)

    def to_signal(
        self,
        column: str = "probability",
        *,
        method: str = "nearest",
        max_distance: int | float | str | None = None,
        lazy_output: bool | None = None,
    ) -> BaseSignal:
        """A column as a map on the source's axes, a HyperSpy ``Signal2D``.

        Parameters
        ----------
        column
            Any column of numbers.
        method
            ``"nearest"``: the value of the nearest atom of the frame; ``"linear"``: linear between atoms, NaN outside;
            ``"scatter"``: the value in the atom's own pixel (mean of several), NaN elsewhere.
        max_distance
            For ``"nearest"``: NaN farther than this from any atom; pixels (int), axis units (float) or ``"0.5 nm"``.
        lazy_output
            None: lazy where the map would be larger than 512 MB.

        Raises
        ------
        TableError
            If there is no such column, or the table does not know the axes of its image.
        """
        from hs_deepatoms.tables.to_signal import to_signal

        return to_signal(self._ds, column, method=method, max_distance=max_distance, lazy_output=lazy_output)

    def to_markers(
        self, signal: BaseSignal | None = None, *, size: float | None = None, color: str | None = None
    ) -> plot.markers.Points:
        """HyperSpy ``Points`` markers at the calibrated positions, which follow the navigation of the signal.

        Parameters
        ----------
        signal
            The signal they will be added to, where its frames are not those of the table (a part of the stack).
        size
            Diameter in points. None: a third of the distance between atoms, at most 8.
        color
            Any matplotlib colour. None: by species, else red.

        Examples
        --------
        >>> s.plot(); s.add_marker(atoms.deepatoms.to_markers())  # doctest: +SKIP
        """
        from hs_deepatoms.plot.markers import to_markers

        return to_markers(self._ds, signal, size=size, color=color)

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

    def plot(
        self,
        signal: Any = None,
        *,
        frame: int = 0,
        ax: matplotlib.axes.Axes | None = None,
        size: float | None = None,
        color: str | None = None,
        arrows: str | None = None,
        ellipses: bool = False,
        scale: float | None = None,
    ) -> matplotlib.axes.Axes | None:
        """Draw the atoms.

        Parameters
        ----------
        signal
            A HyperSpy signal: its own plot opens, with the atoms as markers that follow the navigation. A DataArray or
            array: the picture of one frame with the atoms on it. None: the atoms alone.
        frame
            Flattened frame to draw; a HyperSpy plot has its own navigator.
        ax
            Matplotlib axes to draw on; a HyperSpy signal is then drawn there too, as a picture of one frame.
        size
            Diameter of a marker in points. None: a third of the distance between atoms.
        color
            Any matplotlib colour, or ``"species"``. None: by species where there are several, else red.
        arrows
            ``"displacement"`` or ``"off_centring"``: arrows, magnified, with a key; a HyperSpy signal is then drawn
            as a picture of one frame.
        ellipses
            One-sigma ellipses of the positions, magnified as the legend says; likewise.
        scale
            Magnification of arrows and ellipses. None: what can be seen.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn.
        """
        if color == "species":
            schema.check_column(self._ds, "species")
            color = None
        if hasattr(signal, "axes_manager") and ax is None and arrows is None and not ellipses:
            from hs_deepatoms.plot.markers import plot_on_signal

            return plot_on_signal(self._ds, signal, size=size, color=color)
        from hs_deepatoms.plot.overlay import plot_positions

        drawn = {"arrows": arrows, "ellipses": ellipses, "scale": scale}
        return plot_positions(self._ds, signal, ax, frame=frame, size=size, color=color, **drawn)

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

    def drift(self, *, axis: str | int | None = None) -> xr.Dataset:
        """How the whole picture moved, frame by frame. See `hs_deepatoms.methods.tracks.drift`.

        Returns
        -------
        xarray.Dataset
            ``y``, ``x`` since the first frame with atoms, and their errors, over the navigation dims.
        """
        from hs_deepatoms.methods.tracks import drift

        return drift(self._ds, axis=axis)

    def link(
        self,
        *,
        max_step: int | float | str | None = None,
        memory: int = 2,
        drift: bool = True,
        axis: str | int | None = None,
    ) -> xr.Dataset:
        """Find the same atom in all frames of a movie. See `hs_deepatoms.methods.tracks.link`.

        Parameters
        ----------
        max_step
            Longest step of an atom, drift taken off: pixels (int), axis units (float) or ``"0.1 nm"``. None: from
            the scatter of the steps, about half of the spacing.
        memory
            Frames an atom may be missing before it counts as gone.
        drift
            Whether the drift of the whole picture is measured and taken off.
        axis
            Navigation axis that is time. None: the last one; along the others, every movie is linked for itself.

        Returns
        -------
        xarray.Dataset
            The table with the coordinate ``track`` and the columns ``drift_y``, ``drift_x``.
        """
        from hs_deepatoms.methods.tracks import link

        return link(self._ds, max_step=max_step, memory=memory, drift=drift, axis=axis)

    def tracks(self, *, axis: str | int | None = None) -> xr.Dataset:
        """One row per track: frames, mean position, rms, net displacement. See `hs_deepatoms.methods.motion.tracks`."""
        from hs_deepatoms.methods.motion import tracks

        return tracks(self._ds, axis=axis)

    def displacements(self, *, axis: str | int | None = None) -> xr.Dataset:
        """Every step of every atom, and which are jumps. See `hs_deepatoms.methods.motion.displacements`."""
        from hs_deepatoms.methods.motion import displacements

        return displacements(self._ds, axis=axis)

    def msd(self, *, max_lag: int | None = None, axis: str | int | None = None) -> xr.Dataset:
        """Mean squared displacement over the time lag, with errors.

        Parameters
        ----------
        max_lag
            Longest lag in frames. None: a quarter of the movie.

        See `hs_deepatoms.methods.motion.mean_square_displacement`.
        """
        from hs_deepatoms.methods.motion import mean_square_displacement

        return mean_square_displacement(self._ds, max_lag=max_lag, axis=axis)

    def transitions(self, by: str = "species", *, axis: str | int | None = None) -> xr.Dataset:
        """Markov matrix of the classes from frame to frame. See `hs_deepatoms.methods.motion.transitions`.

        Parameters
        ----------
        by
            Column of classes.

        Returns
        -------
        xarray.Dataset
            ``counts``, ``probability``, ``probability_std`` over (``from``, ``to``); ``stationary``, ``state``.
        """
        from hs_deepatoms.methods.motion import transitions

        return transitions(self._ds, by, axis=axis)

    def plot_tracks(
        self,
        signal: Any = None,
        *,
        frame: int = 0,
        ax: matplotlib.axes.Axes | None = None,
        drift: bool = False,
        axis: str | int | None = None,
        cmap: str = "cool",
        linewidth: float = 1.2,
    ) -> matplotlib.axes.Axes:
        """Draw the path of every atom, coloured by time, on the picture of a frame. See `hs_deepatoms.plot.tracks`.

        Parameters
        ----------
        signal
            The movie or one frame of it: HyperSpy signal, DataArray or array. None: the paths alone.
        frame
            Flattened frame to draw.
        drift
            True: paths as seen. False: without drift, where the atoms would be in this frame.
        ax
            Matplotlib axes to draw on. None: a new figure.
        axis
            Navigation axis that is time. None: the last one.
        cmap, linewidth
            Matplotlib colour map for the time, and width of the lines in points.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn.
        """
        from hs_deepatoms.plot.tracks import plot_tracks

        return plot_tracks(self._ds, signal, ax, frame=frame, drift=drift, axis=axis, cmap=cmap, linewidth=linewidth)

    def edit(self, signal: BaseSignal) -> TableEditor:
        """Add and remove atoms by hand in HyperSpy's plot of ``signal``.

        Left click adds an atom, right click removes the nearest one, ``u`` (or ``undo()``) takes the last click back;
        nothing happens while matplotlib's zoom or pan is on.

        Returns
        -------
        TableEditor
            ``result()`` gives the new table: ids of the atoms that stayed are kept, new ones follow at the end.
        """
        from hs_deepatoms.plot.edit import TableEditor

        return TableEditor(self._ds, signal)

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write the table to ``.zarr`` or ``.nc`` (everything) or ``.csv`` (columns and units).

        Raises
        ------
        InvalidArgumentError
            If the ending is unknown, or the target must not be replaced.
        """
        from hs_deepatoms.tables.storage import save_table

        return save_table(self._ds, path, overwrite=overwrite)


class NotATable:
    """``.deepatoms`` of a Dataset that is no positions table: it has no methods and says why."""

    def __init__(self, ds: xr.Dataset):
        self._ds = ds

    def __getattr__(self, name: str):
        try:
            schema.check_table(self.__dict__["_ds"])
        except schema.TableError as error:
            raise AttributeError(f"no {name!r} here: {error}") from error
        raise AttributeError(f"{name!r}: this Dataset became a table after .deepatoms was used; copy it first")

    def __repr__(self) -> str:
        return "<deepatoms: this Dataset is not a positions table>"


def dataset_accessor(ds: xr.Dataset) -> TableAccessor | NotATable:
    """The accessor that fits what ``ds`` is; never raises."""
    return TableAccessor(ds) if schema.is_table(ds) else NotATable(ds)


if not isinstance(getattr(xr.Dataset, "deepatoms", None), type(dataset_accessor)):
    xr.register_dataset_accessor("deepatoms")(dataset_accessor)
