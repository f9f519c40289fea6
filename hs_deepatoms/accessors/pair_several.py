"""``.deepatoms`` of the trees of `im2spec` with a list of spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.accessors.tree import TreeAccessor

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr
    from hyperspy.signal import BaseSignal


class SeveralSpectraAccessor(TreeAccessor):
    """What a network that predicts several spectra of every place can do: a list wherever one spectrum has one result.

    Lists are in the order of the training.
    """

    def of(self, which: int | str) -> xr.DataTree:
        """The tree of one of the spectra, with all that ``.deepatoms`` of a single spectrum has.

        Parameters
        ----------
        which
            Place in the list of the training, or title.
        """
        from hs_deepatoms.methods.pair_several import one_of

        return one_of(self._tree, which)

    def predict(self, image: Any, *, lazy_output: bool | None = None, std: bool = True, device: str = "auto") -> list:
        """Spectra of an image, a signal (of a DataArray or array: a DataArray) for each that was learned.

        Parameters
        ----------
        image, lazy_output, std, device
            As for a single spectrum.
        """
        from hs_deepatoms.methods.pair_use import predict_each

        return predict_each(self._each(), image, lazy_output=lazy_output, std=std, device=device)

    def predict_std(
        self, image: Any, *, kind: str = "total", lazy_output: bool | None = None, device: str = "auto"
    ) -> list:
        """Standard deviations of the predicted spectra.

        Parameters
        ----------
        image, lazy_output, device
            As for `predict`.
        kind
            ``"total"``: of a measurement, noise included. ``"epistemic"``: of the spectrum without noise.
        """
        from hs_deepatoms.methods.pair_use import predict_std_each

        return predict_std_each(self._each(), image, kind=kind, lazy_output=lazy_output, device=device)

    def latent_map(self, latent: int = 0, image: Any = None) -> BaseSignal:
        """A latent as a map, of the training or of another image, a ``Signal2D``: all spectra follow from the same."""
        return self.of(0).deepatoms.latent_map(latent, image)

    def decode_along(self, latent: int = 0, *, n: int = 9, span: float = 2.0) -> list[xr.Dataset]:
        """Spectra and mean windows of the image along a latent. See `hs_deepatoms.methods.pair_use.decode_along`."""
        return [one.deepatoms.decode_along(latent, n=n, span=span) for one in self._each()]

    def held_out(self, *, std: bool = True) -> list[BaseSignal]:
        """What is predicted for every place of a test by the networks that have not seen it; NaN elsewhere.

        Parameters
        ----------
        std
            Whether the variance of a measurement is attached.

        Raises
        ------
        InvalidArgumentError
            If the network predicts whole spectra (``target="spectrum"``): these are not kept.
        """
        return [one.deepatoms.held_out(std=std) for one in self._each()]

    def plot(self, *, pixels: Any = None, spectra: Any = None) -> list[matplotlib.figure.Figure]:
        """A figure for each of the spectra: held-out ones, true and predicted, the maps of the error and of a latent.

        Parameters
        ----------
        pixels
            Places (y, x) whose spectra are drawn, as for a single spectrum.
        spectra
            The list that was learned from; needed for ``pixels``.
        """
        each = self._each()
        given = [None] * len(each) if spectra is None else spectra
        if not isinstance(given, list | tuple) or len(given) != len(each):
            got = f"{len(given) if isinstance(given, list | tuple) else 'no list of'} spectra for plot"
            todo = "Give those that were learned from, in their order."
            raise InvalidArgumentError(explain(got, f"a list of {len(each)}", todo))
        return self._titled([one.deepatoms.plot(pixels=pixels, spectra=own)
                             for one, own in zip(each, given, strict=True)])  # fmt: skip

    def plot_along(self, latent: int = 0, *, n: int = 5, span: float = 2.0) -> list[matplotlib.figure.Figure]:
        """A figure for each of the spectra: spectra and mean windows of the image along a latent."""
        return self._titled([one.deepatoms.plot_along(latent, n=n, span=span) for one in self._each()])

    def plot_scores(self) -> list[matplotlib.figure.Figure]:
        """A figure for each of the spectra: R2 of the model and of its baselines, in all and by channel."""
        return self._titled([one.deepatoms.plot_scores() for one in self._each()])

    def _titled(self, figures: list[matplotlib.figure.Figure]) -> list[matplotlib.figure.Figure]:
        """Figures that say whose they are."""
        metrics = self._tree["metrics"]
        for figure, name, title in zip(figures, metrics["spectrum"].values, metrics["title"].values, strict=True):
            figure.suptitle(str(title) or str(name))
        return figures

    def _each(self) -> list[xr.DataTree]:
        from hs_deepatoms.methods.pair_several import each_of

        return each_of(self._tree)
