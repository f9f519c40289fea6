"""``.deepatoms`` of the tree of `decompose_local` of spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hs_deepatoms.accessors.tree import ComponentsAccessor

if TYPE_CHECKING:
    import xarray as xr
    from hyperspy.signal import BaseSignal


class UnmixingAccessor(ComponentsAccessor):
    """What a decomposed spectrum image can do."""

    _pictures = "hs_deepatoms.plot.unmixing"

    def _part(self, name: str) -> BaseSignal | xr.DataArray:
        from hs_deepatoms.methods.unmixing_use import part

        return part(self._tree, name)

    def components(self) -> BaseSignal | xr.DataArray:
        """The components, spectra as those that were decomposed: an ``EELSSpectrum`` (component | energy), say."""
        return self._part("components")

    def abundances(self) -> BaseSignal | xr.DataArray:
        """How much of each component (or its score) is where: a ``Signal2D`` (component | x, y) on the scan."""
        return self._part("abundances")

    def abundances_std(self) -> BaseSignal | xr.DataArray:
        """Standard errors of the abundances, on the same axes.

        Raises
        ------
        InvalidArgumentError
            If the method has none.
        """
        return self._part("abundances_std")

    def classes(self) -> BaseSignal | xr.DataArray:
        """The class of each pixel on the scan, -1 for none.

        Raises
        ------
        InvalidArgumentError
            If the method has no classes.
        """
        return self._part("class")

    def misfit(self) -> BaseSignal | xr.DataArray:
        """Chi squared per degree of freedom of each pixel: 1 where the components explain it but for noise.

        Raises
        ------
        InvalidArgumentError
            If the method has none.
        """
        return self._part("misfit")

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
