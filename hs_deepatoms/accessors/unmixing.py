"""``.deepatoms`` of the tree of `decompose_local` of spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hs_deepatoms.accessors.tree import TreeAccessor

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr
    from hyperspy.signal import BaseSignal


class UnmixingAccessor(TreeAccessor):
    """What a decomposed spectrum image can do."""

    def components(self) -> BaseSignal | xr.DataArray:
        """The components, spectra as those that were decomposed: an ``EELSSpectrum`` (component | energy), say."""
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, "components")

    def abundances(self) -> BaseSignal | xr.DataArray:
        """How much of each component (or its score) is where: a ``Signal2D`` (component | x, y) on the scan."""
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, "abundances")

    def abundances_std(self) -> BaseSignal | xr.DataArray:
        """Standard errors of the abundances, on the same axes.

        Raises
        ------
        InvalidArgumentError
            If the method has none.
        """
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, "abundances_std")

    def classes(self) -> BaseSignal | xr.DataArray:
        """The class of each pixel on the scan, -1 for none.

        Raises
        ------
        InvalidArgumentError
            If the method has no classes.
        """
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, "class")

    def misfit(self) -> BaseSignal | xr.DataArray:
        """Chi squared per degree of freedom of each pixel: 1 where the components explain it but for noise.

        Raises
        ------
        InvalidArgumentError
            If the method has none.
        """
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, "misfit")

    def to_signal(self, component: int | str = 0) -> BaseSignal | xr.DataArray:
        """The map of one component, or ``"class"`` or ``"misfit"``.

        Raises
        ------
        InvalidArgumentError
            If there is no such component.
        """
        from hs_deepatoms.methods.unmixing_use import one_map

        return one_map(self._tree, component)

    def reconstruct(self) -> BaseSignal | xr.DataArray:
        """The spectra that the components explain, without the rest: lazy, shaped as the cube.

        Raises
        ------
        InvalidArgumentError
            For classes and embeddings.
        """
        from hs_deepatoms.methods.unmixing_use import reconstruct

        return reconstruct(self._tree)

    def encode(
        self, signal: Any, *, navigation_mask: Any = None, signal_dims: Any = None, show_progressbar: bool | None = None
    ) -> BaseSignal | xr.DataArray:
        """Abundances (scores) of other spectra in these components. See `hs_deepatoms.methods.unmixing_use.encode`."""
        from hs_deepatoms.methods.unmixing_use import encode

        return encode(self._tree, signal, navigation_mask=navigation_mask, signal_dims=signal_dims,
                      show_progressbar=show_progressbar)  # fmt: skip

    def plot(self, *, components: int | list[int] | None = None, frame: int = 0) -> matplotlib.figure.Figure:
        """Spectra of the components above, maps of them below.

        Parameters
        ----------
        components
            How many, or which. None: the first eight.
        frame
            Flattened frame, where the scan has more than two axes.
        """
        from hs_deepatoms.plot.unmixing import plot_unmixing

        return plot_unmixing(self._tree, components=components, frame=frame)

    def plot_scree(self) -> matplotlib.figure.Figure:
        """Second moments of the scaled spectra by rank, and how many components were taken."""
        from hs_deepatoms.plot.unmixing import plot_scree

        return plot_scree(self._tree)
