"""``DataTree.deepatoms``: what a result tree can do, by its kind."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from hs_deepatoms._core.errors import InvalidArgumentError, explain

if TYPE_CHECKING:
    import matplotlib.figure
    from hyperspy.signal import BaseSignal


class TreeAccessor:
    """What every result tree can do."""

    def __init__(self, tree: xr.DataTree):
        self._tree = tree

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write the tree with its model to ``.zarr`` or ``.nc``; ``hs_deepatoms.load`` reads it.

        Raises
        ------
        InvalidArgumentError
            If the ending is unknown, or the target must not be replaced.
        """
        from hs_deepatoms.methods.trees import save_tree

        return save_tree(self._tree, path, overwrite=overwrite)


class ComponentsAccessor(TreeAccessor):
    """What trees with components can do; their pictures come from the module ``_pictures``."""

    _pictures: str

    def plot(self, *, components: int | list[int] | None = None, frame: int = 0) -> matplotlib.figure.Figure:
        """Components above, maps of their scores (abundances) below.

        Parameters
        ----------
        components
            How many, or which. None: the first eight.
        frame
            Flattened frame that is drawn, where there are several.
        """
        return import_module(self._pictures).plot_components(self._tree, components=components, frame=frame)

    def plot_scree(self) -> matplotlib.figure.Figure:
        """Variances (of spectra second moments) by rank, and the BIC by number of classes where it was used."""
        return import_module(self._pictures).plot_scree(self._tree)


class DecompositionAccessor(ComponentsAccessor):
    """The tree of `decompose_local`."""

    _pictures = "hs_deepatoms.plot.decomposition"

    def to_signal(
        self,
        component: int | str = 0,
        *,
        method: str = "nearest",
        max_distance: int | float | str | None = None,
        lazy_output: bool | None = None,
    ) -> BaseSignal:
        """The scores of one component (or ``"class"``) as a map on the axes of the image, a ``Signal2D``.

        Parameters
        ----------
        method, max_distance, lazy_output
            As in the ``to_signal`` of a positions table: ``"nearest"``, ``"linear"`` or ``"scatter"``.

        Raises
        ------
        InvalidArgumentError
            If there is no such component.
        TableError
            If the patches do not know where they come from.
        """
        from hs_deepatoms.tables.to_signal import to_signal

        table = self.table()
        name = component if isinstance(component, str) else f"score_{component}"
        if name not in table.data_vars:
            known = list(range(self._tree["scores"].sizes["component"]))
            allowed = f"one of {known}" + (", or 'class'" if "class" in table else "")
            raise InvalidArgumentError(explain(f"component={component!r}", allowed, "Choose one of these."))
        return to_signal(table, name, method=method, max_distance=max_distance, lazy_output=lazy_output)

    def table(self) -> xr.Dataset:
        """The positions table with a column ``score_0``, ``score_1``, ... per component; and ``class``."""
        scores = self._tree["scores"].to_dataset()
        columns = {
            f"score_{i}": scores["scores"].isel(component=i, drop=True) for i in range(scores.sizes["component"])
        }
        return scores.drop_dims("component").assign(columns)

    def encode(
        self, signal: Any, atoms: Any = None, *, grid: Any = None, channels: str | None = None, signal_dims: Any = None
    ) -> xr.Dataset:
        """Scores of other patches in these components. See `hs_deepatoms.methods.encode.encode`.

        Parameters
        ----------
        signal, atoms, grid, channels, signal_dims
            As in ``extract_patches``; the window and how it is cut are those of the tree.
        """
        from hs_deepatoms.methods.encode import encode

        return encode(self._tree, signal, atoms, grid=grid, channels=channels, signal_dims=signal_dims)


class NotAResult:
    """``.deepatoms`` of a tree that is none of our results: it has no methods."""

    def __init__(self, tree: xr.DataTree):
        self._tree = tree

    def __repr__(self) -> str:
        return "<deepatoms: this DataTree is none of our results>"


def tree_accessor(tree: xr.DataTree) -> TreeAccessor | NotAResult:
    """The accessor that fits the kind of the tree; never raises."""
    from hs_deepatoms.accessors.comparison import ComparisonAccessor
    from hs_deepatoms.accessors.latent import LatentAccessor
    from hs_deepatoms.accessors.pair import ImageAccessor, SpectrumAccessor
    from hs_deepatoms.accessors.pair_several import SeveralSpectraAccessor
    from hs_deepatoms.accessors.unmixing import UnmixingAccessor

    kinds: dict[Any, type[TreeAccessor]] = {
        "decomposition": DecompositionAccessor,
        "im2spec": SpectrumAccessor,
        "im2spec_several": SeveralSpectraAccessor,
        "latent": LatentAccessor,
        "latent_comparison": ComparisonAccessor,
        "spec2im": ImageAccessor,
        "unmixing": UnmixingAccessor,
    }
    kind = tree.attrs.get("kind")
    return kinds.get(kind if isinstance(kind, str) else "", NotAResult)(tree)


if not isinstance(getattr(xr.DataTree, "deepatoms", None), type(tree_accessor)):
    xr.register_datatree_accessor("deepatoms")(tree_accessor)
