"""What pictures of components of patches and of spectra have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import is_whole

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import xarray as xr

MOST = 8
PEAK = 10  # times what nine of ten channels stay below: on a linear scale nothing but the peak would be seen
SIDE = 2.6  # inches of a panel


def chosen_components(components: Any, k: int) -> list[int]:
    """Which of k components are drawn: so many, or these; None: the first eight."""
    if components is None:
        return list(range(min(k, MOST)))
    whole = is_whole(components)
    chosen = list(range(components)) if whole else [int(one) for one in components]
    if not chosen or min(chosen) < 0 or max(chosen) >= k:
        raise InvalidArgumentError(explain(f"components={components!r}", f"1 to {k}, or a list of 0 to {k - 1}",
                                           "Choose of these."))  # fmt: skip
    return chosen


def check_frame(frame: int, n: int) -> None:
    """Refuse frames that are not among n."""
    if not 0 <= frame < n:
        raise InvalidArgumentError(explain(f"frame={frame!r}", f"0 to {n - 1}", "Choose one of these."))


def draw_scree(tree: xr.DataTree, column: str, labels: tuple[str, str], *, allowed: tuple[str, str],
               filled: int | None = None) -> matplotlib.figure.Figure:  # fmt: skip
    """Values by rank, and the BIC by number of classes where it was used.

    Parameters
    ----------
    tree : xarray.DataTree
    column : str
        Of ``/scree``.
    labels : (str, str)
        Of both axes.
    allowed : (str, str)
        What is needed, and what to do, where there is none.
    filled : int, optional
        So many points are filled, the others open; None: all, joined by a line.

    Raises
    ------
    InvalidArgumentError
        If the tree has no ``/scree``.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    if "scree" not in tree.children:
        raise InvalidArgumentError(explain(f"a decomposition by {tree.attrs.get('method')!r}", *allowed))
    scree = tree["scree"]
    n = 1 + ("bic" in scree.data_vars)
    figure, axes = plt.subplots(1, n, figsize=(4.5 * n, 3.5), layout="constrained", squeeze=False)
    rank, values = scree["rank"].values, scree[column].values
    if filled is None:
        axes[0, 0].semilogy(rank, values, "o-")
    else:
        axes[0, 0].semilogy(rank, values, "o", mfc="none", color="C0")
        axes[0, 0].semilogy(rank[:filled], values[:filled], "o", color="C0")
    axes[0, 0].set(xlabel=labels[0], ylabel=labels[1])
    for ax in axes[0]:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if n == 2:
        axes[0, 1].plot(scree["n_classes"], scree["bic"], "o-")
        axes[0, 1].set(xlabel="number of classes", ylabel="BIC")
    return figure


def extent_of(image: xr.DataArray, y: str, x: str) -> tuple[float, float, float, float]:
    """Edges of the outer pixels, the first row at the top."""
    edges = []
    for dim in (x, y):
        values = np.asarray(image[dim].values, float)
        half = (values[-1] - values[0]) / (values.size - 1) / 2 if values.size > 1 else 0.5
        edges.append((values[0] - half, values[-1] + half))
    return (*edges[0], *edges[1][::-1])


def is_steep(spectra: np.ndarray) -> bool:
    """Whether few channels are so high that the others, drawn beside them, would be a line at zero."""
    values = spectra[np.isfinite(spectra)]
    if not values.size or values.min() < -0.1 * values.max():
        return False
    return bool(values.max() > PEAK * np.percentile(values, 90))


def show_small_peaks(ax: matplotlib.axes.Axes, spectra: np.ndarray) -> None:
    """Counts drawn by their square roots, signs kept: so is their noise even."""
    values = spectra[np.isfinite(spectra)]
    ax.set_yscale("function", functions=(lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: v * np.abs(v)))
    top = float(values.max())
    step = 10.0 ** np.floor(np.log10(top))
    ax.set_yticks([tick for tick in (0, 0.1 * step, 0.5 * step, step, 2 * step, 5 * step) if tick <= 1.05 * top])
    ax.set_ylim(bottom=min(0.0, float(values.min())))
    ax.set_ylabel("\n".join(word for word in (ax.get_ylabel(), "square-root scale") if word))
