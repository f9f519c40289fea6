"""Images of spectra, by a trained `spec2im`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hs_deepatoms._core.choices import yes_or_no
from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, InvalidAxesError, explain
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.convert import to_xarray
from hs_deepatoms.bridge.lengths import unit_factor
from hs_deepatoms.bridge.provenance import provenance_entry, read_provenance
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.bridge.spectrum_results import axis_dictionary, signal_like
from hs_deepatoms.methods.pair_sources import joined_titles, read_scans, read_spectra
from hs_deepatoms.methods.pair_stored import Stored, count_spectra, stored_model
from hs_deepatoms.methods.pair_tiles import finer_axis, untiled
from hs_deepatoms.methods.pair_training import padded, spectral_maps
from hs_deepatoms.methods.pair_use import check_numbers, outputs_along, step_coordinate
from hs_deepatoms.spectra.model import applied
from hs_deepatoms.spectra.rows import SpectrumRows


def predict_image(tree: Any, spectra: Any, *, std: bool = True, lazy_output: bool | None = None, device: str = "auto",
                  num_workers: int | None = None) -> Any:  # fmt: skip
    """The image of spectra.

    Parameters
    ----------
    tree : xarray.DataTree
        From `spec2im`.
    spectra : Signal1D, xarray.DataArray, numpy or dask array; or a list of them
        A spectrum image with the energy axis of the training, which an array is taken to have; read block by block. Of
        a training with several, a list in its order.
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
    """The model's outputs (2 * k, ny, nx) of spectrum images; NaN where one of them has no spectrum."""
    device = choose_device(device)
    sources = _read(tree, spectra)
    stored = [stored_model(tree, number) for number in range(len(sources))]
    valid, found = np.ones([axis.size for axis in sources[0].navigation], bool), []
    for source, own in zip(sources, stored, strict=True):
        check_numbers(source, "spectra")
        check_energy(source, Axis.from_dict(own.attrs["spectral"]))
        scores, totals, good = _scores(SpectrumRows(source.data, own.channels, own.spikes, num_workers), own)
        found.append((own.space, scores, totals))
        valid &= good
    maps = [spectral_maps(*one, valid) for one in found]  # as in the training, where one of them is none
    model = stored[0].model.to(device)
    out = applied(model, padded(np.concatenate(maps), model.window), device=device)
    out[:, ~valid] = np.nan
    return stored[0], replace(sources[0], title=joined_titles(sources)), out


def _read(tree: Any, spectra: Any) -> list[Source]:
    """As many spectrum images as the training had."""
    count = count_spectra(tree)
    if count is not None:
        given = spectra if isinstance(spectra, list | tuple) else [spectra]
        if len(given) != count:
            got = f"{len(given)} spectrum image{'s' if len(given) != 1 else ''} for predict"
            raise InvalidArgumentError(explain(got, f"a list of {count}", "Give them in the order of the training."))
        return read_scans(given, "predict")
    return [read_spectra(spectra, "predict")]


def _scores(rows: SpectrumRows, stored: Stored) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (k, ny, nx), totals (ny, nx), and where there is a spectrum."""
    valid, totals = np.zeros(rows.shape, bool), np.ones(rows.shape, np.float32)
    scores = np.zeros((stored.space.k, *rows.shape), np.float32)
    for place, block in rows.first_blocks():
        totals[place] = stored.space.totals(block)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = stored.space.scores(stored.space.shapes(block))
        good = np.isfinite(block).all(-1) & (totals[place] > 0)
        scores[(slice(None), *place)] = np.where(good[..., None], found, 0).transpose(2, 0, 1)
        valid[place] = good
    return scores, totals, valid


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
        NaN beyond what the training had; of several spectra ``spectrum_0`` (step, energy_0), ``spectrum_1``, ...
    """
    import xarray as xr

    stored = stored_model(tree)
    steps, out = outputs_along(stored, latent, n, span)
    side = stored.attrs["lines"][0]["forced"]
    images = out[: stored.model.outputs].T.reshape(n, -1, side, side)
    kept = tree["traversal"].to_dataset().isel(latent=latent)
    energies = {str(name): kept[name] for name in kept.dims if name != "step"}
    spectra = {str(name): one.interp(step=steps) for name, one in kept.data_vars.items()}
    dims = ("step", "channel", "pixel_y", "pixel_x")
    found = {"image": (dims, images), **{name: (one.dims, one.values) for name, one in spectra.items()}}
    return xr.Dataset(found, {"step": step_coordinate(latent, steps), **energies})
