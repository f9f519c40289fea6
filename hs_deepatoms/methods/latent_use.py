"""A trained autoencoder used: encode other patches, decode latents, reconstruct, traverse, map."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import check_number, check_whole, is_whole
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.methods.conditions import coded, recipe_in
from hs_deepatoms.methods.encode import check_pixels
from hs_deepatoms.methods.image_stack import read_samples
from hs_deepatoms.methods.latent_tree import (
    SPAN,
    infer_all,
    latent_table,
    manifold,
    model_in,
    picture_array,
    quantity_in,
    scaling_in,
)
from hs_deepatoms.methods.patch_rows import PatchRows
from hs_deepatoms.methods.patch_set import PatchSet, Request
from hs_deepatoms.methods.square_pixels import check_square
from hs_deepatoms.tables.flatten import flat_table

if TYPE_CHECKING:
    import xarray as xr


def encode_latent(tree: xr.DataTree, signal: Any, atoms: Any = None, *, grid: Any = None, channels: str | None = None,
                  condition: Any = None, signal_dims: Any = None, device: str = "auto") -> xr.Dataset:  # fmt: skip
    """Latents and poses of other patches.

    Parameters
    ----------
    tree : xarray.DataTree
        From `rvae` or `vae`.
    signal, atoms, grid, channels, condition, signal_dims
        As for `rvae`; the window and how it is cut are those of the tree.
    device : str

    Returns
    -------
    xarray.Dataset
        As the node ``/latent`` of the tree.

    Raises
    ------
    InvalidArgumentError
        Pixels or patches of another size, or a condition that is missing.
    InvalidAxesError
        Pixels that are not square, of a tree of before with the invariance ``"rotation"``.
    ModelFileError
        A damaged model.
    """
    node = tree["model"].to_dataset()
    model = model_in(node)
    cutting = json.loads(node.attrs["cutting"])
    request = Request(normalisation=cutting.get("normalisation"), signal_dims=signal_dims)
    if not is_patches(signal) and (atoms is not None or grid is not None):
        request = Request(tuple(cutting.get("window_px") or model.shape), grid, channels, cutting.get("centring"),
                          cutting.get("edge") or "drop", cutting.get("normalisation"), signal_dims, True)  # fmt: skip
    found = read_samples(signal, atoms, request, operation="encode", spectra=bool(node.attrs["one_dimensional"]))
    _check_shape(found, model)
    check_pixels(found, node)
    if 0 in model.prior.free:
        check_square(found.axes, "encode")
    labels = None
    if model.labelled or model.quantity:
        labels = np.full(found.data.shape[1], -1.0 if model.labelled else np.nan)
    rows = PatchRows(found, coded(condition, recipe_in(node), found.data.shape[1], found.table), labels)
    device = choose_device(device)
    own = model if device == "cpu" else copy.deepcopy(model).to(device)  # the one in the cache stays where it is
    inferred = infer_all(own, rows, scaling_in(node), device)
    history = read_provenance(found.table.attrs.get("provenance"))
    entry = provenance_entry("encode", {"method": tree.attrs.get("method")}, model={"sha256": node.attrs["sha256"]})
    return latent_table(found, model, inferred, json.loads(node.attrs["labels"]), [*history, entry],
                        quantity_in(node))  # fmt: skip


def decode(tree: xr.DataTree, z: Any, *, angle: Any = 0.0, shift_y: Any = 0.0, shift_x: Any = 0.0, scale: Any = 1.0,
           chosen: Any = 0, condition: Any = None) -> xr.DataArray:  # fmt: skip
    """Pictures of latents in any pose: what `encode` gives, put in here, gives back the patches without their noise.

    Parameters
    ----------
    tree : xarray.DataTree
    z : array of shape (n, d) or (d,), or xarray.Dataset
        Latents; or a table with ``z`` and poses, as ``encode`` gives it, and then nothing else.
    angle : float or array of shape (n,)
        rad, from +x towards +y.
    shift_y, shift_x : float or array
        In the units of the axes.
    scale : float or array
    chosen : int or array
        Class of a discrete latent.
    condition : float, str, or array of shape (n, k), optional
        What the model was conditioned on. None: the columns of a table, where they are in it.

    Returns
    -------
    xarray.DataArray
        Dims ``sample`` (``atom`` for a table), then those of a patch; units of the data.

    Raises
    ------
    InvalidArgumentError
        Latents of another number; poses, classes or conditions that are not one, or one per picture.
    """
    node = tree["model"].to_dataset()
    model = model_in(node)
    if hasattr(z, "data_vars"):
        return _decode_table(model, node, z, condition)
    z = np.atleast_2d(np.asarray(z, float))
    if z.ndim != 2 or z.shape[1] != model.latent_dim:
        got = f"latents of shape {z.shape}"
        raise InvalidArgumentError(explain(got, f"(n, {model.latent_dim})", "Give one row per picture."))
    pose = _pose(node, len(z), angle, shift_y, shift_x, scale)
    given = coded(condition, recipe_in(node), len(z))
    return picture_array(model, node, z, ("sample",), chosen=chosen, condition=given, pose=pose)


def _decode_table(model, node, table: xr.Dataset, condition: Any) -> xr.DataArray:
    def column(name: str, default: float) -> Any:
        return table[name].values if name in table.variables else default

    pose = _pose(node, table.sizes["atom"], column("angle", 0.0), column("shift_y", 0.0), column("shift_x", 0.0),
                 column("scale", 1.0))  # fmt: skip
    kinds = np.maximum(column("class", 0), 0)
    given = coded(condition, recipe_in(node), table.sizes["atom"], table)
    images = picture_array(model, node, table["z"].values, ("atom",), chosen=kinds, condition=given, pose=pose)
    return images.assign_coords(atom=table["atom"].values)


def reconstruct(tree: xr.DataTree, atoms: Any = None, condition: Any = None) -> xr.DataArray:
    """The model's pictures of the tree's own patches, in their poses; ``atoms``: ids of some of them."""
    table = tree["latent"].to_dataset()
    if atoms is not None:
        known = np.isin(np.atleast_1d(atoms), table["atom"].values)
        if not known.all():
            missing = np.atleast_1d(atoms)[~known].tolist()
            raise InvalidArgumentError(explain(f"atoms {missing}", "ids of the table", "Choose some of these."))
        table = table.sel(atom=np.atleast_1d(atoms))
    return decode(tree, table, condition=condition)


def traverse(tree: xr.DataTree, latent: int, n: int = 9, span: float = SPAN, chosen: int = 0,
             condition: Any = None) -> xr.DataArray:  # fmt: skip
    """Pictures along one latent, the others at their medians.

    Parameters
    ----------
    tree : xarray.DataTree
    latent : int
    n : int
        Pictures.
    span : float
        Standard deviations of the latent to either side.
    chosen : int
        Class of a discrete latent.
    condition : float, str or sequence, optional
        What the model was conditioned on. None: the mean.

    Returns
    -------
    xarray.DataArray
        Dim ``z`` first.

    Raises
    ------
    InvalidArgumentError
        If there is no such latent, ``n`` is no whole number of 1 or more, or ``span`` none above 0.
    """
    node = tree["model"].to_dataset()
    model = model_in(node)
    _check_latent(latent, model.latent_dim)
    check_whole("n", n, 1)
    check_number("span", span)
    values = tree["latent/z"].values
    values = values[np.isfinite(values).all(1)]
    middle, width = np.median(values, 0), values.std(0)
    codes = np.repeat(middle[None], n, 0)
    codes[:, latent] += np.linspace(-span, span, n) * width[latent]
    given = None if condition is None else coded(condition, recipe_in(node), n)
    images = picture_array(model, node, codes, ("z",), chosen=chosen, condition=given)
    return images.assign_coords(z=("z", codes[:, latent], {"long_name": f"latent {latent}"}))


def manifold_of(tree: xr.DataTree, n: int, condition: Any = None) -> xr.DataArray:
    """Pictures over the latents, ``n`` along each, all with the same condition (None: the mean)."""
    node = tree["model"].to_dataset()
    given = None if condition is None else coded(condition, recipe_in(node), 1)
    return manifold(model_in(node), node, tree["latent"].to_dataset(), n, given)["manifold"]


def latent_map(tree: xr.DataTree, what: int | str = 0, *, method: str = "nearest", max_distance: Any = None,
               lazy_output: bool | None = None):  # fmt: skip
    """One latent (or another column) on the axes of the image, a ``Signal2D``.

    Raises
    ------
    InvalidArgumentError
        If there is no such column.
    TableError
        If the patches do not know where they come from.
    """
    from hs_deepatoms.tables.to_signal import to_signal

    table = flat_table(tree["latent"].to_dataset())
    name = what if isinstance(what, str) else f"z_{what}"
    if name not in table.data_vars:
        known = ", ".join(map(str, table.data_vars))
        raise InvalidArgumentError(explain(f"{what!r}", f"a latent's number, or one of {known}", "Choose one."))
    if "y" not in table.variables:
        todo = "Give the image and its atoms to rvae instead of patches alone."
        raise TableError(explain("patches that do not know where they come from", "a table with y and x", todo))
    return to_signal(table, name, method=method, max_distance=max_distance, lazy_output=lazy_output)


def trajectories(tree: xr.DataTree) -> xr.DataArray:
    """Latents along the tracks of a movie: dims ``track``, ``frame``, ``latent``; NaN where an atom is missing.

    The positions must have been linked before: ``atoms = atoms.deepatoms.link()``.

    Raises
    ------
    TableError
        If they were not.
    """
    import xarray as xr

    from hs_deepatoms.tables.frames import frame_grid, frame_of

    table = tree["latent"].to_dataset()
    if "track" not in table.variables:
        got = "a tree of atoms without tracks"
        raise TableError(explain(got, "linked positions", "Use rvae(movie, atoms.deepatoms.link(), ...)."))
    kept = np.flatnonzero(table["track"].values >= 0)
    track, row = np.unique(table["track"].values[kept], return_inverse=True)
    grid = frame_grid(table)
    values = np.full((track.size, max(1, grid.n_frames), table.sizes["latent"]), np.nan, np.float32)
    values[row, frame_of(table, grid)[kept]] = table["z"].values[kept]
    coords = {"track": track, "frame": np.arange(values.shape[1]), "latent": table["latent"].values}
    return xr.DataArray(values, coords, ("track", "frame", "latent"), name="z")


def _check_latent(latent: Any, d: int) -> None:
    if not is_whole(latent, 0, d - 1):
        raise InvalidArgumentError(explain(f"latent={latent!r}", f"0 to {d - 1}", "Choose one of these."))


def _check_shape(found: PatchSet, model) -> None:
    channels, _, *shape = found.data.shape
    if (channels, *shape) != (model.channels, *model.shape):
        got = f"patches of {channels} x {shape[0]} x {shape[1]} (channels, height, width)"
        allowed = f"those of the tree, {model.channels} x {model.shape[0]} x {model.shape[1]}"
        raise InvalidArgumentError(explain(got, allowed, "Cut them with the same window."))


def _pose(node, n: int, angle, shift_y, shift_x, scale) -> np.ndarray:
    """Poses (n, 4) in pixels."""
    axes = [Axis.from_dict(fields) for fields in json.loads(node.attrs["axes"])]
    steps = [axis.step if axis.scale is None else float(axis.scale) for axis in axes]
    given = {"angle": angle, "shift_y": shift_y, "shift_x": shift_x, "scale": scale}
    angle, shift_y, shift_x, scale = (_per_picture(values, name, n) for name, values in given.items())
    if (scale <= 0).any():
        raise InvalidArgumentError(explain(f"scale={given['scale']!r}", "above 0", "Leave it out for 1."))
    return np.stack([angle, shift_y / steps[0], shift_x / steps[1], np.log(scale)], 1)


def _per_picture(values: Any, name: str, n: int) -> np.ndarray:
    """One number for each of n pictures."""
    found = np.asarray(values, float)
    if found.shape not in ((), (1,), (n,)):
        got = f"{name} of shape {found.shape} for {n} latents"
        raise InvalidArgumentError(explain(got, f"a number, or {n} of them", "Give one per picture."))
    return np.broadcast_to(found, n)
