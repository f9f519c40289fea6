"""The same patches through a Gaussian mixture and three autoencoders, for windows of several sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_whole
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.source import read_source
from hs_deepatoms.methods.square_pixels import check_square
from hs_deepatoms.workflows.latent_scores import METHODS, agreement, classes_of, explained, match, orientation

if TYPE_CHECKING:
    import xarray as xr

KIND = "latent_comparison"


def compare_latents(
    signal: Any,
    atoms: Any = None,
    *,
    windows: Sequence[int | float | str],
    methods: Sequence[str] = METHODS,
    classes: int = 3,
    latent_dim: int = 2,
    grid: int | float | str | tuple | None = None,
    edge: str = "reflect",
    labels: Any = None,
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """What four methods say about the same patches, cut with smaller and larger windows.

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx).
    atoms, grid, edge
        As in :func:`~hs_deepatoms.extract_patches`. By default nothing is dropped, so that all windows have the same
        patches.
    windows : sequence of int, float or str
        Lengths: pixels, axis units or text.
    methods : sequence of {"gmm", "autoencoder", "vae", "rvae"}
        A Gaussian mixture; a plain convolutional autoencoder; a variational one; and one with angle and shift taken
        out.
    classes : int
        Of the mixture, of the patches or of their latents.
    latent_dim : int
    labels : str or sequence, optional
        A column of the table, or one value per atom: what the classes are compared with.
    steps : int, optional
        Of each training, as in :func:`~hs_deepatoms.rvae`.
    device : str
    seed : int
    show_progressbar : bool, optional

    Returns
    -------
    xarray.DataTree
        ``/scores`` along ``window`` and ``model``: ``explained`` (share of the patches' variance that is reproduced),
        ``ari`` (adjusted Rand index of the classes with the labels; NaN without), ``orientation`` (R2 with which the
        latents, or the classes, tell the angle that the rVAE found: 0 where they do not depend on it), ``seconds``;
        and ``agreement`` (window, model, other), the adjusted Rand index between methods. ``/window_0/gmm`` and so on
        are the trees of :func:`~hs_deepatoms.decompose_local`, :func:`~hs_deepatoms.vae` and
        :func:`~hs_deepatoms.rvae`; ``/window_0/classes`` has the classes (model, atom). ``tree.deepatoms`` has
        ``plot``, ``table`` and ``save``.

    Raises
    ------
    InvalidArgumentError
        No window, an unknown method, fewer than two classes, labels of another number; and all that these methods
        raise.
    InvalidAxesError
        Pixels that are not square, with the method ``"rvae"``, which turns them.

    Notes
    -----
    As in Kalinin et al., Sci. Adv. 7, eabd5084 (2021), doi:10.1126/sciadv.abd5084.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal2D(np.random.default_rng(0).random((60, 70)))
    >>> tree = s.compare_latents(grid=8, windows=[9], methods=["gmm", "vae"], steps=3, show_progressbar=False)
    >>> tree["scores/explained"].dims
    ('window', 'model')
    """
    _check(windows, methods, classes)
    if "rvae" in methods:
        check_square(read_source(signal, n_signal=2, operation="compare_latents").signal, "rvae")
    shared = {"grid": grid, "edge": edge, "seed": seed}
    trained = {"steps": steps, "latent_dim": latent_dim, "device": device, "show_progressbar": show_progressbar}
    nodes: dict[str, Any] = {}
    rows = []
    for number, window in enumerate(windows):
        trees, seconds = {}, {}
        for method in methods:
            start = time.perf_counter()
            trees[method] = _learned(method, signal, atoms, {**shared, "window": window}, trained, classes)
            seconds[method] = time.perf_counter() - start
        patches = _some(signal, atoms, {**shared, "window": window}, seed)
        found = {method: classes_of(tree, classes, seed) for method, tree in trees.items()}
        rows.append(_scores(trees, found, patches, _truth(labels, trees[methods[0]]), seconds))
        nodes |= {f"/window_{number}/{method}": tree for method, tree in trees.items()}
        nodes[f"/window_{number}/classes"] = _classes(found, trees[methods[0]])
    asked = {"windows": [str(one) for one in windows], "methods": list(methods), "classes": classes, "steps": steps}
    return _tree(nodes, rows, windows, methods, provenance_entry("compare_latents", asked, seed=seed))


def _check(windows: Any, methods: Any, classes: int) -> None:
    if isinstance(windows, str) or not hasattr(windows, "__len__") or not len(windows):
        raise InvalidArgumentError(explain(f"windows={windows!r}", "a list of lengths", "Give windows=[16, 48]."))
    if isinstance(methods, str) or not len(methods) or set(methods) - set(METHODS):
        todo = "Choose some of these."
        raise InvalidArgumentError(explain(f"methods={methods!r}", f"a list of {', '.join(METHODS)}", todo))
    check_whole("classes", classes, 2, todo="Give more.")


def _learned(method: str, signal: Any, atoms: Any, cut: dict, trained: dict, classes: int) -> xr.DataTree:
    from hs_deepatoms.methods.decompose_local import decompose_local
    from hs_deepatoms.methods.rvae import rvae, vae

    if method == "gmm":
        dims = None if hasattr(signal, "axes_manager") or hasattr(signal, "dims") else _last_two(signal)
        return decompose_local(signal, atoms, method="gmm", n_components=classes, signal_dims=dims, **cut)
    if method == "autoencoder":
        return vae(signal, atoms, encoder="conv", decoder="conv", variational=False, **cut, **trained)
    return (vae if method == "vae" else rvae)(signal, atoms, **cut, **trained)


def _last_two(array: Any) -> tuple[int, int]:
    """Of an array those are the image; `decompose_local` would ask, as they might be spectra."""
    return np.ndim(array) - 2, np.ndim(array) - 1


def _some(signal: Any, atoms: Any, cut: dict, seed: int, most: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Rows and patches (k, h, w) that methods are asked to reproduce."""
    from hs_deepatoms.methods.patch_set import Request, load_rows, read_patch_set

    request = Request(cut["window"], cut["grid"], edge=cut["edge"], lazy_output=True)
    found = read_patch_set(signal, atoms, request, operation="compare_latents")
    n = found.data.shape[1]
    rows = np.sort(np.random.default_rng([seed, 6]).permutation(n)[:most])
    patches = [load_rows(found, int(part[0]), int(part[-1]) + 1)[0][part - part[0]]
               for part in np.array_split(rows, max(1, len(rows) // 256))]  # fmt: skip
    return rows, np.concatenate(patches).astype(np.float32)


def _truth(labels: Any, tree: xr.DataTree) -> np.ndarray | None:
    """The labels of the atoms that have patches."""
    if labels is None:
        return None
    table = tree["scores" if "scores" in tree.children else "latent"].to_dataset()
    if isinstance(labels, str):
        if labels not in table.variables:
            raise InvalidArgumentError(explain(f"the column {labels!r}", "a column of the table", "Choose another."))
        return table[labels].values
    if len(labels) != table.sizes["atom"]:
        got = f"{len(labels)} labels"
        todo = "Give the name of a column: atoms that are dropped take their values along."
        raise InvalidArgumentError(explain(got, f"{table.sizes['atom']}, one per patch", todo))
    return np.asarray(labels)


def _scores(trees: dict, found: dict, patches, truth, seconds: dict) -> dict[str, list]:
    turned = trees["rvae"]["latent/angle"].values if "rvae" in trees else None
    kinds = found.get("rvae")
    return {
        "explained": [explained(tree, *patches) for tree in trees.values()],
        "ari": [np.nan if truth is None else match(found[method], truth) for method in trees],
        "orientation": [np.nan if turned is None else orientation(tree, turned, kinds) for tree in trees.values()],
        "seconds": [seconds[method] for method in trees],
        "agreement": agreement(list(found.values())),
    }


def _classes(found: dict, tree: xr.DataTree) -> xr.Dataset:

    table = tree["scores" if "scores" in tree.children else "latent"].to_dataset()
    keep = table[[name for name in ("y", "x") if name in table.variables]].reset_coords()
    attrs = {"long_name": "class, most frequent first; -1 for none", "units": "1"}
    columns = {"class": (("model", "atom"), np.stack(list(found.values())), attrs)}
    return keep.drop_attrs(deep=False).assign(columns).assign_coords(model=list(found))


def _tree(nodes: dict, rows: list[dict], windows, methods, entry: dict) -> xr.DataTree:
    import json

    import xarray as xr

    units = {"seconds": "s"}
    columns = {}
    for name in rows[0]:
        dims = ("window", "model", "other") if name == "agreement" else ("window", "model")
        columns[name] = (dims, np.array([row[name] for row in rows], float), {"units": units.get(name, "1")})
    coords = {"window": [str(one) for one in windows], "model": list(methods), "other": list(methods)}
    attrs = {"kind": KIND, "format_version": 1, "provenance": json.dumps([entry])}
    nodes = {"/": xr.Dataset(attrs=attrs), "/scores": xr.Dataset(columns, coords), **nodes}
    return xr.DataTree.from_dict(nodes, name=KIND)
