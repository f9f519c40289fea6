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
from hs_deepatoms.bridge.spectrum_results import map_signal, signal_like
from hs_deepatoms.methods.pair_lazy import CHUNK, AskedImage, lazy_spectra, outputs_of, padded_frame
from hs_deepatoms.methods.pair_sources import read_images
from hs_deepatoms.methods.pair_stored import Stored, stored_model
from hs_deepatoms.spectra.grid import WHOLE, Line

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
    return predict_each([tree], image, lazy_output=lazy_output, std=std, device=device)[0]


def predict_each(trees: list, image: Any, *, lazy_output: bool | None = None, std: bool = True,
                 device: str = "auto") -> list:  # fmt: skip
    """As `predict`, of trees with one model: each of several spectra."""
    asked, stored = _asked(trees[0], image, device), [stored_model(tree) for tree in trees]
    wanted = [(one, partial(spectra_of, one)) for one in stored]
    if std:
        wanted += [(one, partial(variance_of, one, noise=True)) for one in stored]
    made = _made(asked, wanted, yes_or_no("lazy_output", lazy_output, asked.source.lazy))
    data, variances = made[: len(trees)], made[len(trees) :] or [None] * len(trees)
    every = zip(trees, stored, data, variances, strict=True)
    return [_result(tree, replace(asked, stored=own), values, wide, "predicted") for tree, own, values, wide in every]


def predict_std(tree: Any, image: Any, *, kind: str = "total", lazy_output: bool | None = None,
                device: str = "auto") -> Any:  # fmt: skip
    """Standard deviation of predicted spectra.

    Parameters
    ----------
    kind : {"total", "epistemic"}
        Of a measurement, noise included, or of the noise-free spectrum alone.

    Other parameters and the result as for `predict`.
    """
    return predict_std_each([tree], image, kind=kind, lazy_output=lazy_output, device=device)[0]


def predict_std_each(trees: list, image: Any, *, kind: str = "total", lazy_output: bool | None = None,
                     device: str = "auto") -> list:  # fmt: skip
    """As `predict_std`, of trees with one model: each of several spectra."""
    if kind not in KINDS:
        raise InvalidArgumentError(explain(f"kind={kind!r}", f"one of {KINDS}", "Choose one of these."))
    asked, stored = _asked(trees[0], image, device), [stored_model(tree) for tree in trees]
    wanted = [(one, partial(_deviation, one, noise=kind == "total")) for one in stored]
    made = _made(asked, wanted, yes_or_no("lazy_output", lazy_output, asked.source.lazy))
    what = f"{kind} standard deviation of predicted"
    every = zip(trees, stored, made, strict=True)
    return [_result(tree, replace(asked, stored=own), values, None, what) for tree, own, values in every]


def _made(asked: AskedImage, wanted: list[tuple[Stored, Any]], lazy: bool) -> list:
    """What functions of the outputs of a spectrum say of an image, (*frames, ny, nx, n) each."""
    if lazy:
        return lazy_spectra(asked, [(partial(_of_slot, own, function), own.n) for own, function in wanted])
    maps = _mapped(asked)
    return [decoded(own, own.slot.of(maps), function) for own, function in wanted]


def _of_slot(stored: Stored, function: Any, out: np.ndarray) -> np.ndarray:
    return function(stored.slot.of(out))


def mapped_outputs(tree: Any, image: Any, device: str = "auto") -> np.ndarray:
    """What the model says of an image before it is decoded: (k, *frames, ny, nx), see `SpectrumOutput`."""
    asked = _asked(tree, image, device)
    return asked.stored.slot.of(_mapped(asked))


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
    check_numbers(source, "an image")
    frames, stack = _stack(source, stored)
    lines, axes = _grid(source, stored)
    _check_pixels(source, stored)
    return AskedImage(stored, source, stack, lines, frames, axes, choose_device(device))


def check_numbers(source: Source, what: str) -> None:
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
        if _ratio(axis, known) is None or abs(_ratio(axis, known) - 1) > SCALES_DIFFER:
            got = f"pixels of {axis.step:.4g} {axis.units} along {axis.name}"
            todo = "Rebin or interpolate the image first; calibrate it, or give its data, if it has no units."
            raise InvalidArgumentError(explain(got, f"those of the training, {known.step:.4g} {known.units}", todo))


def _ratio(axis: Axis, known: Axis) -> float | None:
    """Of their pixels; None for units of other things."""
    try:
        return axis.step * unit_factor(axis.units, known.units) / known.step
    except InvalidArgumentError:
        return None


def decoded(stored: Stored, maps: np.ndarray, function: Any) -> np.ndarray:
    """Spectra (*navigation, n) of maps of outputs."""
    n = stored.n
    out = np.empty((*maps.shape[1:], n), np.float32)
    flat, rows = out.reshape(-1, n), maps.reshape(len(maps), -1)
    step = max(1, CHUNK // (16 * n))
    for start in range(0, rows.shape[1], step):
        flat[start : start + step] = function(rows[:, start : start + step])
    return out


def _spread(stored: Stored, values: np.ndarray) -> np.ndarray:
    """Values of the channels that are predicted at their places, NaN in the others."""
    values = values.astype(np.float32, copy=False)
    if stored.channels is None:
        return values
    out = np.full((*values.shape[:-1], stored.n), np.nan, np.float32)
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
    steps, out = outputs_along(stored, latent, n, span)
    k, out = stored.output.n_outputs, stored.slot.of_decoded(out)
    spectra = stored.output.spectra(np.concatenate([out[:k], np.zeros((k, n), np.float32), out[k:]]))
    kept = tree["traversal"].to_dataset().isel(latent=latent)
    windows = kept["window"].interp(step=steps)
    coords = {"step": step_coordinate(latent, steps), "energy": kept["energy"]}
    return xr.Dataset({"spectrum": (("step", "energy"), spectra), "window": (windows.dims, windows.values)}, coords)


def outputs_along(stored: Stored, latent: int, n: int, span: float) -> tuple[np.ndarray, np.ndarray]:
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


def step_coordinate(latent: int, steps: np.ndarray) -> tuple[str, np.ndarray, dict]:
    return "step", steps, {"long_name": f"latent {latent}, standard deviations"}
