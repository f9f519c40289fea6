"""Adding and removing atoms by hand in HyperSpy's plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.axes import UNCALIBRATED
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.plot.markers import is_open, points, positions_for, show, signal_frames, to_markers
from hs_deepatoms.plot.style import COLOR
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.edited import edited_table
from hs_deepatoms.tables.frames import frame_of

if TYPE_CHECKING:
    import xarray as xr
    from hyperspy.signal import BaseSignal

PICK_RADIUS = 20.0
"""A right click farther than this from every atom, in screen pixels, removes nothing."""
LEFT, RIGHT = 1, 3


class TableEditor:
    """A positions table open for editing in HyperSpy's plot of ``signal``.

    Left click adds an atom at the pointer, right click removes the nearest one, the key ``u`` takes the last click
    back. Nothing happens while matplotlib's zoom or pan is on. Keep the object: it holds the edits.

    Parameters
    ----------
    ds
        Positions table; it is left as it is.
    signal
        The signal the atoms belong to, or a part of it.

    Examples
    --------
    >>> editor = atoms.deepatoms.edit(s)       # click  # doctest: +SKIP
    >>> atoms = editor.result()                # doctest: +SKIP
    """

    def __init__(self, ds: xr.Dataset, signal: BaseSignal):
        if not hasattr(signal, "axes_manager"):
            todo = "Make one of an array: hs.signals.Signal2D(array)."
            raise InvalidArgumentError(explain(f"a {type(signal).__name__} for edit", "a HyperSpy signal", todo))
        self._ds = schema.dropna(ds)
        self._signal = signal
        self._axes = read_source(signal, operation="edit").signal[-2:]
        self._frames = signal_frames(self._ds, signal)
        self._y, self._x = positions_for(self._ds, signal)
        self._frame = frame_of(self._ds)
        self._here = np.ones(self._y.size, bool)
        self._clicked: list[int] = []
        self._markers = to_markers(self._ds, signal, color=COLOR)
        self._size = float(self._markers.kwargs["sizes"][0])
        self.ax = show(signal, self._markers)
        canvas = self.ax.figure.canvas
        self._connections = [
            canvas.mpl_connect("button_press_event", self._on_click),
            canvas.mpl_connect("key_press_event", self._on_key),
        ]

    @property
    def n_added(self) -> int:
        """Number of atoms added and not removed again."""
        return int(self._here[self._ds.sizes[schema.DIM] :].sum())

    @property
    def n_removed(self) -> int:
        """Number of atoms of the given table that were removed."""
        return int((~self._here[: self._ds.sizes[schema.DIM]]).sum())

    def result(self) -> xr.Dataset:
        """The table as it is now: removed atoms are gone, added ones follow at the end with new ids.

        An added atom has probability 1 (a person saw it); columns nobody measured are NaN, classes "unknown" (-1).
        """
        n = self._ds.sizes[schema.DIM]
        new = np.flatnonzero(self._here[n:]) + n
        y, x = self._in_table_units(self._y[new], self._x[new])
        return edited_table(self._ds, keep=self._here[:n], y=y, x=x, frame=self._frame[new], axes=self._axes)

    def undo(self) -> None:
        """Take the last click back; nothing if there is none."""
        if self._clicked:
            self._toggle(self._clicked.pop())

    def close(self) -> None:
        """Stop listening and remove the markers; ``result`` stays available."""
        for connection in self._connections:
            self.ax.figure.canvas.mpl_disconnect(connection)
        self._connections = []
        if is_open(self._signal):
            self._markers.close()

    def __repr__(self) -> str:
        return f"<TableEditor: {self.n_added} added, {self.n_removed} removed; result() gives the table>"

    def _on_click(self, event: Any) -> None:
        toolbar = getattr(event.canvas, "toolbar", None)
        if event.inaxes is not self.ax or event.dblclick or (toolbar is not None and toolbar.mode):
            return
        if event.button == LEFT:
            self._add(event.ydata, event.xdata)
        elif event.button == RIGHT:
            self._remove(event.x, event.y)

    def _on_key(self, event: Any) -> None:
        if event.key == "u":
            self.undo()

    def _add(self, y: float, x: float) -> None:
        self._y, self._x = np.append(self._y, y), np.append(self._x, x)
        self._frame = np.append(self._frame, self._current_frame())
        self._here = np.append(self._here, False)
        self._clicked.append(self._y.size - 1)
        self._toggle(self._y.size - 1)

    def _remove(self, screen_x: float, screen_y: float) -> None:
        atoms = np.flatnonzero(self._here & (self._frame == self._current_frame()))
        if not atoms.size:
            return
        screen = self.ax.transData.transform(np.stack([self._x[atoms], self._y[atoms]], axis=1))
        distance = np.hypot(screen[:, 0] - screen_x, screen[:, 1] - screen_y)
        nearest = int(np.argmin(distance))
        if distance[nearest] <= PICK_RADIUS:
            self._clicked.append(int(atoms[nearest]))
            self._toggle(int(atoms[nearest]))

    def _toggle(self, atom: int) -> None:
        """Show or hide an atom, and give its frame's markers anew."""
        self._here[atom] = not self._here[atom]
        frame = self._frame[atom]
        shown = self._here & (self._frame == frame)
        offsets = np.stack([self._x[shown], self._y[shown]], axis=1)
        if self._frames is None:
            # HyperSpy cannot change markers that are the same in every frame, only replace them
            self._markers.close(render_figure=False)
            self._markers = points(offsets, size=self._size, edgecolors=COLOR)
            self._signal.add_marker(self._markers)
            return
        places = self._places(frame)
        self._markers.remove_items(slice(None), keys="offsets", navigation_indices=places)
        self._markers.add_items(offsets=offsets, navigation_indices=places)
        self.ax.hspy_fig.render_figure()

    def _places(self, frame: int) -> list[tuple[int, ...]]:
        """Where the markers of a frame are kept: HyperSpy counts the fastest axis first."""
        return [tuple(index[::-1]) for index in np.argwhere(self._frames == frame).tolist()]

    def _current_frame(self) -> int:
        if self._frames is None:
            return int(self._frame[0]) if self._ds.sizes[schema.DIM] else 0
        return int(self._frames[tuple(self._signal.axes_manager.indices[::-1])])

    def _in_table_units(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stored = schema.stored_axes(self._ds)
        made = []
        for place, (name, values) in enumerate((("y", y), ("x", x))):
            axis, units = self._axes[place], schema.axis_units(self._ds)[name]
            if axis.units == units:
                made.append(values)
            elif not {axis.units, units} & UNCALIBRATED:
                from hs_deepatoms.bridge.lengths import unit_factor

                made.append(values * unit_factor(axis.units, units))
            else:
                own = axis if stored is None else stored[1][-2:][place]
                part = own.size != axis.size  # its axes count the pixels of the whole: see positions_for
                made.append(values if part else np.asarray(own.to_value(axis.to_index(values)), float))
        return made[0], made[1]
