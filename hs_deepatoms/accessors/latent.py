"""``.deepatoms`` of the tree of `rvae` and `vae`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hs_deepatoms.accessors.tree import TreeAccessor

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr
    from hyperspy.signal import BaseSignal


class LatentAccessor(TreeAccessor):
    """What a trained autoencoder can do."""

    def encode(
        self,
        signal: Any,
        atoms: Any = None,
        *,
        grid: Any = None,
        channels: str | None = None,
        condition: Any = None,
        signal_dims: Any = None,
        device: str = "auto",
    ) -> xr.Dataset:
        """Latents and poses of other patches. See `hs_deepatoms.methods.latent_use.encode_latent`."""
        from hs_deepatoms.methods.latent_use import encode_latent

        return encode_latent(self._tree, signal, atoms, grid=grid, channels=channels, condition=condition,
                             signal_dims=signal_dims, device=device)  # fmt: skip

    def decode(
        self,
        z: Any,
        *,
        angle: Any = 0.0,
        shift_y: Any = 0.0,
        shift_x: Any = 0.0,
        scale: Any = 1.0,
        chosen: Any = 0,
        condition: Any = None,
    ) -> xr.DataArray:
        """Pictures of latents in any pose. See `hs_deepatoms.methods.latent_use.decode`."""
        from hs_deepatoms.methods.latent_use import decode

        return decode(self._tree, z, angle=angle, shift_y=shift_y, shift_x=shift_x, scale=scale, chosen=chosen,
                      condition=condition)  # fmt: skip

    def reconstruct(self, atoms: Any = None, *, condition: Any = None) -> xr.DataArray:
        """The model's pictures of the tree's own patches, in their poses; ``atoms``: ids of some of them."""
        from hs_deepatoms.methods.latent_use import reconstruct

        return reconstruct(self._tree, atoms, condition)

    def manifold(self, n: int = 9, *, condition: Any = None) -> xr.DataArray:
        """Pictures over the latents, ``n`` along each: on a grid for two latents, else along each of them.

        ``condition``: what all of them have, of a model that was conditioned; None: the mean.
        """
        from hs_deepatoms.methods.latent_use import manifold_of

        return manifold_of(self._tree, n, condition)

    def traverse(
        self, latent: int, *, n: int = 9, span: float = 2.0, chosen: int = 0, condition: Any = None
    ) -> xr.DataArray:
        """Pictures along one latent. See `hs_deepatoms.methods.latent_use.traverse`."""
        from hs_deepatoms.methods.latent_use import traverse

        return traverse(self._tree, latent, n, span, chosen, condition)

    def latent_map(
        self,
        what: int | str = 0,
        *,
        method: str = "nearest",
        max_distance: int | float | str | None = None,
        lazy_output: bool | None = None,
    ) -> BaseSignal:
        """A latent (or a column such as ``"angle"`` or ``"anomaly"``) on the axes of the image, a ``Signal2D``.

        Parameters
        ----------
        method, max_distance, lazy_output
            As in the ``to_signal`` of a positions table: ``"nearest"``, ``"linear"`` or ``"scatter"``.
        """
        from hs_deepatoms.methods.latent_use import latent_map

        return latent_map(self._tree, what, method=method, max_distance=max_distance, lazy_output=lazy_output)

    to_signal = latent_map

    def trajectories(self) -> xr.DataArray:
        """Latents along the tracks of a movie, (track, frame, latent). See `hs_deepatoms.methods.latent_use`."""
        from hs_deepatoms.methods.latent_use import trajectories

        return trajectories(self._tree)

    def phases(
        self,
        what: int | str = 0,
        *,
        method: str = "otsu",
        classes: int = 2,
        denoise: float | None = 1.0,
        least: float = 0.7,
    ) -> xr.Dataset:
        """The table with a column ``phase``. See `hs_deepatoms.methods.latent_phases.latent_phases`.

        ``.deepatoms.to_signal("phase")`` of it is the labelled map.
        """
        from hs_deepatoms.methods.latent_phases import latent_phases

        return latent_phases(self._tree, what, method=method, classes=classes, denoise=denoise, least=least)

    def plot_phases(
        self,
        signal: Any = None,
        what: int | str = 0,
        *,
        frame: int = 0,
        method: str = "otsu",
        classes: int = 2,
        denoise: float | None = 1.0,
        least: float = 0.7,
    ) -> matplotlib.axes.Axes:
        """Boundaries of the phases over the image. See `phases` and `hs_deepatoms.plot.phases.plot_phases`."""
        from hs_deepatoms.plot.phases import plot_phases

        table = self.phases(what, method=method, classes=classes, denoise=denoise, least=least)
        return plot_phases(table, signal, frame=frame)

    def plot_watch(self, *, frame: int = 0) -> matplotlib.figure.Figure:
        """Latent and phases at every look while the model learned (``physics_watch``)."""
        from hs_deepatoms.plot.phases import plot_watch

        return plot_watch(self._tree, frame=frame)

    def table(self) -> xr.Dataset:
        """The positions table with a column ``z_0``, ``z_1``, ... per latent, poses and classes."""
        from hs_deepatoms.tables.flatten import flat_table

        return flat_table(self._tree["latent"].to_dataset())

    def plot(self, *, frame: int = 0) -> matplotlib.figure.Figure:
        """Manifold, latents and maps in one figure. See `hs_deepatoms.plot.latent.plot_latent`."""
        from hs_deepatoms.plot.latent import plot_latent

        return plot_latent(self._tree, frame=frame)

    def plot_manifold(self, *, chosen: int = 0) -> matplotlib.figure.Figure:
        """Pictures over the latents, as one."""
        from hs_deepatoms.plot.latent import plot_manifold

        return plot_manifold(self._tree, chosen=chosen)

    def plot_history(self) -> matplotlib.figure.Figure:
        """The loss by step."""
        from hs_deepatoms.plot.latent import plot_history

        return plot_history(self._tree)
