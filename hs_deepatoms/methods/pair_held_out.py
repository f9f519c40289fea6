"""What a pairing predicts for its own map, every place by networks that have not seen it, beside what was measured."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, explain
from hs_deepatoms._core.numbers import is_number
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.bridge.spectrum_results import axis_dictionary, signal_like
from hs_deepatoms.methods.pair_images import check_energy
from hs_deepatoms.methods.pair_stored import Stored, stored_model
from hs_deepatoms.methods.pair_tiles import finer_axis
from hs_deepatoms.methods.pair_use import decoded, spectra_of, variance_of

if TYPE_CHECKING:
    import xarray as xr
    from hyperspy.signal import BaseSignal

TITLE = "predicted (held out)"


def held_out_spectra(tree: Any, *, std: bool = True) -> BaseSignal:
    """Spectra on the axes of the map, NaN where no network has not seen them.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec`.
    std : bool
        Whether the variance of a measurement is attached.

    Raises
    ------
    InvalidArgumentError
        If the tree has none: those of ``target="spectrum"`` are as large as the spectra.
    """
    stored, outputs = stored_model(tree), _outputs(tree)
    data = decoded(stored, outputs, partial(spectra_of, stored))
    variance = decoded(stored, outputs, partial(variance_of, stored, noise=True)) if std else None
    axes = [Axis.from_dict(fields) for fields in stored.attrs["navigation"]]
    title, entries = _said(tree, stored, "image", "spectra")
    return signal_like(stored.attrs["template"], data, axes, title=title, provenance=entries, variance=variance)


def held_out_image(tree: Any, *, std: bool = True) -> BaseSignal:
    """As `held_out_spectra`, the image of `spec2im`."""
    stored, node = stored_model(tree), tree["held_out"].to_dataset()
    step = node.sizes["y"] // stored.attrs["navigation"][0]["size"]
    image = node["predicted"].values
    channels = [] if image.ndim == 2 else [Axis("channel", len(image), navigate=True)]
    axes = [axis_dictionary(finer_axis(Axis.from_dict(one), step)) for one in stored.attrs["navigation"]]
    title, entries = _said(tree, stored, "spectra", "image")
    return signal_like(stored.attrs["template"], image, channels, title=title, provenance=entries,
                       variance=node["std"].values ** 2 if std else None, signal_axes=axes)  # fmt: skip


def examples_at(tree: Any, spectra: Any, pixels: Any) -> xr.Dataset:
    """Measured and predicted spectra of some places, as ``/examples`` has them.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec`.
    spectra
        Those that were learned from; only these places are read.
    pixels : list of (y, x)
        Whole numbers are pixels, others the units of the axes.

    Raises
    ------
    InvalidArgumentError
        No places, places outside of the map, or such that the networks were trained on.
    InvalidAxesError
        Spectra on other axes.
    """
    import xarray as xr

    stored, outputs = stored_model(tree), _outputs(tree)
    source = read_source(spectra, n_signal=1, operation="plot")
    if [axis.size for axis in source.navigation] != list(outputs.shape[1:]):
        got = f"spectra on a map of {' x '.join(str(axis.size) for axis in source.navigation)}"
        allowed = " x ".join(map(str, outputs.shape[1:]))
        raise InvalidAxesError(explain(got, allowed, "Give the spectra that were learned from."))
    check_energy(source, Axis.from_dict(stored.attrs["spectral"]))
    axes = [Axis.from_dict(fields) for fields in stored.attrs["navigation"]]
    places = _places(pixels, axes)
    out = outputs[:, places[:, 0], places[:, 1]]
    if not np.isfinite(out).all():
        trained = [tuple(place) for place in places[~np.isfinite(out).all(0)].tolist()]
        todo = "Choose others (tree['latent/part'] is 2 there), or train with more folds."
        raise InvalidArgumentError(explain(f"pixels {trained}, which were trained on", "pixels of a test", todo))
    made, energy = stored.output, tree["traversal/energy"]
    kept = slice(None) if stored.channels is None else stored.channels
    measured = np.stack([_one(source, place)[kept] for place in places])
    dims = ("example", "energy")
    return xr.Dataset(
        {"measured": (dims, measured), "predicted": (dims, made.spectra(out)),
         "std": (dims, np.sqrt(made.variance(out, noise=True))),
         "epistemic_std": (dims, np.sqrt(made.variance(out, noise=False)))},
        {"energy": energy, **{dim: ("example", axis.to_value(place), {"units": axis.units})
                              for dim, axis, place in zip("yx", axes, places.T, strict=True)}},
    )  # fmt: skip


def _outputs(tree: Any) -> np.ndarray:
    """Outputs (k, ny, nx) of the networks for the places they have not seen."""
    if "held_out" not in tree.children:
        got = "a tree without predictions of what was held out"
        todo = "Train with target='scores'."
        raise InvalidArgumentError(explain(got, "one of scores: those of whole spectra are not kept", todo))
    return tree["held_out/outputs"].values


def _said(tree: Any, stored: Stored, source: str, target: str) -> tuple[str, list[dict]]:
    """Title and provenance."""
    title = f"{TITLE} from {tree.attrs[source] or source}"
    title += f" ({tree.attrs[target]})" if tree.attrs[target] else ""
    entry = provenance_entry("held_out", {"what": TITLE}, model={"sha256": stored.attrs["sha256"]})
    return title, [*read_provenance(tree.attrs.get("provenance")), entry]


def _places(pixels: Any, axes: list[Axis]) -> np.ndarray:
    """Places (n, 2) in pixels."""
    found = [list(one) if isinstance(one, list | tuple | np.ndarray) else [] for one in pixels]
    if not found or any(len(one) != 2 or not all(map(is_number, one)) for one in found):
        todo = "Give a list of them, for instance [(3, 8), (10, 4)]."
        raise InvalidArgumentError(explain(f"pixels={pixels!r}", "pairs (y, x) of numbers", todo))
    places = [[_place(value, axis) for value, axis in zip(one, axes, strict=True)] for one in found]
    return np.array(places)


def _place(value: Any, axis: Axis) -> int:
    index = int(value) if isinstance(value, Integral) else int(np.round(axis.to_index(float(value))))
    if not 0 <= index < axis.size:
        got = f"{value!r} along {axis.name}, pixel {index}"
        raise InvalidArgumentError(explain(got, f"pixels 0 to {axis.size - 1}", "Choose another place."))
    return index


def _one(source: Source, place: np.ndarray) -> np.ndarray:
    part = source.data[place[0], place[1]]
    return np.asarray(part.compute() if hasattr(part, "compute") else part, np.float32)
