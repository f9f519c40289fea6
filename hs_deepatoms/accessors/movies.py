"""`.deepatoms` of a table: the same atoms in the frames of a movie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray as xr


class MovieMethods:
    """Drift, tracks, displacements, transitions, scan jitter."""

    _ds: xr.Dataset

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

    def diffusion(self, *, axis: str | int | None = None, drift: bool = True) -> xr.Dataset:
        """Diffusion constant of linked atoms per frame. See `hs_deepatoms.methods.diffusion.diffusion`.

        Parameters
        ----------
        axis
            Navigation axis that is time. None: the last one.
        drift
            Whether the mean step of a frame is taken off.
        """
        from hs_deepatoms.methods.diffusion import diffusion

        return diffusion(self._ds, axis=axis, drift=drift)

    def scan_jitter(self, signal: Any = None, *, axis: str | int | None = None) -> xr.Dataset:
        """Error of positions beyond ``y_std``, ``x_std``: of frames of the same area, or of the scan lines of an image.

        See `hs_deepatoms.methods.jitter.scan_jitter`.

        Parameters
        ----------
        signal
            The image or stack of these atoms, to see its scan lines. None: two or more frames are compared.
        axis
            Navigation axis of the repeats. None: the last one.

        Returns
        -------
        xarray.Dataset
            ``y``, ``x``, the one-sigma jitter of one position, and their errors ``y_std``, ``x_std``; ``n_pairs``. With
            the image ``x``, ``x_std``, and ``line_x``, the jitter of a scan line.
        """
        from hs_deepatoms.methods.jitter import scan_jitter

        return scan_jitter(self._ds, signal, axis=axis)

    def with_jitter(self, jitter: xr.Dataset | None = None, *, axis: str | int | None = None) -> xr.Dataset:
        """The table with the scan jitter in its ``y_std``, ``x_std``. See `hs_deepatoms.methods.jitter.with_jitter`.

        Parameters
        ----------
        jitter
            What `scan_jitter` found, also in other images. None: measured on this table of two or more frames.
        axis
            Navigation axis of the repeats. None: the last one.
        """
        from hs_deepatoms.methods.jitter import with_jitter

        return with_jitter(self._ds, jitter, axis=axis)

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

    def on_tracks(
        self, columns: str | xr.DataArray | Sequence[str | xr.DataArray], *, axis: str | int | None = None
    ) -> xr.Dataset:
        """Classes, rings, latents, any column by track and frame. See `hs_deepatoms.methods.on_tracks.on_tracks`.

        Parameters
        ----------
        columns
            Names of columns, or arrays with dim ``atom``, as ``rings["rings_of_atom"]`` or ``tree["latent"]["z"]``.
        axis
            Navigation axis that is time. None: the last one.
        """
        from hs_deepatoms.methods.on_tracks import on_tracks

        return on_tracks(self._ds, columns, axis=axis)

    def lifetimes(self, by: str = "species", *, axis: str | int | None = None) -> xr.Dataset:
        """For how many frames atoms stay in a class. See `hs_deepatoms.methods.on_tracks.lifetimes`.

        Parameters
        ----------
        by
            Column of classes.
        axis
            Navigation axis that is time. None: the last one.
        """
        from hs_deepatoms.methods.on_tracks import lifetimes

        return lifetimes(self._ds, by, axis=axis)

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
