"""A decomposition used on other patches: their scores in the same components."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.lengths import unit_factor
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.decompose.model import ENCODERS, encode_samples
from hs_deepatoms.methods.decompose_local import descriptor_of
from hs_deepatoms.methods.decomposition_tree import model_of, scores_table
from hs_deepatoms.methods.patch_set import PatchSet, Request, load_rows, read_patch_set

CLASSES = ("gmm", "kmeans", "som")
SCALES_DIFFER = 0.01  # share by which the size of a pixel may differ
BATCH = 2**14


def encode(tree: xr.DataTree, signal: Any, atoms: Any = None, *, grid: Any = None, channels: str | None = None,
           signal_dims: Any = None) -> xr.Dataset:  # fmt: skip
    """Scores of other patches in the components of a tree.

    Parameters
    ----------
    tree : xarray.DataTree
        From `decompose_local`.
    signal, atoms, grid, channels, signal_dims
        As in :func:`~hs_deepatoms.extract_patches`; the window and how it is cut are those of the tree.

    Returns
    -------
    xarray.Dataset
        The positions table with ``scores`` (atom, component), for classes also ``class``; NaN for patches with NaN.

    Raises
    ------
    InvalidArgumentError
        A method without scores for new patches (embeddings, dbscan, hdbscan, estimators), or pixels of another size.
    ModelFileError
        A damaged model.
    """
    node = tree["model"]
    model = model_of(node)
    if model.method not in ENCODERS:
        encode_samples(model, np.empty((0, 0)))  # says why
    cutting = json.loads(node.attrs["cutting"])
    # doing it twice does no harm, so that patches may have been normalised before or not
    request = Request(normalisation=cutting.get("normalisation"), signal_dims=signal_dims)
    if not is_patches(signal):
        window = tuple(cutting.get("window_px") or tree["components/mean"].shape[-2:])
        request = Request(window, grid, channels, cutting.get("centring"), cutting.get("edge") or "drop",
                          cutting.get("normalisation"), signal_dims, True)  # fmt: skip
    found = read_patch_set(signal, atoms, request, operation="encode", spectra=True)
    check_pixels(found, node)
    describe = descriptor_of(str(node.attrs["descriptor"]) or None, found)
    n = found.data.shape[1]
    parts = [encode_samples(model, describe.describe(load_rows(found, start, min(start + BATCH, n))))
             for start in range(0, n, BATCH)]  # fmt: skip
    scores = np.concatenate(parts)
    classes = None
    if model.method in CLASSES:
        classes = np.where(np.isfinite(scores).all(1), np.nan_to_num(scores).argmax(1), -1)
    history = read_provenance(found.table.attrs.get("provenance"))
    entry = provenance_entry("encode", {"method": model.method}, model={"sha256": node.attrs["sha256"]})
    return scores_table(found, scores, classes, [*history, entry])


def check_pixels(found: PatchSet, node: Any) -> None:
    """Refuse pixels of another size than those in the attributes of a model's node.

    Raises
    ------
    InvalidArgumentError
    """
    for axis, fields in zip(found.axes, json.loads(node.attrs["axes"]), strict=True):
        known = Axis.from_dict(fields)
        ratio = axis.step * unit_factor(axis.units, known.units) / known.step
        if abs(ratio - 1) > SCALES_DIFFER:
            got = f"pixels of {axis.step:.4g} {axis.units} along {axis.name}"
            todo = "Rebin or interpolate the image first."
            raise InvalidArgumentError(explain(got, f"those of the tree, {known.step:.4g} {known.units}", todo))
