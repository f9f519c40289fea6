"""``decompose_local``: patches -> components, scores and classes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.methods.decomposition_tree import build_tree
from hs_deepatoms.methods.patch_set import PatchSet, Request, load_rows, read_patch_set
from hs_deepatoms.patches.descriptors import KINDS, Pixels
from hs_deepatoms.patches.normalise import rounding_of

if TYPE_CHECKING:
    import xarray as xr

MOST_FEATURES = 2**18


def decompose_local(
    signal: Any,
    atoms: Any = None,
    *,
    method: Any = "nmf",
    n_components: int | None = None,
    window: int | float | str | tuple | None = None,
    grid: int | float | str | tuple | None = None,
    descriptor: str | None = None,
    channels: str | None = None,
    centring: str | None = None,
    edge: str = "drop",
    normalisation: str | None = None,
    signal_dims: tuple[str, ...] | None = None,
    incremental: bool | None = None,
    seed: int | np.random.Generator | None = 0,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """What varies among the surroundings of atoms, or among the parts of an image or spectrum image.

    Parameters
    ----------
    signal : hyperspy Signal2D, AtomPatches or Signal1D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx); patches, taken as they are; or a spectrum image, shape (..., ny, nx, energy), of
        which windows of all energies are taken.
    atoms, window, grid, channels, centring, edge, normalisation, signal_dims
        As in :func:`~hs_deepatoms.extract_patches`. For spectra ``window=(h, w)`` are pixels of the map, one window
        beside the other unless ``grid`` says more; an array or DataArray needs ``signal_dims``.
    method : str or scikit-learn estimator
        Components: ``"pca"``, ``"ica"``, ``"nmf"``. Classes: ``"gmm"``, ``"kmeans"``, ``"som"``, ``"dbscan"``,
        ``"hdbscan"``. Embeddings: ``"tsne"``, ``"isomap"``, ``"umap"`` (extra ``umap``). Or an estimator object with
        ``fit_transform`` or ``fit_predict``, such as ``FactorAnalysis(3)``.
    n_components : int, optional
        Components, classes or dimensions. None: 4; 9 for ``som``; 2 for embeddings; ``gmm`` chooses by BIC, 1 to 10.
    descriptor : {"zernike", "polar_fourier", "fft"}, optional
        What is decomposed in place of the pixels. The first two do not change when a patch is turned. ``"fft"`` is
        the logarithm of the Fourier magnitude; alone it takes windows of about an eighth of the image, at every
        quarter of a window (sliding FFT).
    incremental : bool, optional
        Read the patches batch by batch, with the incremental form of the method (pca, ica, nmf; classes are learned
        from at most 100,000). None: where they take more than 256 MB, lazy or not.
    seed : int, numpy.random.Generator or None
        None: not reproducible.
    show_progressbar : bool, optional
        Of every pass over patches that are read batch by batch. None: as HyperSpy's preferences say.

    Returns
    -------
    xarray.DataTree
        ``/components``: ``components`` (component, [channel,] window_y, window_x) with calibrated axes (of ``fft``
        frequencies; of spectra the energy is last), the ``mean``, explained variance. Of classes: their average
        patches. Of embeddings and rotation-invariant descriptors: how patches change with a score (covariance with
        the standardised score), and ``descriptors``.
        ``/scores``: the positions table and ``scores`` (atom, component); for classes probabilities, and ``class``
        (-1: none). NaN for patches with NaN.
        ``/scree``, ``/classes`` (number, principal components inside each class), ``/maps`` (of a grid), ``/model``.
        ``tree.deepatoms`` has ``plot``, ``to_signal``, ``encode`` and ``save``; ``hs_deepatoms.load`` reads it.

    Raises
    ------
    InvalidArgumentError
        An unknown method, fewer patches than components, patches that are all the same or all NaN, and all that
        `extract_patches` raises.

    Notes
    -----
    Components have norm 1. For NMF negative noise becomes 0; data whose mean is negative are shifted by their minimum,
    which the provenance gives as ``offset``. Classes
    and embeddings are made of the principal components above the noise (Marchenko-Pastur edge), 2 to 20 of them.
    Local PCA, NMF and GMM of sub-images: Ziatdinov et al., Nat. Mach. Intell. 4, 1101 (2022),
    doi:10.1038/s42256-022-00555-8.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal2D(np.random.default_rng(0).random((60, 70)))
    >>> tree = s.decompose_local(grid=6, window=8, method="pca", n_components=3)
    >>> tree["components/components"].shape, tree["scores/scores"].dims
    ((3, 8, 8), ('atom', 'component'))
    """
    from hs_deepatoms.decompose.fit import check_method, fit_samples

    check_method(method, n_components)
    check_descriptor(descriptor)
    ready = is_patches(signal)
    request = Request(window, grid, channels, centring, edge, normalisation, signal_dims, None if ready else True)
    if descriptor == "fft" and not ready and atoms is None:
        request = _sliding(signal, request)
    found = read_patch_set(signal, atoms, request, operation="decompose_local", spectra=True)
    describe = descriptor_of(descriptor, found)
    samples = samples_of(found, describe, incremental, show_progressbar)
    lost = int((~samples.valid).sum())
    if lost:
        message = f"{lost} of {samples.valid.size} patches have NaN and get no scores"
        warnings.warn(message, stacklevel=2)
    result = fit_samples(samples, method, n_components, seed)
    asked = {"method": method, "n_components": n_components, "window": window, "grid": grid, "descriptor": descriptor,
             "incremental": samples.whole is None, "patches": found.data.shape[1], "patches_with_nan": lost,
             "seed": seed if isinstance(seed, int) else repr(seed)}  # fmt: skip
    return build_tree(found, describe, samples, result, asked)


def check_descriptor(descriptor: str | None) -> None:
    """One of the known words, or None."""
    if descriptor not in KINDS:
        allowed = ", ".join(repr(kind) for kind in KINDS)
        raise InvalidArgumentError(explain(f"descriptor={descriptor!r}", allowed, "Choose one of these."))


def descriptor_of(descriptor: str | None, found: PatchSet) -> Pixels:
    """The descriptor for patches of this size, in their units where both axes have the same."""
    y, x = found.axes
    steps = (y.step, x.step) if y.units == x.units or descriptor == "fft" else (1.0, 1.0)
    return KINDS[descriptor](tuple(found.data.shape[-2:]), steps)


def samples_of(found: PatchSet, describe: Pixels, incremental: bool | None, show_progressbar: bool | None):
    """The features of patches as `Samples`."""
    from hs_deepatoms.decompose.samples import survey_samples

    channels, n = found.data.shape[:2]
    width = channels * describe.n_features
    if width > MOST_FEATURES:
        got = f"patches of {width} values"
        todo = "Give a smaller window, rebin the image, or choose a descriptor."
        raise InvalidArgumentError(explain(got, f"at most {MOST_FEATURES}", todo))
    return survey_samples(
        lambda start, stop: describe.describe(load_rows(found, start, stop)),
        n,
        width,
        incremental=incremental,
        show_progressbar=show_progressbar,
        rounding=rounding_of(found.data.dtype),
    )


def _sliding(signal: Any, request: Request) -> Request:
    """Windows of about an eighth of the image (32 to 128 pixels, powers of two), at every quarter of a window."""
    from hs_deepatoms.bridge.source import read_source

    if request.window is None:
        source = read_source(signal, signal_dims=request.signal_dims, n_signal=2, operation="decompose_local")
        sizes = [axis.size for axis in source.signal]
        sides = [min(size, int(2 ** np.clip(np.round(np.log2(size / 8)), 5, 7))) for size in sizes]
        request = replace(request, window=(min(sides), min(sides)))
        if request.grid is None:
            return replace(request, grid=max(1, min(sides) // 4))
    if request.grid is None:
        todo = 'Give grid, for example grid="0.5 nm" or grid=8 (pixels).'
        raise InvalidArgumentError(explain("a window for the sliding FFT without a grid", "both, or neither", todo))
    return request
