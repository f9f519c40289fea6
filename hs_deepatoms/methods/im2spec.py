"""``im2spec`` and ``spec2im``: networks that predict spectra from images, and images from spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.lengths import read_length
from hs_deepatoms.methods.pair_request import requests_of
from hs_deepatoms.methods.pair_several import build_several_tree
from hs_deepatoms.methods.pair_sources import Pair, read_pairs, read_window
from hs_deepatoms.methods.pair_training import learn_image, learn_spectra
from hs_deepatoms.methods.pair_tree import build_image_tree, build_spectrum_tree

if TYPE_CHECKING:
    import xarray as xr

CONTEXT = 5  # spectra along each axis that an image pixel is predicted from


def im2spec(
    image: Any,
    eels: Any,
    *,
    window: int | float | str | None = None,
    region: Any = None,
    shift: tuple | None = None,
    target: str = "scores",
    n_components: int | list | None = None,
    latent_dim: int = 8,
    variational: bool = False,
    likelihood: str | list = "auto",
    normalisation: str | list = "auto",
    non_negative: bool | list | None = None,
    split: Any = "blocks",
    folds: int | None = None,
    members: int = 1,
    steps: int | None = None,
    batch_size: int = 6,
    learning_rate: float = 2e-3,
    navigation_mask: Any = None,
    signal_mask: Any = None,
    spikes: bool | list = True,
    edges: dict[str, float] | list | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """Learn which spectrum, or which spectra, belong to the surroundings of a pixel in an image.

    Parameters
    ----------
    image : hyperspy Signal2D, xarray.DataArray, numpy or dask array; or a list of them
        One image, shape (ny, nx); several channels on one grid as a list, or along one navigation axis. It may be finer
        than the spectrum image, and show more (a survey image).
    eels : hyperspy Signal1D (EELSSpectrum, ...), xarray.DataArray, numpy or dask array; or a list of them
        Spectra (ny, nx, n). Of a lazy one, blocks are read one after another. Several spectra of every place (low and
        core loss, EELS and X-rays, amplitude and phase) are a list of signals of one scan, each with an axis of its
        own: one network with one latent space predicts all of them. Places are used where all have a spectrum.
    window : int, float or str, optional
        Side of the surroundings: pixels of the image, axis units or text. None: 16 pixels, or 6 spectra where the image
        is finer, at most a sixth of the map.
    region : hs.roi.RectangularROI, optional
        The part of the image that the spectra cover. None: calibrations and offsets of both say it; without units,
        grids of the same size are the same.
    shift : (length, length), optional
        Of the spectra against the image along y and x, drift for instance.
    target : {"scores", "spectrum"}
        Predict scores of principal components, scaled for Poisson noise, as many as stand out of the noise, at most 20;
        or all channels by dilated convolutions (slower).
    n_components : int, optional
        Number of scores. This, ``likelihood``, ``normalisation``, ``non_negative``, ``signal_mask``, ``spikes`` and
        ``edges`` may be lists with a value for each of several spectra.
    latent_dim : int
    variational : bool
        Latents with a distribution: a variational encoder-decoder.
    likelihood : {"auto", "poisson", "gaussian", "learned"}
        Noise of the spectra: proportional to the counts (the factor is measured), the same everywhere, or measured for
        each channel. "auto": Poisson for counts.
    normalisation : {"auto", "area", "zlp", "none"}
        By what spectra are divided, whose logarithm is predicted apart: their sum, the sum of the zero loss, nothing.
        "auto": the sum of counts.
    non_negative : bool, optional
        Whether predicted spectra are never below zero. None: where they are counts.
    split : {"blocks", "random"} or array of bool, shape (ny, nx)
        What is held out: blocks with a gap as wide as the window around them; pixels at random, whose scores are too
        good; or what is True.
    folds : int, optional
        1: one split for training, validation and test. More: every spectrum is in the test of one split, and the model
        is the ensemble of all. None: 5 for small maps (below 8000 spectra), 3 below 100,000, else 1.
    members : int
        Networks per split.
    steps : int, optional
        Batches of the training at most; it stops when validation gets no better. None: 300 to 1000, of whole spectra to
        2000.
    batch_size : int
        Tiles of the map in a batch.
    learning_rate : float
    navigation_mask, signal_mask : signal or array of bool, optional
        True for spectra, and for channels, that are left out, as in HyperSpy; so are channels of NaN alone.
    spikes : bool
        Whether one to three channels far out of the noise of counts are repaired, unless neighbours in the scan show
        them, too.
    edges : dict of str to float, optional
        Name and onset (units of the energy axis) of edges whose net counts are scored. None: the major edges of the
        elements in the metadata.
    checkpoint : path, optional
        A file from which the same call goes on if it was stopped; removed at the end.
    device : str
    seed : int
    num_workers : int, optional
        Threads that dask uses.
    show_progressbar : bool, optional

    Returns
    -------
    xarray.DataTree
        ``/metrics``: R2 (against the mean spectrum of the training, of spectra normalised to their total, also with the
        noise of the measurement taken out), RMSE, spectral angle, error of the peak's position beyond what noise leaves
        open, R2 of each channel and edge, by method (the model, mean spectrum, nearest neighbours, ridge regression on
        principal and on non-negative components), coverage, and attributes ``beats_baselines`` and ``verdict``, which
        names edges for which it is worse than the mean spectrum. ``/latent``: latents, the part of the split (of
        several: in whose test), and the error, as maps. ``/held_out``: what is predicted for every spectrum of a test
        by the networks that have not seen it. ``/traversal``, ``/examples``, ``/history``, ``/model``.
        ``tree.deepatoms`` has ``predict``, ``predict_std``, ``held_out``, ``latent_map``, ``decode_along``, ``plot``
        and ``save``. Of several spectra ``/metrics`` has a row for each, which beats its baselines by itself,
        ``/spectrum_0``, ``/spectrum_1``, ... have what there is of each alone, the methods give a list in the order of
        the spectra, and ``tree.deepatoms.of(1)`` is the tree of one of them.

    Raises
    ------
    InvalidImageError
        Data that are no image or no map of spectra, an image of one value, too few usable spectra, negative counts
        with ``likelihood="poisson"``.
    InvalidAxesError
        Grids that do not overlap or whose relation is not known; several spectra that are not of one scan.
    InvalidArgumentError
        Options that are none; lists of another length than that of the spectra; a map too small for a gap as wide as
        the window.
    TrainingError
        If the loss is no longer finite.

    Notes
    -----
    Thickness times the mean spectrum explains nearly all variance of raw counts; therefore the shape and the logarithm
    of the total are predicted apart, and scored apart. Predicted variances are those left open by the image, plus what
    members differ by, scaled on held-out blocks (conformal; each block of the test is judged by the others), plus the
    noise of a measurement. A number that the image does not tell better than its mean on held-out blocks is its mean,
    with the spread of all spectra. Small maps have principal components of all spectra, test included; networks and
    baselines see only the training. Image to spectrum: Roccapriore et al., Adv. Sci. 9, 2203422 (2022),
    doi:10.1002/advs.202203422; Ziatdinov et al., Nat. Mach. Intell. 4, 1101 (2022), doi:10.1038/s42256-022-00555-8.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> rng = np.random.default_rng(0)
    >>> haadf = hs.signals.Signal2D(rng.random((24, 30)))
    >>> eels = hs.signals.Signal1D(rng.poisson(50, (24, 30, 40)))
    >>> import warnings; warnings.simplefilter("ignore")
    >>> tree = haadf.im2spec(eels, window=3, folds=1, steps=3, show_progressbar=False)
    >>> tree.deepatoms.predict(haadf)
    <Signal1D, title: predicted from an image, dimensions: (30, 24|40)>
    """
    asked = requests_of(locals(), eels)
    pairs = read_pairs(image, eels, region=region, shift=shift, operation="im2spec")
    learned = learn_spectra(pairs, read_window(window, pairs[0]), asked)
    if isinstance(eels, list | tuple):
        return _warned(build_several_tree(pairs, learned, asked))
    return _warned(build_spectrum_tree(pairs[0], learned[0], asked[0]))


def spec2im(
    eels: Any,
    image: Any,
    *,
    window: int | float | str | None = None,
    region: Any = None,
    shift: tuple | None = None,
    n_components: int | list | None = None,
    latent_dim: int = 8,
    variational: bool = False,
    likelihood: str | list = "auto",
    normalisation: str | list = "auto",
    split: Any = "blocks",
    folds: int | None = None,
    members: int = 1,
    steps: int | None = None,
    batch_size: int = 6,
    learning_rate: float = 2e-3,
    navigation_mask: Any = None,
    signal_mask: Any = None,
    spikes: bool | list = True,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """Learn which image belongs to spectra: the reverse of `im2spec`.

    Parameters
    ----------
    eels, image
        As for :func:`~hs_deepatoms.im2spec`. A list of several spectra is looked at together.
    window : int, float or str, optional
        Side of the surroundings of a spectrum that are looked at: spectra, axis units of the map or text. None: 5
        spectra, at most a quarter of the map.
    region, shift, n_components, latent_dim, variational, likelihood, normalisation, split, folds, members, steps, \
batch_size, learning_rate, navigation_mask, signal_mask, spikes, checkpoint, device, seed, num_workers, show_progressbar
        As for :func:`~hs_deepatoms.im2spec`; ``signal_mask`` and ``spikes`` hold for predictions, too. The spectra are
        given to the network as scores of principal components and the logarithm of their total.

    Returns
    -------
    xarray.DataTree
        As for :func:`~hs_deepatoms.im2spec`, without ``/examples``; ``tree.deepatoms.predict(eels)`` is an image, with
        as many pixels per spectrum as the image of the training. Of several spectra ``predict`` takes a list of as
        many, in the same order.

    Raises
    ------
    InvalidImageError, InvalidAxesError, InvalidArgumentError, TrainingError
        As for :func:`~hs_deepatoms.im2spec`.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> rng = np.random.default_rng(0)
    >>> haadf = hs.signals.Signal2D(rng.random((24, 30)))
    >>> eels = hs.signals.Signal1D(rng.poisson(50, (24, 30, 40)))
    >>> import warnings; warnings.simplefilter("ignore")
    >>> tree = eels.spec2im(haadf, window=3, folds=1, steps=3, show_progressbar=False)
    >>> tree.deepatoms.predict(eels)
    <Signal2D, title: predicted image from spectra, dimensions: (|30, 24)>
    """
    asked = requests_of(locals(), eels)
    pairs = read_pairs(image, eels, region=region, shift=shift, operation="spec2im")
    learned = learn_image(pairs, _context(window, pairs[0]), asked)
    return _warned(build_image_tree(pairs, learned, asked))


def _context(window: Any, pair: Pair) -> int:
    """Side of the surroundings in spectra."""
    most = max(1, min(line.size for line in pair.lines) // 4)
    if window is None:
        return min(CONTEXT, most)
    side = round(read_length(window, pair.spectra.navigation[0]))
    if not 1 <= side <= most:
        got = f"window={window!r}, {side} spectra, of a map of {pair.lines[0].size} x {pair.lines[1].size}"
        raise InvalidArgumentError(explain(got, f"1 to {most}, a quarter of the map", "Choose another window."))
    return side


def _warned(tree: xr.DataTree) -> xr.DataTree:
    """The tree; with a warning if the model is no better than what it was compared with."""
    if not tree["metrics"].attrs["beats_baselines"]:
        warn_user(tree["metrics"].attrs["verdict"])
    return tree
