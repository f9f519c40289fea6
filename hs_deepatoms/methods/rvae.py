"""``rvae`` and ``vae``: patches or spectra -> latents, poses and the autoencoder that gave them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.lengths import read_length
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.methods.image_stack import grid_layout, read_samples
from hs_deepatoms.methods.patch_rows import Kept, PatchRows, read_condition, read_labels, scaling_of
from hs_deepatoms.methods.patch_set import PatchSet, Request

if TYPE_CHECKING:
    import xarray as xr

INVARIANCES = ("rotation", "shift", "scale")
LIKELIHOODS = ("gaussian", "bernoulli")
SHIFT = 0.07  # of the window
PASSES, FEWEST, MOST = 50, 400, 3000


@dataclass(frozen=True)
class Asked:
    """What the user wants to be learned; the names are those of `rvae`."""

    latent_dim: int = 2
    invariances: tuple[str, ...] = ()
    discrete: int = 0
    condition: Any = None
    labels: Any = None
    likelihood: str = "gaussian"
    encoder: str = "dense"
    decoder: str = "dense"
    max_shift: Any = None
    max_scale: float = 1.2
    beta: float = 1.0
    variational: bool = True
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float = 2e-3
    restarts: int = 1
    physics: Any = None
    physics_weight: float = 0.1
    physics_latents: Any = None
    physics_block: int | tuple[int, int] = 16
    device: str = "auto"
    seed: int = 0
    show_progressbar: bool | None = None


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
    beta: float = 1.0,
    steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    restarts: int = 1,
    physics: str | Callable | None = None,
    physics_weight: float = 0.1,
    physics_latents: Sequence[int] | None = None,
    physics_block: int | tuple[int, int] = 16,
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
        What is taken out of the latents, and given as the pose of each patch instead.
    discrete : int
        Classes of a discrete latent (joint rVAE); 0: none.
    condition : str, sequence of str, or array of shape (n_patches,) or (n_patches, k), optional
        Columns of the table, or numbers, that are known and shall not be in the latents.
    labels : str or sequence, optional
        A column or values with the classes of some patches; NaN, None, "" or -1: unknown (semi-supervised).
    likelihood : {"gaussian", "bernoulli"}
    encoder : {"dense", "conv"}
    decoder : {"dense", "conv", "spatial"}
        ``spatial`` makes every pixel from its coordinates, and is many times slower.
    max_shift : int, float or str, optional
        Largest shift: pixels, axis units or text. None: 7 % of the window.
    max_scale : float
        Largest scale factor, with the invariance ``"scale"``.
    beta : float
        Weight of the Kullback-Leibler terms.
    steps : int, optional
        Batches to train with. None: 50 passes over the patches, 400 to 3000.
    batch_size : int
    learning_rate : float
    restarts : int
        Trainings from different starts, of which that with the best evidence lower bound is kept.
    physics : {"edges", "spectrum"} or callable, optional
        A loss of the maps of the latents, of patches on a grid or the frames of a scan; batches are then blocks of
        neighbours. See :mod:`hs_deepatoms.latent.physics`.
    physics_weight : float
        Of that loss beside the evidence lower bound per pixel; below 0 it is maximised.
    physics_latents : sequence of int, optional
        Latents that it acts on. None: all.
    physics_block : int or (int, int)
        Height and width of a block, nodes.
    device : str
    seed : int
    show_progressbar : bool, optional

    Returns
    -------
    xarray.DataTree
        ``/latent``: the table with ``z`` (atom, latent), ``z_std``, ``angle`` (rad, from +x towards +y, each kind of
        motif with a free zero), ``angle_std``, ``shift_y``, ``shift_x`` (units of the axes), ``scale``,
        ``class_probability`` (atom, class), ``class``, ``residual`` (1: as expected), ``anomaly`` (robust standard
        deviations of the residual). NaN for patches with NaN. ``/manifold``: pictures over the latents. ``/history``,
        ``/metrics``, ``/model``. ``tree.deepatoms`` has ``encode``, ``decode``, ``reconstruct``, ``manifold``,
        ``traverse``, ``latent_map``, ``table``, ``plot`` and ``save``.

    Raises
    ------
    InvalidArgumentError
        Options that are none, fewer than two patches without NaN, patches that are all the same, and all that
        `extract_patches` raises.
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
    request = Request(window, grid, channels, centring, edge, normalisation, signal_dims, None if is_patches(signal)
                      else True)  # fmt: skip
    asked = Asked(latent_dim, tuple(invariances), discrete, condition, labels, likelihood, encoder, decoder, max_shift,
                  max_scale, beta, True, steps, batch_size, learning_rate, restarts, physics, physics_weight,
                  physics_latents, physics_block, device, seed,
                  show_progressbar)  # fmt: skip
    return learn(signal, atoms, request, asked, operation="rvae", spectra=False)


def vae(
    signal: Any,
    atoms: Any = None,
    *,
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
    beta: float = 1.0,
    variational: bool = True,
    steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    restarts: int = 1,
    physics: str | Callable | None = None,
    physics_weight: float = 0.1,
    physics_latents: Sequence[int] | None = None,
    physics_block: int | tuple[int, int] = 16,
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
    invariances : sequence of {"rotation", "shift", "scale"}
        None by default. Spectra: ``"shift"`` and ``"scale"`` along their axis.
    variational : bool
        False: a plain autoencoder, without prior and noise.
    atoms, window, latent_dim, discrete, condition, labels, grid, channels, centring, edge, normalisation, likelihood, \
encoder, decoder, max_shift, max_scale, beta, steps, batch_size, learning_rate, restarts, physics, \
physics_weight, physics_latents, physics_block, device, seed, signal_dims, show_progressbar
        As for :func:`~hs_deepatoms.rvae`.

    Returns
    -------
    xarray.DataTree
        As for :func:`~hs_deepatoms.rvae`, with poses only for the invariances.

    Raises
    ------
    InvalidArgumentError, TrainingError
        As for :func:`~hs_deepatoms.rvae`.

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
    request = Request(window, grid, channels, centring, edge, normalisation, signal_dims, None if is_patches(signal)
                      else True)  # fmt: skip
    asked = Asked(latent_dim, tuple(invariances), discrete, condition, labels, likelihood, encoder, decoder, max_shift,
                  max_scale, beta, variational, steps, batch_size, learning_rate, restarts, physics, physics_weight,
                  physics_latents, physics_block, device, seed,
                  show_progressbar)  # fmt: skip
    return learn(signal, atoms, request, asked, operation="vae", spectra=True)


def learn(signal: Any, atoms: Any, request: Request, asked: Asked, *, operation: str, spectra: bool) -> xr.DataTree:
    """Read the samples, train on some of them, and give all of them their latents."""
    from hs_deepatoms.latent.learn import best_of
    from hs_deepatoms.latent.model import VAE
    from hs_deepatoms.methods.latent_tree import build_latent_tree, infer_all

    check_asked(asked)
    device = choose_device(asked.device)
    found = read_samples(signal, atoms, request, operation=operation, spectra=spectra)
    condition, moments = _standardised(read_condition(asked.condition, found))
    labels, names = read_labels(asked.labels, found)
    rows = PatchRows(found, condition, labels)
    index, patches = rows.some()
    if len(patches) < 2:
        todo = 'Give more, or cut with edge="reflect".'
        got = f"{len(patches)} patches without NaN for {operation}"
        raise InvalidArgumentError(explain(got, "at least 2, better hundreds", todo))
    scaling = scaling_of(patches, asked.likelihood)
    kept = Kept(rows.rows(index, patches, scaling))
    config = model_config(found, asked, condition.shape[1], len(names))
    options = {"batch_size": asked.batch_size, "device": device, "physics": physics_of(asked, found, index)}
    fitted, bound = best_of(lambda: VAE(**config), kept, recipe_of(asked, len(kept)), asked.restarts,
                            show_progressbar=asked.show_progressbar, **options)  # fmt: skip
    inferred = infer_all(fitted.module, rows, scaling, device)
    fitted.module.to("cpu")
    lost = int(np.isnan(inferred.residual).sum())
    if lost:
        warnings.warn(f"{lost} of {len(inferred.residual)} patches have NaN and get no latents", stacklevel=3)
    extras = {"condition": moments, "labels": names, "bound": bound, "trained_on": len(kept), "operation": operation}
    return build_latent_tree(rows, asked, fitted, scaling, inferred, extras)


def physics_of(asked: Asked, found: PatchSet, index: np.ndarray):
    """The loss of the maps of latents, for training rows that are these patches; None without one.

    Raises
    ------
    InvalidArgumentError
        If the patches are not on a grid, or there is no such loss or latent.
    """
    if asked.physics is None:
        return None
    from hs_deepatoms.latent.blocks import Physics, loss_named

    loss = loss_named(asked.physics)
    latents = asked.physics_latents
    if latents is not None and not set(latents) <= set(range(asked.latent_dim)):
        _refuse("physics_latents", asked, f"some of 0 to {asked.latent_dim - 1}")
    block = asked.physics_block
    block = tuple(block) if isinstance(block, tuple | list) else (block, block)
    if len(block) != 2 or min(block) < 2:
        _refuse("physics_block", asked, "2 or more, or two such numbers")
    return Physics(loss, asked.physics_weight, latents, block, grid_layout(found)[index])


def recipe_of(asked: Asked, n: int):
    """The recipe of a training on n patches."""
    from hs_deepatoms.training.recipe import Recipe

    steps = asked.steps or int(np.clip(PASSES * n / asked.batch_size, FEWEST, MOST))
    return Recipe(steps=steps, learning_rate=asked.learning_rate, averaging="ema", ema_decay=0.99, seed=asked.seed,
                  validate_every=steps)  # fmt: skip


def model_config(found: PatchSet, asked: Asked, conditions: int, labels: int) -> dict[str, Any]:
    """The arguments of the model, JSON."""
    channels, _, h, w = found.data.shape
    return {
        "shape": [h, w],
        "channels": channels,
        "latent_dim": asked.latent_dim,
        "invariances": [one for one in asked.invariances if h > 1 or one != "rotation"],
        "discrete": asked.discrete,
        "condition": conditions,
        "labels": labels,
        "likelihood": asked.likelihood,
        "encoder": asked.encoder,
        "decoder": asked.decoder,
        "max_shift": list(largest_shift(found, asked.max_shift)),
        "max_scale": asked.max_scale,
        "beta": asked.beta,
        "variational": asked.variational,
    }


def largest_shift(found: PatchSet, max_shift: Any) -> tuple[float, float]:
    """Along y and x, pixels.

    Raises
    ------
    InvalidArgumentError
        Half of the window or more.
    """
    shape = found.data.shape[-2:]
    if max_shift is None:
        return tuple(float(SHIFT * n) for n in shape)
    reach = tuple(float(read_length(max_shift, axis)) for axis in found.axes[-1:] * 2)
    for size, one in zip(shape, reach, strict=True):
        if size > 1 and not 0 < one < size / 2:
            got = f"max_shift={max_shift!r}, {one:g} pixels"
            raise InvalidArgumentError(explain(got, f"above 0 and less than half of the window's {size}",
                                               "Give a shorter length, or leave the shift out."))  # fmt: skip
    return reach


def check_asked(asked: Asked) -> None:
    """Refuse options that are none.

    Raises
    ------
    InvalidArgumentError
    """
    from hs_deepatoms.nets.autoencoders import DECODERS, ENCODERS

    choices = {"likelihood": LIKELIHOODS, "encoder": ENCODERS, "decoder": DECODERS}
    for name, allowed in choices.items():
        if getattr(asked, name) not in allowed:
            _refuse(name, asked, ", ".join(map(repr, allowed)))
    unknown = set(asked.invariances) - set(INVARIANCES)
    if isinstance(asked.invariances, str) or unknown:
        _refuse("invariances", asked, f"a list of {INVARIANCES}")
    for name, least in {"latent_dim": 1, "discrete": 0, "batch_size": 1, "restarts": 1, "seed": 0}.items():
        value = getattr(asked, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            _refuse(name, asked, f"a whole number of {least} or more")
    if asked.discrete == 1 or (asked.discrete and asked.labels is not None):
        _refuse("discrete", asked, "0, or 2 and more classes; left out with labels, whose classes it then has")
    for name, above in {"max_scale": 1.0, "beta": -1e-9, "learning_rate": 0.0, "steps": 0}.items():
        value = getattr(asked, name)
        if value is not None and not value > above:
            _refuse(name, asked, f"above {max(above, 0):g}")


def _refuse(name: str, asked: Asked, allowed: str) -> None:
    raise InvalidArgumentError(explain(f"{name}={getattr(asked, name)!r}", allowed, "Choose another value."))


def _standardised(condition: np.ndarray) -> tuple[np.ndarray, list]:
    """Conditions with mean 0 and standard deviation 1, and the mean and deviation that were."""
    if not condition.shape[1]:
        return condition, []
    mean, deviation = np.nanmean(condition, 0), np.nanstd(condition, 0)
    deviation = np.where(deviation > 0, deviation, 1)
    return ((condition - mean) / deviation).astype(np.float32), [mean.tolist(), deviation.tolist()]
