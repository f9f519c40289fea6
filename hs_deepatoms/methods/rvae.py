"""``rvae`` and ``vae``: patches or spectra -> latents, poses and the autoencoder that gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.conditions import learn_conditions
from hs_deepatoms.methods.image_stack import read_samples
from hs_deepatoms.methods.latent_presets import with_preset
from hs_deepatoms.methods.latent_request import (
    Asked,
    check_asked,
    check_axes,
    model_config,
    physics_of,
    recipe_of,
    request_of,
)
from hs_deepatoms.methods.latent_watch import Watched
from hs_deepatoms.methods.patch_rows import PatchRows, kept_rows, read_labels, scaling_of
from hs_deepatoms.methods.patch_set import Request

if TYPE_CHECKING:
    import xarray as xr


def rvae(
    signal: Any,
    atoms: Any = None,
    *,
    window: int | float | str | tuple | None = None,
    latent_dim: int = 2,
    invariances: Sequence[str] = ("rotation", "shift"),
    discrete: int = 0,
    condition: Any = None,
    labels: Any = None,
    grid: int | float | str | tuple | None = None,
    channels: str | None = None,
    centring: str | None = None,
    edge: str = "drop",
    normalisation: str | None = None,
    likelihood: str = "gaussian",
    encoder: str = "dense",
    decoder: str = "dense",
    max_shift: int | float | str | None = None,
    max_scale: float = 1.2,
    max_angle: float | None = None,
    beta: float | tuple[float, float] = 1.0,
    capacity: float | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    restarts: int = 1,
    physics: str | Callable | None = None,
    physics_weight: float | Sequence[float] = 0.1,
    physics_latents: Sequence[int] | None = None,
    physics_block: int | tuple[int, int] = 16,
    physics_combine: str = "add",
    physics_jitter: int | float | str = 0,
    physics_watch: int | Callable = 0,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    signal_dims: tuple[str, ...] | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """What varies among the surroundings of atoms, however they are turned and shifted.

    Parameters
    ----------
    signal : hyperspy Signal2D or AtomPatches, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), with atoms or a grid; patches; or, with neither atoms nor grid, a stack whose
        frames are the patches (of a 4D-STEM scan: every diffraction pattern).
    atoms, window, grid, channels, centring, edge, normalisation, signal_dims
        As in :func:`~hs_deepatoms.extract_patches`.
    latent_dim : int
        Continuous latents.
    invariances : sequence of {"rotation", "shift", "scale"}
        What is taken out of the latents, and given as the pose of each patch instead. ``"rotation"`` needs square
        pixels.
    discrete : int
        Classes of a discrete latent (joint rVAE); 0: none.
    condition : str, sequence of str, or array of shape (n_patches,) or (n_patches, k), optional
        Columns of the table, or values, that are known and shall not be in the latents. Text, bool and columns of
        named classes (``"species"``) are classes, other numbers a quantity.
    labels : str or sequence, optional
        A column or values with what is known of some patches (semi-supervised). Text, whole numbers or bool are
        classes (all text, or all numbers); NaN, None, "" or -1: unknown. Numbers that are not all whole are a
        quantity; NaN or None: unknown.
    likelihood : {"gaussian", "bernoulli"}
    encoder : {"dense", "conv"}
    decoder : {"dense", "conv", "spatial"}
        ``spatial`` makes every pixel from its coordinates, and is many times slower.
    max_shift : int, float or str, optional
        Largest shift along each axis: pixels, axis units or text. None: 7 % of the window.
    max_scale : float
        Largest scale factor, with the invariance ``"scale"``.
    max_angle : float, optional
        Largest angle, degrees, where motifs are known to be turned by little. None: the full circle.
    beta : float or (float, float)
        Weight of the Kullback-Leibler terms; two: at the beginning, and from the middle of the training on.
    capacity : float, optional
        Nats per patch that the latents may hold for nothing, reached from 0 in the first half of the training; the
        divergence is held at them (Burgess et al., arXiv:1804.03599).
    steps : int, optional
        Batches to train with. None: 50 passes over the patches, 400 to 3000.
    batch_size : int
    learning_rate : float
    restarts : int
        Trainings from different starts, of which that with the best evidence lower bound is kept.
    physics : {"edges", "scharr", "spectrum", "periodicity"} or callable, optional
        A loss of the maps of the latents, of patches on a grid or the frames of a scan; batches are then blocks of
        neighbours. See :mod:`hs_deepatoms.latent.physics`; ``"scharr"``: edges as published, blind to checkerboards.
        A function is called as ``loss(maps, mask=mask)``, tensors (n, h, w) of n latents and (h, w), 1 where there is
        a patch, and returns a tensor (n,), or one number, through which torch can differentiate. The other ``physics_``
        options are refused without ``physics``.
    physics_weight : float or sequence of float
        Of that loss beside the evidence lower bound per pixel, or of that of each latent; below 0 it is maximised.
    physics_latents : sequence of int, optional
        Latents that it acts on. None: all.
    physics_block : int or (int, int)
        Height and width of a block, nodes; some block must have two patches without NaN.
    physics_combine : {"add", "multiply"}
        Add the weighted loss, or multiply by the loss to the power of the weight; the latter with
        ``likelihood="bernoulli"`` only, whose term is never below 0.
    physics_jitter : int, float or str
        Largest offset of the origins of the patches while the model learns, drawn anew for every block: pixels, axis
        units or text. A patch that would have NaN there stays where it is.
    physics_watch : int or callable
        How often to cut the first of ``physics_latents`` into phases while the model learns: kept in ``/watch`` as
        ``z`` and ``phase`` (watch_step, atom). A function is called with the table and the step instead, ten times.
    checkpoint : path, optional
        A file from which the same call goes on if it was stopped. It is written every 500 steps, or every tenth of
        shorter trainings, and removed at the end.
    device : str
    seed : int
    show_progressbar : bool, optional

    Returns
    -------
    xarray.DataTree
        ``/latent``: the table with ``z`` (atom, latent), ``z_std``, ``angle`` (rad, from +x towards +y, each kind of
        motif with a free zero), ``angle_std``, ``symmetry`` (n: the angle is known modulo 360/n degrees; 0: the motif
        is round), ``shift_y``, ``shift_x`` (units of the axes), ``scale``,
        ``class_probability`` (atom, class), ``class``, ``value`` and ``value_std`` (of a quantity in ``labels``: from
        the latents, of which one more, the last, is trained to be the quantity, standardised; every fourth known value
        is kept from the training, to measure the errors by, where there are eight or more), ``residual`` (1: as
        expected), ``anomaly`` (robust standard deviations of the residual). NaN for patches with NaN. ``/manifold``:
        pictures over the latents. ``/history``, ``/metrics``, ``/model``. ``tree.deepatoms`` has ``encode``,
        ``decode``, ``reconstruct``, ``manifold``, ``traverse``, ``latent_map``, ``table``, ``plot`` and ``save``.

    Raises
    ------
    InvalidArgumentError
        Options that are none, fewer than two patches without NaN, patches that are all the same, and all that
        `extract_patches` raises.
    InvalidAxesError
        ``"rotation"`` where the steps of y and x differ by more than 5 % (from 1 % on there is a warning; of units that
        cannot be compared pixels are taken as square, with a warning); invariances along an axis whose steps differ.
    TrainingError
        If the loss is no longer finite.

    Notes
    -----
    The angle is searched over the full circle and then refined together with the latents by Gauss-Newton; the encoder
    sees the patch in its canonical pose only. Motifs with an n-fold axis have their angle modulo 360/n degrees.
    Invariant autoencoders of atomic images: Kalinin et al., Sci. Adv. 7, eabd5084 (2021), doi:10.1126/sciadv.abd5084;
    of images: Bepler et al., NeurIPS 2019, arXiv:1909.11663; angles enumerated: Nasiri & Bepler, NeurIPS 2022,
    arXiv:2210.12918.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal2D(np.random.default_rng(0).random((60, 70)))
    >>> tree = s.rvae(grid=6, window=9, steps=3, show_progressbar=False)
    >>> tree["latent/z"].dims, tree["latent/angle"].attrs["units"]
    (('atom', 'latent'), 'rad')
    """
    given = locals()
    return learn(signal, atoms, request_of(given), Asked.of(given), operation="rvae", spectra=False)


def vae(
    signal: Any,
    atoms: Any = None,
    *,
    preset: str | None = None,
    window: int | float | str | tuple | None = None,
    latent_dim: int = 2,
    invariances: Sequence[str] = (),
    discrete: int = 0,
    condition: Any = None,
    labels: Any = None,
    grid: int | float | str | tuple | None = None,
    channels: str | None = None,
    centring: str | None = None,
    edge: str = "drop",
    normalisation: str | None = None,
    likelihood: str = "gaussian",
    encoder: str = "dense",
    decoder: str = "dense",
    max_shift: int | float | str | None = None,
    max_scale: float = 1.2,
    max_angle: float | None = None,
    beta: float | tuple[float, float] = 1.0,
    capacity: float | None = None,
    variational: bool = True,
    steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    restarts: int = 1,
    physics: str | Callable | None = None,
    physics_weight: float | Sequence[float] = 0.1,
    physics_latents: Sequence[int] | None = None,
    physics_block: int | tuple[int, int] = 16,
    physics_combine: str = "add",
    physics_jitter: int | float | str = 0,
    physics_watch: int | Callable = 0,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    signal_dims: tuple[str, ...] | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """What varies among patches or spectra, by a variational autoencoder.

    Parameters
    ----------
    signal : hyperspy Signal2D, AtomPatches or Signal1D, xarray.DataArray, numpy or dask array
        As for :func:`~hs_deepatoms.rvae`; or spectra (..., energy), each of which is a sample. An array of spectra
        needs ``signal_dims``.
    preset : str, optional
        A name by which such models are known, and the options that it stands for where they are not given: "vae",
        "shift-vae", "rvae"; "jvae", "jrvae" (with ``discrete``); "cvae", "crvae" (with ``condition``); "ssvae",
        "ssrvae" (with ``labels``); "autoencoder", "conv-autoencoder".
    invariances : sequence of {"rotation", "shift", "scale"}
        None by default. Spectra: ``"shift"`` and ``"scale"`` along their axis. With ``"shift"`` alone the shifts of all
        spectra (where they take no more than 256 MB) are refined together at the end.
    variational : bool
        False: a plain autoencoder, without prior and noise.
    atoms, window, latent_dim, discrete, condition, labels, grid, channels, centring, edge, normalisation, likelihood, \
encoder, decoder, max_shift, max_scale, max_angle, beta, capacity, steps, batch_size, learning_rate, restarts, \
physics, physics_weight, physics_latents, physics_block, physics_combine, physics_jitter, physics_watch, checkpoint, \
device, seed, signal_dims, show_progressbar
        As for :func:`~hs_deepatoms.rvae`.

    Returns
    -------
    xarray.DataTree
        As for :func:`~hs_deepatoms.rvae`, with poses only for the invariances.

    Raises
    ------
    InvalidArgumentError, TrainingError
        As for :func:`~hs_deepatoms.rvae`.
    InvalidAxesError
        As for :func:`~hs_deepatoms.rvae`; invariances along an energy axis whose steps differ.

    Notes
    -----
    Kingma & Welling, ICLR 2014, arXiv:1312.6114.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal1D(np.random.default_rng(0).random((6, 7, 40)))
    >>> tree = s.vae(invariances=["shift"], steps=3, show_progressbar=False)
    >>> tree["latent/z"].shape
    (42, 2)
    """
    given = with_preset(locals())
    return learn(signal, atoms, request_of(given), Asked.of(given), operation="vae", spectra=True)


def learn(signal: Any, atoms: Any, request: Request, asked: Asked, *, operation: str, spectra: bool) -> xr.DataTree:
    """Read the samples, train on some of them, and give all of them their latents."""
    from hs_deepatoms.latent.learn import best_of
    from hs_deepatoms.latent.model import VAE
    from hs_deepatoms.latent.quantity import fit_quantity, held_out
    from hs_deepatoms.methods.latent_tree import build_latent_tree, infer_all

    check_asked(asked)
    device = choose_device(asked.device)
    found = read_samples(signal, atoms, request, operation=operation, spectra=spectra)
    check_axes(asked, found, operation)
    condition, recipe = learn_conditions(asked.condition, found)
    labels = read_labels(asked.labels, found)
    unseen = held_out(labels.values, asked.seed) if labels.quantity else None
    rows = PatchRows(found, condition, labels.values if unseen is None else np.where(unseen, np.nan, labels.values))
    index, patches = rows.some()
    if len(patches) < 2:
        todo = 'Give more, or cut with edge="reflect".'
        got = f"{len(patches)} patches without NaN for {operation}"
        raise InvalidArgumentError(explain(got, "at least 2, better hundreds", todo))
    scaling = scaling_of(patches, asked.likelihood)
    physics = physics_of(asked, found, index)
    kept = kept_rows(rows, index, patches, scaling, (0, 0) if physics is None else physics.jitter)
    config = model_config(found, asked, condition.shape[1], labels)
    watched = Watched(asked, rows, scaling, device)
    options = {"batch_size": asked.batch_size, "device": device, "physics": physics, "watch": watched.asked_for,
               "checkpoint": asked.checkpoint, "job": watched.job(config, kept)}  # fmt: skip
    fitted, bound = best_of(lambda: VAE(**config), kept, recipe_of(asked, len(kept)), asked.restarts,
                            show_progressbar=asked.show_progressbar, **options)  # fmt: skip
    inferred = infer_all(fitted.module, rows, scaling, device)
    fitted.module.to("cpu")
    lost = int(np.isnan(inferred.residual).sum())
    if lost:
        warn_user(f"{lost} of {len(inferred.residual)} patches have NaN and get no latents")
    quantity = fit_quantity(inferred.z, labels.amounts(), unseen, asked.seed) if labels.quantity else None
    extras = {"condition": recipe, "labels": labels.names, "bound": bound, "trained_on": len(kept),
              "operation": operation, "watch": watched.dataset(), "quantity": quantity}  # fmt: skip
    return build_latent_tree(rows, asked, fitted, scaling, inferred, extras)
