"""A trained pairing used: spectra of other images, their uncertainty, latents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hs_deepatoms._core.choices import yes_or_no
from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, InvalidImageError, explain
from hs_deepatoms._core.numbers import is_number, is_whole
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.convert import to_xarray
from hs_deepatoms.bridge.lengths import unit_factor
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.bridge.source import Source, read_source
from hs_deepatoms.bridge.spectrum_results import axis_dictionary, map_signal, signal_like
from hs_deepatoms.methods.pair_lazy import CHUNK, AskedImage, lazy_spectra, outputs_of, padded_frame
from hs_deepatoms.methods.pair_sources import read_images
from hs_deepatoms.methods.pair_tiles import finer_axis, untiled
from hs_deepatoms.methods.pair_training import padded, spectral_maps
from hs_deepatoms.methods.pair_tree import Stored, stored_model
from hs_deepatoms.spectra.grid import WHOLE, Line
from hs_deepatoms.spectra.model import applied
from hs_deepatoms.spectra.rows import SpectrumRows

SCALES_DIFFER = 0.02
KINDS = ("total", "epistemic")


def predict(tree: Any, image: Any, *, lazy_output: bool | None = None, std: bool = True, device: str = "auto") -> Any:
    """Spectra of an image.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec`.
    image : Signal2D, xarray.DataArray, numpy or dask array
        Channels and pixel size as in the training, which an array is taken to have; further navigation axes are frames.
    lazy_output : bool, optional
        None: as the image is.
    std : bool
        Whether the variance is attached (as HyperSpy's noise variance; of a DataArray as the coordinate ``std``).
    device : str

    Returns
    -------
    hyperspy signal or xarray.DataArray
        Spectra on the axes of the image, of the type of the spectra that were learned; counts.
    """
    asked = _asked(tree, image, device)
    lazy = yes_or_no("lazy_output", lazy_output, asked.source.lazy)
    stored = asked.stored
    if lazy:
        data = lazy_spectra(asked, partial(spectra_of, stored))
        variance = lazy_spectra(asked, partial(variance_of, stored, noise=True)) if std else None
    else:
        maps = _mapped(asked)
        data = decoded(stored, maps, partial(spectra_of, stored))
        variance = decoded(stored, maps, partial(variance_of, stored, noise=True)) if std else None
    return _result(tree, asked, data, variance, "predicted")


def predict_std(tree: Any, image: Any, *, kind: str = "total", lazy_output: bool | None = None,
                device: str = "auto") -> Any:  # fmt: skip
    """Standard deviation of predicted spectra.

    Parameters
    ----------
    kind : {"total", "epistemic"}
        Of a measurement, noise included, or of the noise-free spectrum alone.

    Other parameters and the result as for `predict`.
    """
    if kind not in KINDS:
        raise InvalidArgumentError(explain(f"kind={kind!r}", f"one of {KINDS}", "Choose one of these."))
    asked = _asked(tree, image, device)
    function = partial(_deviation, asked.stored, noise=kind == "total")
    lazy = yes_or_no("lazy_output", lazy_output, asked.source.lazy)
    data = lazy_spectra(asked, function) if lazy else decoded(asked.stored, _mapped(asked), function)
    return _result(tree, asked, data, None, f"{kind} standard deviation of predicted")


def mapped_outputs(tree: Any, image: Any, device: str = "auto") -> np.ndarray:
    """What the model says of an image before it is decoded: (k, *frames, ny, nx), see `SpectrumOutput`."""
    return _mapped(_asked(tree, image, device))


def _asked(tree: Any, image: Any, device: str) -> AskedImage:
    """An image for a model, checked."""
    stored = stored_model(tree)
    if isinstance(image, list | tuple):
        images, first = read_images(image, "predict")
        _check_channels(len(images), stored)
        several = (Axis("channel", len(images), navigate=True),) if len(images) > 1 else ()
        data = images if several else images[0]
        source = replace(first, data=data, navigation=several, lazy=False)
    else:
        source = read_source(image, n_signal=2, operation="predict")
    _check_numbers(source, "an image")
    frames, stack = _stack(source, stored)
    lines, axes = _grid(source, stored)
    _check_pixels(source, stored)
    n = len(stored.space.mean) if stored.channels is None else _length(stored)
    return AskedImage(stored, source, stack, lines, frames, axes, choose_device(device), n)


def _check_numbers(source: Source, what: str) -> None:
    """Refuse what holds nothing, or no real numbers."""
    if 0 in source.data.shape or source.data.dtype.kind not in "buif":
        got = f"{what} of shape {source.data.shape} and type {source.data.dtype} for predict"
        raise InvalidImageError(explain(got, "real numbers, at least one", "Check how it was read or sliced."))


def _check_channels(given: int, stored: Stored) -> None:
    channels = stored.model.config["net"]["channels"]
    if given != channels:
        got = f"an image with {given} channel{'s' if given != 1 else ''}"
        todo = "Give a list, or one signal with the channels as its navigation axis, in the order of the training."
        raise InvalidAxesError(explain(got, f"{channels} channels, as in the training", todo))


def _mapped(asked: AskedImage) -> np.ndarray:
    """The model's outputs (k, *frames, ny, nx) of an image."""
    maps = np.stack([outputs_of(asked.stored.model, padded_frame(one, asked), asked.device) for one in asked.stack], 1)
    return maps.reshape(len(maps), *(axis.size for axis in asked.frames), *maps.shape[2:])


def _stack(source: Source, stored: Stored) -> tuple[list[Axis], Any]:
    """Axes of the frames, and the frames (n, c, h, w)."""
    channels = stored.model.config["net"]["channels"]
    navigation = list(source.navigation)
    data = source.data
    if channels > 1:
        _check_channels(navigation[-1].size if navigation else 1, stored)
        frames = navigation[:-1]
    else:
        frames, data = navigation, data[..., None, :, :]
    return frames, data.reshape(-1, *data.shape[-3:])


def _grid(source: Source, stored: Stored) -> tuple[tuple[Line, Line], list[Axis]]:
    """Where spectra lie in an image, and their axes."""
    lines, axes = [], []
    known = [Axis.from_dict(fields) for fields in stored.attrs["image_axes"]]
    for axis, trained, fields in zip(source.signal, known, stored.attrs["lines"], strict=True):
        pitch = fields["pitch"]
        bare = source.kind == "array" or (axis.scale == trained.scale and axis.offset == trained.offset)
        first = _first(fields["first"], pitch, axis.size == trained.size and bare)
        if first == 0 and pitch == 1.0 and fields["forced"] == 1:
            lines.append(Line(0.0, 1.0, axis.size, 1))
            axes.append(axis)
            continue
        size = int(np.floor((axis.size - 0.5 - first) / pitch)) + 1
        lines.append(Line(first, pitch, max(1, size), fields["forced"]))
        axes.append(Axis(axis.name, max(1, size), axis.units, float(axis.scale or 1.0) * pitch,
                         float(axis.to_value(first)), None, True, axis.named))  # fmt: skip
    return (lines[0], lines[1]), axes


def _first(trained: float, pitch: float, same: bool) -> float:
    """Place of the first spectrum in an image: that of the training where the image is on its grid.

    In others it is the first whole pixel of a spectrum, as far between the pixels of the image as in the training: what
    is interpolated there is then interpolated here.
    """
    middle = (pitch - 1) / 2
    if same and pitch != 1.0:
        return trained % pitch
    between = (trained - middle + 0.5) % 1.0 - 0.5
    return middle + (between if abs(between) > WHOLE else 0.0)


def _check_pixels(source: Source, stored: Stored) -> None:
    """Refuse pixels of another size; those of a bare array, which have none, are taken for those of the training."""
    if source.kind == "array":
        return
    for axis, fields in zip(source.signal, stored.attrs["image_axes"], strict=True):
        known = Axis.from_dict(fields)
        ratio = axis.step * unit_factor(axis.units, known.units) / known.step
        if abs(ratio - 1) > SCALES_DIFFER:
            got = f"pixels of {axis.step:.4g} {axis.units} along {axis.name}"
            todo = "Rebin or interpolate the image first."
            raise InvalidArgumentError(explain(got, f"those of the training, {known.step:.4g} {known.units}", todo))


def decoded(stored: Stored, maps: np.ndarray, function: Any) -> np.ndarray:
    """Spectra (*navigation, n) of maps of outputs."""
    n = len(stored.space.mean) if stored.channels is None else _length(stored)
    out = np.empty((*maps.shape[1:], n), np.float32)
    flat, rows = out.reshape(-1, n), maps.reshape(len(maps), -1)
    step = max(1, CHUNK // (16 * n))
    for start in range(0, rows.shape[1], step):
        flat[start : start + step] = function(rows[:, start : start + step])
    return out


def _length(stored: Stored) -> int:
    from hs_deepatoms.bridge.encode import decode_json

    return int(decode_json(stored.attrs["template"])["axes"][0]["size"])


def _spread(stored: Stored, values: np.ndarray) -> np.ndarray:
    """Values of the channels that are predicted at their places, NaN in the others."""
    values = values.astype(np.float32, copy=False)
    if stored.channels is None:
        return values
    out = np.full((*values.shape[:-1], _length(stored)), np.nan, np.float32)
    out[..., stored.channels] = values
    return out


def spectra_of(stored: Stored, out: np.ndarray) -> np.ndarray:
    return _spread(stored, stored.output.spectra(out))


def variance_of(stored: Stored, out: np.ndarray, *, noise: bool) -> np.ndarray:
    return _spread(stored, stored.output.variance(out, noise=noise))


def _deviation(stored: Stored, out: np.ndarray, *, noise: bool) -> np.ndarray:
    return np.sqrt(variance_of(stored, out, noise=noise))


def _result(tree: Any, asked: AskedImage, data, variance, what: str) -> Any:
    history = read_provenance(tree.attrs.get("provenance"))
    stored, source = asked.stored, asked.source
    entry = provenance_entry("predict", {"image": source.title, "what": what}, model={"sha256": stored.attrs["sha256"]})
    title = f"{what} from {source.title or 'an image'}"
    title += f" ({tree.attrs['spectra']})" if tree.attrs["spectra"] else ""
    axes = [*asked.frames, *asked.axes]
    if source.kind != "signal":
        axes = [replace(axis, named=True) for axis in axes]
    signal = signal_like(stored.attrs["template"], data, axes, title=title,
                         provenance=[*history, entry], variance=variance)  # fmt: skip
    if source.kind == "signal":
        return signal
    array = to_xarray(signal)
    return array if variance is None else array.assign_coords(std=(array.dims, np.sqrt(variance)))


def predict_image(tree: Any, spectra: Any, *, std: bool = True, lazy_output: bool | None = None, device: str = "auto",
                  num_workers: int | None = None) -> Any:  # fmt: skip
    """The image of spectra.

    Parameters
    ----------
    tree : xarray.DataTree
        From `spec2im`.
    spectra : Signal1D, xarray.DataArray, numpy or dask array
        A spectrum image with the energy axis of the training, which an array is taken to have; read block by block.
    std, lazy_output, device
        As for `predict`.
    num_workers : int, optional
        Threads that dask uses.

    Returns
    -------
    hyperspy signal or xarray.DataArray
        With as many pixels per spectrum as the image of the training had.
    """
    stored, source, maps = _mapped_spectra(tree, spectra, device, num_workers)
    k = stored.model.outputs
    return _image(tree, stored, source, maps[:k], maps[k:] ** 2 if std else None, lazy_output, "predicted image")


def predict_image_std(tree: Any, spectra: Any, *, lazy_output: bool | None = None, device: str = "auto",
                      num_workers: int | None = None) -> Any:  # fmt: skip
    """Standard deviation of a predicted image; as `predict_image`."""
    stored, source, maps = _mapped_spectra(tree, spectra, device, num_workers)
    what = "standard deviation of the predicted image"
    return _image(tree, stored, source, maps[stored.model.outputs :], None, lazy_output, what)


def _mapped_spectra(tree: Any, spectra: Any, device: str, num_workers: int | None):
    """The model's outputs (2 * k, ny, nx) of a spectrum image; NaN where there is no spectrum."""
    stored = stored_model(tree)
    device = choose_device(device)
    source = read_source(spectra, n_signal=1, operation="predict")
    if len(source.navigation) != 2:
        got = f"spectra with {len(source.navigation)} navigation dimensions for predict"
        raise InvalidAxesError(explain(got, "two: rows and columns of a map", "Give a spectrum image."))
    _check_numbers(source, "spectra")
    check_energy(source, Axis.from_dict(stored.attrs["spectral"]))
    rows = SpectrumRows(source.data, stored.channels, stored.spikes, num_workers)
    valid, totals = np.zeros(rows.shape, bool), np.ones(rows.shape, np.float32)
    scores = np.zeros((stored.space.k, *rows.shape), np.float32)
    for place, block in rows.blocks():
        totals[place] = stored.space.totals(block)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = stored.space.scores(stored.space.shapes(block))
        good = np.isfinite(block).all(-1) & (totals[place] > 0)
        scores[(slice(None), *place)] = np.where(good[..., None], found, 0).transpose(2, 0, 1)
        valid[place] = good
    maps = spectral_maps(stored.space, scores, totals, valid)
    model = stored.model.to(device)
    out = applied(model, padded(maps, model.window), device=device)
    out[:, ~valid] = np.nan
    return stored, source, out


def check_energy(source: Source, known: Axis) -> None:
    """Refuse another energy axis; that of a bare array, which has none, is taken for that of the training."""
    axis = source.signal[0]
    first, second = axis.coordinates(), known.coordinates()
    bare = source.kind == "array"
    factor = 1.0 if bare or axis.units == known.units else unit_factor(axis.units, known.units)
    if axis.size != known.size or (not bare and np.abs(first * factor - second).max() > 0.5 * known.step):
        got = f"spectra of {axis.size} channels from {first[0]:.6g} to {first[-1]:.6g} {axis.units}"
        allowed = f"those of the training: {known.size} from {second[0]:.6g} to {second[-1]:.6g} {known.units}"
        raise InvalidAxesError(explain(got, allowed, "Crop, rebin or interpolate the spectra first."))


def _image(tree, stored: Stored, source: Source, maps: np.ndarray, variance, lazy_output, what: str) -> Any:
    history = read_provenance(tree.attrs.get("provenance"))
    entry = provenance_entry(
        "predict", {"spectra": source.title, "what": what}, model={"sha256": stored.attrs["sha256"]}
    )
    step = stored.attrs["lines"][0]["forced"]
    axes = [finer_axis(axis, step) for axis in source.navigation]
    lazy = yes_or_no("lazy_output", lazy_output, source.lazy)
    data, wide = (None if one is None else untiled(one, step, lazy) for one in (maps, variance))
    channels = [] if data.ndim == 2 else [Axis("channel", len(data), navigate=True)]
    title = f"{what} from {source.title or 'spectra'}" + (f" ({tree.attrs['image']})" if tree.attrs["image"] else "")
    signal = signal_like(stored.attrs["template"], data, channels, title=title, provenance=[*history, entry],
                         variance=wide, signal_axes=[axis_dictionary(axis) for axis in axes])  # fmt: skip
    if source.kind == "signal":
        return signal
    array = to_xarray(signal)
    return array if wide is None else array.assign_coords(std=(array.dims, np.sqrt(wide)))


def latent_map(tree: Any, latent: int = 0, image: Any = None, *, device: str = "auto") -> Any:
    """A latent on the axes of the spectra that were learned from, or of another input, as a ``Signal2D``.

    Parameters
    ----------
    latent : int
        0 changes the prediction most; each has mean 0 and standard deviation 1 over the training.
    image : as for `predict`, optional
        None: the map of the training.

    Raises
    ------
    InvalidArgumentError
        If there is no such latent.
    """
    d = stored_model(tree).model.config["net"]["latent_dim"]
    if not is_whole(latent, 0, d - 1):
        raise InvalidArgumentError(explain(f"latent={latent!r}", f"0 to {d - 1}", "Choose one of these."))
    stored, history = stored_model(tree), read_provenance(tree.attrs.get("provenance"))
    if image is None:
        of = tree.attrs["image" if tree.attrs["method"] == "im2spec" else "spectra"]
        data = tree["latent/z"].values[latent]
        axes = [Axis.from_dict(fields) for fields in stored.attrs["navigation"]]
    else:
        asked = _asked(tree, image, device)
        if asked.frames:
            got = f"an image with {len(asked.frames)} navigation dimensions for latent_map"
            raise InvalidAxesError(explain(got, "a single frame", "Give one frame, image.inav[0]."))
        axes, of = asked.axes, asked.source.title
        data = outputs_of(stored.model, padded_frame(asked.stack[0], asked), asked.device, what="latents")[latent]
    title = f"latent {latent} of {of}" if of else f"latent {latent}"
    return map_signal(stored.attrs["template"], data, axes, title, history)


def decode_along(tree: Any, latent: int = 0, *, n: int = 9, span: float = 2.0) -> Any:
    """Spectra along one latent, the others at their mean, and the mean windows of the image that have it.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec`.
    latent : int
    n : int
        Steps, at least 1.
    span : float
        Standard deviations to either side, above 0.

    Returns
    -------
    xarray.Dataset
        ``spectrum`` (step, energy) in counts, ``window`` (step, channel, window_y, window_x); NaN beyond what the
        training had.
    """
    import xarray as xr

    stored = stored_model(tree)
    steps, out = _outputs_along(stored, latent, n, span)
    k = stored.output.n_outputs
    spectra = stored.output.spectra(np.concatenate([out[:k], np.zeros((k, n), np.float32), out[k:]]))
    kept = tree["traversal"].to_dataset().isel(latent=latent)
    windows = kept["window"].interp(step=steps)
    coords = {"step": _step_coordinate(latent, steps), "energy": kept["energy"]}
    return xr.Dataset({"spectrum": (("step", "energy"), spectra), "window": (windows.dims, windows.values)}, coords)


def decode_image_along(tree: Any, latent: int = 0, *, n: int = 9, span: float = 2.0) -> Any:
    """Pixels of the image along one latent, the others at their mean, and the mean spectra that have it.

    Parameters
    ----------
    tree : xarray.DataTree
        From `spec2im`.
    latent, n, span
        As for `decode_along`.

    Returns
    -------
    xarray.Dataset
        ``image`` (step, channel, pixel_y, pixel_x): the pixels of a spectrum; ``spectrum`` (step, energy) in counts,
        NaN beyond what the training had.
    """
    import xarray as xr

    stored = stored_model(tree)
    steps, out = _outputs_along(stored, latent, n, span)
    side = stored.attrs["lines"][0]["forced"]
    images = out[: stored.model.outputs].T.reshape(n, -1, side, side)
    kept = tree["traversal"].to_dataset().isel(latent=latent)
    coords = {"step": _step_coordinate(latent, steps), "energy": kept["energy"]}
    spectra = kept["spectrum"].interp(step=steps).values
    dims = ("step", "channel", "pixel_y", "pixel_x")
    return xr.Dataset({"image": (dims, images), "spectrum": (("step", "energy"), spectra)}, coords)


def _outputs_along(stored: Stored, latent: int, n: int, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps (n,) of a latent, and what the model says there (k, n)."""
    import torch

    d = stored.model.config["net"]["latent_dim"]
    if not is_whole(latent, 0, d - 1):
        raise InvalidArgumentError(explain(f"latent={latent!r}", f"0 to {d - 1}", "Choose one of these."))
    if not is_whole(n, 1):
        raise InvalidArgumentError(explain(f"n={n!r}", "a whole number of 1 or more", "Choose another number."))
    if not is_number(span) or not 0 < span < np.inf:
        raise InvalidArgumentError(explain(f"span={span!r}", "a finite number above 0", "Choose another number."))
    steps = np.linspace(-span, span, n)
    codes = np.zeros((n, d), np.float32)
    codes[:, latent] = steps
    return steps, stored.model.to("cpu").decode(torch.from_numpy(codes)).numpy().T


def _step_coordinate(latent: int, steps: np.ndarray) -> tuple[str, np.ndarray, dict]:
    return "step", steps, {"long_name": f"latent {latent}, standard deviations"}
