"""``Dataset.deepatoms``: what a positions table can do. Thin: every method calls one function of a room below."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from hs_deepatoms.accessors.crystal import CrystalMethods
from hs_deepatoms.accessors.movies import MovieMethods
from hs_deepatoms.accessors.species import SpeciesMethods
from hs_deepatoms.accessors.structure import StructureMethods
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas as pd
    from hyperspy.api import plot
    from hyperspy.signal import BaseSignal

    from hs_deepatoms.plot.edit import TableEditor


class TableAccessor(SpeciesMethods, CrystalMethods, MovieMethods, StructureMethods):
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


class ResultAccessor:
    """Methods of what was found from a table: rings, bonds, events, transitions."""

    def __init__(self, ds: xr.Dataset):
        self._ds = ds

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write it to ``.zarr`` or ``.nc``; `hs_deepatoms.load` gives it back.

        Raises
        ------
        InvalidArgumentError
            If the ending is another one, or the target must not be replaced.
        """
        from hs_deepatoms.tables.storage import save_table

        return save_table(self._ds, path, overwrite=overwrite)

    def __repr__(self) -> str:
        return f"<deepatoms: {self._ds.attrs.get('kind', 'a result')} of a positions table>"


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


def dataset_accessor(ds: xr.Dataset) -> TableAccessor | ResultAccessor | NotATable:
    """The accessor that fits what ``ds`` is; never raises."""
    if schema.is_table(ds):
        return TableAccessor(ds)
    return ResultAccessor(ds) if schema.is_result(ds) else NotATable(ds)


if not isinstance(getattr(xr.Dataset, "deepatoms", None), type(dataset_accessor)):
    xr.register_dataset_accessor("deepatoms")(dataset_accessor)
