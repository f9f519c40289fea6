"""``.deepatoms`` of the tree of `compare_latents`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hs_deepatoms.accessors.tree import TreeAccessor

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd


class ComparisonAccessor(TreeAccessor):
    """What a comparison can show."""

    def table(self) -> pd.DataFrame:
        """The scores, one row per window and method."""
        return self._tree["scores"].to_dataset().drop_dims("other").to_dataframe()

    def plot(self) -> matplotlib.figure.Figure:
        """Pictures, latents and classes of all methods, one beside the other. See `hs_deepatoms.plot.comparison`."""
        from hs_deepatoms.plot.comparison import plot_comparison

        return plot_comparison(self._tree)
