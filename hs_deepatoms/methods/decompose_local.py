"""``decompose_local``: patches -> components, scores and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.lengths import same_units
from hs_deepatoms.bridge.patches import is_patches
from hs_deepatoms.methods.decomposition_tree import build_tree
from hs_deepatoms.methods.patch_set import PatchSet, Request, load_rows, read_patch_set
from hs_deepatoms.methods.unmixing import Options, decompose_spectra, is_spectra, refuse_patch_options
from hs_deepatoms.patches.descriptors import KINDS, Pixels
from hs_deepatoms.patches.normalise import rounding_of

if TYPE_CHECKING:
    import xarray as xr

MOST_FEATURES = 2**18


def decompose_local(
    signal: Any,
    atoms: Any = None,
    *,
    method: Any = None,
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
    endmembers: Any = None,
    poisson: bool | None = None,
    sum_to_one: bool = False,
    smoothness: float = 0.0,
    spikes: bool = True,
    navigation_mask: Any = None,
    signal_mask: Any = None,
    seed: int | np.random.Generator | None = 0,
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """What varies among the surroundings of atoms, or among the parts of an image or spectrum image.

    Parameters
    ----------
    signal : hyperspy Signal2D, AtomPatches or Signal1D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx); patches, taken as they are; or spectra, shape (..., energy): each by itself, or
        with ``window``, ``grid`` or ``atoms`` windows of all energies of a spectrum image.
    atoms, window, grid, channels, centring, edge, normalisation, signal_dims
        As in :func:`~hs_deepatoms.extract_patches`. For spectra ``window=(h, w)`` are pixels of the map, one window
        beside the other unless ``grid`` says more; an array or DataArray needs ``signal_dims``.
    method : str or scikit-learn estimator, optional
        Components: ``"pca"``, ``"ica"``, ``"nmf"``. Classes: ``"gmm"``, ``"kmeans"``, ``"som"``, ``"dbscan"``,
        ``"hdbscan"``. Embeddings: ``"tsne"``, ``"isomap"``, ``"umap"`` (extra ``umap``). Or an estimator object with
        ``fit_transform`` or ``fit_predict``, such as ``FactorAnalysis(3)``. Spectra one by one also: ``"nfindr"`` and
        ``"vca"`` (the purest spectra, and how much of each is where), ``"bayes"`` (as nfindr, with the posterior mean
        and deviation of the abundances), ``"svd"`` (as HyperSpy's, the mean not taken away). None: ``"nmf"`` for
        patches, ``"nfindr"`` for spectra.
    n_components : int, optional
        Components, classes or dimensions. None: 4; 9 for ``som``; 2 for embeddings; ``gmm`` chooses by BIC, 1 to 10.
        For spectra one by one as many as stand out of the noise; ``tree.attrs["n_components_reason"]`` says why.
    descriptor : {"zernike", "polar_fourier", "fft"}, optional
        What is decomposed in place of the pixels. The first two do not change when a patch is turned. ``"fft"`` is
        the logarithm of the Fourier magnitude; alone it takes windows of about an eighth of the image, at every
        quarter of a window (sliding FFT).
    incremental : bool, optional
        Read the patches batch by batch, with the incremental form of the method (pca, ica, nmf; classes are learned
        from at most 100,000). None: where they take more than 256 MB, lazy or not. Spectra are always read so.
    endmembers : hyperspy Signal1D, list of them, or array of shape (k, energies), optional
        Spectra that are known: only their abundances are found, ``method`` may be ``"bayes"``. For spectra one by one,
        as the rest below.
    poisson : bool, optional
        Whether the noise is that of counts. None: found out.
    sum_to_one : bool
        Abundances that sum to one: for spectra of one thickness.
    smoothness : float
        0: none. 1: abundances are like those of the neighbours, as far as the least expected error says so itself,
        component by component; more: smoother, less: rougher.
    spikes : bool
        Repair spikes of cosmic rays on the way; the data stay as they are. What neighbours in the scan show at the
        same energy is none, nor are few counts; where much is replaced all the same, a warning says so.
    navigation_mask, signal_mask : bool array or signal, optional
        True where pixels or energies are left out, as in HyperSpy.
    seed : int, numpy.random.Generator or None
        None: not reproducible.
    num_workers : int, optional
        Threads in which spectra are looked through for spikes and unmixed. None: as many as there are cores,
        at most 8. No number depends on it.
    show_progressbar : bool, optional
        Of every pass over patches or spectra that are read batch by batch. None: as HyperSpy's preferences say.

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

        Of spectra one by one ``/components``: ``components`` (component, energy), ``mean``; ``/abundances``:
        ``abundances`` (component and the scan axes; probabilities for classes, scores for the others),
        ``abundances_std`` (one standard error), ``misfit`` (chi squared per degree of freedom), ``class``;
        ``/scree``; ``/model``.
        ``tree.deepatoms`` has ``components`` (an ``EELSSpectrum`` of one), ``abundances``, ``abundances_std``,
        ``classes``, ``misfit``, ``to_signal``, ``reconstruct``, ``encode``, ``plot``, ``plot_scree`` and ``save``.

    Raises
    ------
    InvalidArgumentError
        An unknown method, fewer patches or spectra than components, patches that are all the same, nothing but NaN,
        endmembers on another energy axis, spectra whose mean is not above zero for a method whose parts are, options
        of patches for spectra or the other way round, and all that `extract_patches` raises.

    Notes
    -----
    Components have norm 1. For NMF negative noise becomes 0; patches whose mean is negative, or that stand
    on a pedestal higher than their mean above it, are shifted by their minimum, which the provenance gives as
    ``offset``. Explained variance is what goes with each score alone; shares of parts that overlap add up to more than
    all of it. Classes and embeddings are made of the principal components
    above the noise (Marchenko-Pastur edge), 2 to 20 of them.
    Local PCA, NMF and GMM of sub-images: Ziatdinov et al., Nat. Mach. Intell. 4, 1101 (2022),
    doi:10.1038/s42256-022-00555-8.

    Of spectra one by one the noise is made even first (Keenan & Kotula, Surf. Interface Anal. 36, 203 (2004),
    doi:10.1002/sia.1657). Abundances maximise the Poisson likelihood and are not negative; spectra that were found all
    have the sum of a mean pixel, so that 1 is a pixel of mean thickness. Corners are those of N-FINDR (Winter, Proc.
    SPIE 3753, 266 (1999), doi:10.1117/12.366289) or VCA (Nascimento & Dias, IEEE Trans. Geosci. Remote Sens. 43, 898
    (2005), doi:10.1109/TGRS.2005.844293), moved to where the shares of the other components begin, pixel by pixel
    within its noise: single extreme pixels are extreme because of theirs. Where no pixel is pure, they stay at the
    purest there are.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> import hs_deepatoms
    >>> s = hs.signals.Signal2D(np.random.default_rng(0).random((60, 70)))
    >>> tree = s.decompose_local(grid=6, window=8, method="pca", n_components=3)
    >>> tree["components/components"].shape, tree["scores/scores"].dims
    ((3, 8, 8), ('atom', 'component'))

    >>> cube = hs.signals.Signal1D(np.random.default_rng(0).poisson(9.0, (6, 7, 40)))
    >>> tree = cube.decompose_local(n_components=2, show_progressbar=False)
    >>> tree.deepatoms.abundances()
    <Signal2D, title: abundance, dimensions: (2|7, 6)>
    """
    from hs_deepatoms.decompose.fit import check_method, fit_samples

    options = Options(endmembers, poisson, sum_to_one, smoothness, spikes, navigation_mask, signal_mask, num_workers)
    patches = {"atoms": atoms, "window": window, "grid": grid, "descriptor": descriptor, "channels": channels,
               "centring": centring, "normalisation": normalisation}  # fmt: skip
    if is_spectra(signal, signal_dims) and all(patches[name] is None for name in ("atoms", "window", "grid")):
        refuse_patch_options(patches, edge)
        return decompose_spectra(signal, method, n_components, options, signal_dims=signal_dims, seed=seed,
                                 show_progressbar=show_progressbar)  # fmt: skip
    options.refuse()
    method = "nmf" if method is None else method
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
        warn_user(message)
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
    steps = (y.step, x.step) if same_units(y.units, x.units) or descriptor == "fft" else (1.0, 1.0)
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
