"""``.deepatoms`` of the trees of `im2spec` and `spec2im`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.accessors.tree import TreeAccessor

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr
    from hyperspy.signal import BaseSignal


class SpectrumAccessor(TreeAccessor):
    """What a network that predicts spectra can do."""

    def of(self, which: int | str = 0) -> xr.DataTree:
        """The tree itself: it is of a single spectrum, of which ``which`` is 0 or its title.

        Parameters
        ----------
        which
            As of a tree of several spectra.

        Raises
        ------
        InvalidArgumentError
            If it is another one.
        """
        title = str(self._tree.attrs.get("spectra", ""))
        if isinstance(which, bool) or which not in (0, title):
            raise InvalidArgumentError(explain(f"which={which!r}", f"0 or {title!r}", "It is of a single spectrum."))
        return self._tree

    def predict(self, image: Any, *, lazy_output: bool | None = None, std: bool = True, device: str = "auto") -> Any:
        """Spectra of an image, of the type and with the energy axis and metadata of those that were learned.

        Parameters
        ----------
        image
            With channels and pixels as in the training, which a bare array is taken to have; further navigation axes
            are frames.
        lazy_output
            None: as the image is.
        std
            Whether the variance of a measurement is attached: as the noise variance of a signal, as the coordinate
            ``std`` of a DataArray.
        device
            Where it runs.

        Returns
        -------
        hyperspy signal or xarray.DataArray
            Marked as predicted in the title and in ``metadata.deepatoms.predicted``.
        """
        from hs_deepatoms.methods.pair_use import predict

        return predict(self._tree, image, lazy_output=lazy_output, std=std, device=device)

    def predict_std(
        self, image: Any, *, kind: str = "total", lazy_output: bool | None = None, device: str = "auto"
    ) -> Any:
        """Standard deviation of predicted spectra.

        Parameters
        ----------
        image, lazy_output, device
            As for `predict`.
        kind
            ``"total"``: of a measurement, noise included. ``"epistemic"``: of the spectrum without noise.
        """
        from hs_deepatoms.methods.pair_use import predict_std

        return predict_std(self._tree, image, kind=kind, lazy_output=lazy_output, device=device)

    def latent_map(self, latent: int = 0, image: Any = None) -> BaseSignal:
        """A latent as a map, of the training or of another image, a ``Signal2D``. Latent 0 changes spectra most."""
        from hs_deepatoms.methods.pair_use import latent_map

        return latent_map(self._tree, latent, image)

    def decode_along(self, latent: int = 0, *, n: int = 9, span: float = 2.0) -> xr.Dataset:
        """Spectra and mean windows of the image along a latent. See `hs_deepatoms.methods.pair_use.decode_along`."""
        from hs_deepatoms.methods.pair_use import decode_along

        return decode_along(self._tree, latent, n=n, span=span)

    def held_out(self, *, std: bool = True) -> BaseSignal:
        """What is predicted for every spectrum of a test by the networks that have not seen it; NaN elsewhere.

        Parameters
        ----------
        std
            Whether the variance of a measurement is attached.

        Raises
        ------
        InvalidArgumentError
            If the network predicts whole spectra (``target="spectrum"``): these are not kept.
        """
        from hs_deepatoms.methods.pair_held_out import held_out_spectra

        return held_out_spectra(self._tree, std=std)

    def plot(self, *, pixels: Any = None, spectra: Any = None) -> matplotlib.figure.Figure:
        """Held-out spectra, true and predicted, the map of the error, and that of the first latent.

        Parameters
        ----------
        pixels
            Places (y, x) whose spectra are drawn: whole numbers are pixels, others the units of the axes. None: some
            from well to badly predicted.
        spectra
            Those that were learned from, of which the measured ones are read; needed for ``pixels``.
        """
        from hs_deepatoms.plot.pair import plot_spectra

        if (pixels is None) != (spectra is None):
            got = f"{'pixels' if spectra is None else 'spectra'} alone"
            todo = "Give the spectra that were learned from: plot(pixels=[(3, 8)], spectra=eels)."
            raise InvalidArgumentError(explain(got, "pixels and spectra, or none of them", todo))
        if pixels is None:
            return plot_spectra(self._tree)
        from hs_deepatoms.methods.pair_held_out import examples_at

        return plot_spectra(self._tree, examples_at(self._tree, spectra, pixels))

    def plot_along(self, latent: int = 0, *, n: int = 5, span: float = 2.0) -> matplotlib.figure.Figure:
        """Spectra and mean windows of the image along a latent."""
        from hs_deepatoms.plot.pair import plot_along

        return plot_along(self.decode_along(latent, n=n, span=span), latent)

    def plot_scores(self) -> matplotlib.figure.Figure:
        """R2 of the model and of its baselines, in all and by channel."""
        from hs_deepatoms.plot.pair import plot_scores

        return plot_scores(self._tree)


class ImageAccessor(TreeAccessor):
    """What a network that predicts images from spectra can do."""

    def predict(self, spectra: Any, *, std: bool = True, lazy_output: bool | None = None, device: str = "auto") -> Any:
        """The image of a spectrum image. See `hs_deepatoms.methods.pair_images.predict_image`."""
        from hs_deepatoms.methods.pair_images import predict_image

        return predict_image(self._tree, spectra, std=std, lazy_output=lazy_output, device=device)

    def predict_std(self, spectra: Any, *, lazy_output: bool | None = None, device: str = "auto") -> Any:
        """Standard deviation of the predicted image."""
        from hs_deepatoms.methods.pair_images import predict_image_std

        return predict_image_std(self._tree, spectra, lazy_output=lazy_output, device=device)

    def held_out(self, *, std: bool = True) -> BaseSignal:
        """What is predicted for every place of a test by the networks that have not seen it; NaN elsewhere."""
        from hs_deepatoms.methods.pair_held_out import held_out_image

        return held_out_image(self._tree, std=std)

    def latent_map(self, latent: int = 0) -> BaseSignal:
        """A latent as a map on the axes of the spectra, a ``Signal2D``."""
        from hs_deepatoms.methods.pair_use import latent_map

        return latent_map(self._tree, latent)

    def decode_along(self, latent: int = 0, *, n: int = 9, span: float = 2.0) -> xr.Dataset:
        """Pixels and mean spectra along a latent. See `hs_deepatoms.methods.pair_images.decode_image_along`."""
        from hs_deepatoms.methods.pair_images import decode_image_along

        return decode_image_along(self._tree, latent, n=n, span=span)

    def plot(self) -> matplotlib.figure.Figure:
        """The image, measured and predicted where it was held out, the map of the error, a latent, and the scores."""
        from hs_deepatoms.plot.pair import plot_image_model

        return plot_image_model(self._tree)
