"""``.deepatoms`` of the tree of `im2spec`."""

from __future__ import annotations

from typing import Any

from hs_deepatoms.accessors.tree import TreeAccessor


class SpectrumAccessor(TreeAccessor):
    """What a network that predicts spectra can do."""

    def predict(self, image: Any, *, lazy_output: bool | None = None, std: bool = True, device: str = "auto") -> Any:
        """Spectra of an image. See `hs_deepatoms.methods.pair_use.predict`."""
        from hs_deepatoms.methods.pair_use import predict

        return predict(self._tree, image, lazy_output=lazy_output, std=std, device=device)

    def predict_std(
        self, image: Any, *, kind: str = "total", lazy_output: bool | None = None, device: str = "auto"
    ) -> Any:
        """Standard deviation of predicted spectra. See `hs_deepatoms.methods.pair_use.predict_std`."""
        from hs_deepatoms.methods.pair_use import predict_std

        return predict_std(self._tree, image, kind=kind, lazy_output=lazy_output, device=device)
