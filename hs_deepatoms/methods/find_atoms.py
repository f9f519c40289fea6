"""``find_atoms``: image -> table of atomic columns, with nothing to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.bridge.checks import check_image_source
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.methods.classify import check_species, classify
from hs_deepatoms.tables.build import build_table
from hs_deepatoms.tables.select import inside_region

if TYPE_CHECKING:
    from hs_deepatoms.atoms.detect import Detection

METHODS = ("network", "log", "max")
REFINEMENTS = ("quick", "full", "none")
# of what is found above probability UNCERTAIN, the share in doubt from which nothing is believed: where the survey has
# its doubts, and anywhere
UNCERTAIN, TOO_UNDECIDED, HOPELESS = 0.1, 0.25, 0.4
REGION_RIM = 48  # pixels around a region: columns at its edge are found and fitted together with those beyond
CANDIDATE = 0.01  # probability from which the crystal around is asked
WIDTH_COLUMNS, WIDTH_WINDOW, WIDTH_DECIDED = 5, 320, 0.06  # columns, grid pixels, indecision
SIGNAL_TO_NOISE = 5.0  # default threshold of the blob finders


def find_atoms(
    signal: Any,
    *,
    method: str = "network",
    model: str | Path | None = None,
    contrast: str = "auto",
    threshold: float | str = "auto",
    spacing: int | float | str | None = None,
    refine: str = "quick",
    species: int | str | Sequence[str] | None = None,
    region: Any = None,
    signal_mask: Any = None,
    navigation_mask: Any = None,
    signal_dims: tuple[str, str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    navigation_chunks: int | None = None,
    show_progressbar: bool | None = None,
) -> xr.Dataset:
    """Find atomic columns in images of any size, calibration and pixel type.

    Nothing needs to be set: intensities are scaled per frame by robust percentiles, the width and contrast of the
    columns are measured from the image, the image is resampled to the width the network knows, and columns are read
    off a presence map with a sub-pixel offset and its uncertainty. Of a stack up to three frames are measured, for all
    of them. Where the image may as well be noise or a bare film, and what is found is not convincing as a whole, the
    table is empty, with a warning.

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), real numbers. A lazy signal is walked block by block and never gathered.
    method : {"network", "log", "max"}
        The shipped network, or a finder of blobs (Laplacian of Gaussian) or of maxima at the same automatic scale.
    model : path, optional
        Another model file (``.safetensors``).
    contrast : {"auto", "bright", "dark"}
        Whether columns are brighter or darker (ABF) than their surroundings.
    threshold : float or "auto"
        Smallest probability (network) or smallest signal-to-noise ratio (log, max) of a reported column.
    spacing : int, float or str, optional
        Distance of neighbouring columns, as a hint where the automatic scale fails: an integer in pixels, a float in
        axis units, text with its own unit (``"0.39 nm"``). Of two columns nearer than half of it the less probable
        one is dropped.
    refine : {"quick", "full", "none"}
        ``"quick"``: all columns of a frame fitted together, as Gaussians on a smooth background, in a few steps;
        ``"full"``: until nothing moves, and with columns added where the fit shows that one was missed; ``"none"``:
        the detector's own sub-pixel positions and uncertainties.
    species : int, "auto" or sequence of str, optional
        Classify the atoms by their intensity: number of species, their names (strongest first), or ``"auto"``; see
        ``table.deepatoms.classify``, which can do so later too.
    region : hyperspy ROI, optional
        ``RectangularROI`` or ``CircleROI`` in axis units: columns inside are reported, as the image has them there (up
        to 48 pixels around are looked at too).
    signal_mask : bool array, signal or DataArray, shape (ny, nx), optional
        True marks pixels to leave out.
    navigation_mask : bool array, signal or DataArray, shape of the navigation space, optional
        True marks frames to leave out.
    signal_dims : tuple of str, optional
        Names of the two image dimensions of a DataArray.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    batch_size : int, optional
        Frames that meet the network at once; by default as many as fit the memory budget.
    num_workers : int, optional
        Threads or processes of dask's local schedulers.
    navigation_chunks : int, optional
        Frames per task.
    show_progressbar : bool, optional
        By default HyperSpy's preference.

    Returns
    -------
    xarray.Dataset
        Positions table, dim ``atom``: ``y``, ``x`` in the signal's units, ``y_px``, ``x_px`` in pixels of the source
        (0 is the centre of the first pixel), the frame's index and value per navigation axis, ``probability`` (with
        ``method="log"`` or ``"max"``: ``signal_to_noise``), and ``y_std``, ``x_std``, the one-sigma uncertainty of
        the position. With refinement also ``height``, ``background``, ``intensity``, ``width_y``, ``width_x``
        (Gaussian sigmas), ``rotation``, ``yx_corr`` and ``quality`` (fitted, not converged, added by the fit, not
        fitted): a column whose fit did not converge keeps the detector's position and uncertainty.

    Raises
    ------
    InvalidImageError
        Spectra, complex or RGB data, empty, constant, all-NaN or tiny images.
    InvalidAxesError
        Reciprocal-space axes or a diffraction signal type; signal dimensions that are not there.
    InvalidArgumentError
        A value outside what is allowed.
    ModelFileError
        A missing, damaged or foreign model file.
    DeviceError
        A device that is not there.

    Notes
    -----
    Network: presence and offset with uncertainty after DECODE (Speiser et al., Nat. Methods 18, 1082 (2021),
    doi:10.1038/s41592-021-01236-x). Blob finder: Lindeberg, Int. J. Comput. Vis. 30, 79 (1998),
    doi:10.1023/A:1008045108935.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> import hs_deepatoms
    >>> from hs_deepatoms.simulate.demo import demo_image
    >>> image, info = demo_image()
    >>> atoms = hs.signals.Signal2D(image).find_atoms(show_progressbar=False)
    >>> atoms.sizes["atom"] > 100
    True
    """
    images.check_choice("method", method, METHODS)
    images.check_choice("contrast", contrast, images.CONTRASTS)
    images.check_choice("refine", refine, REFINEMENTS)
    check_species(species)
    images.check_count("batch_size", batch_size)
    images.check_count("navigation_chunks", navigation_chunks)
    images.check_count("num_workers", num_workers)
    whole = images.read_images(signal, signal_dims=signal_dims, operation="find_atoms")
    source, origin = whole, (0, 0)
    if region is not None:
        check_image_source(crop_region(whole, region)[0], "find_atoms")
        source, origin, _ = crop_region(whole, region, REGION_RIM)
    look = look_at(source, whole=whole, origin=origin, method=method, model=model, contrast=contrast,
                   threshold=threshold, spacing=spacing, refine=refine, device=device, signal_mask=signal_mask,
                   navigation_mask=navigation_mask)  # fmt: skip
    found = _detect(source, look, batch_size, navigation_chunks, num_workers, show_progressbar)
    if region is not None:
        y, x = (a.to_value(p) for a, p in zip(source.signal, (found.y, found.x), strict=True))
        found = found.keep(inside_region(region, y, x))
    asked = {
        "method": method,
        "contrast": contrast,
        "threshold": threshold,
        "spacing": spacing,
        "refine": refine,
        "region": None if region is None else repr(region),
        "signal_mask": signal_mask is not None,
        "navigation_mask": navigation_mask is not None,
    }
    table = _table(whole, found, origin, look, asked)
    return table if species is None else classify(table, species, signal=whole if refine == "none" else None)


@dataclass(frozen=True)
class Look:
    """How this job looks at its images: everything decided before the first block."""

    method: str
    model: images.Model
    device: str
    sigma: float
    dark: bool
    confidence: float
    threshold: float
    spacing_px: float | None
    masked: np.ndarray | None
    skipped: np.ndarray | None
    doubtful: bool = False
    refine: str = "none"


def look_at(
    source: Source,
    *,
    whole: Source | None = None,
    origin: tuple[int, int] = (0, 0),
    outside: np.ndarray | None = None,
    method: str = "network",
    model=None,
    contrast: str = "auto",
    threshold: float | str = "auto",
    spacing=None,
    refine: str = "none",
    device: str = "auto",
    signal_mask=None,
    navigation_mask=None,
) -> Look:
    """Read the options, find the model, and survey the images: everything that is decided before the first block."""
    whole = whole or source
    found = images.find_model(model)
    device = choose_device(device)
    limit = images.read_threshold(threshold, found.threshold if method == "network" else SIGNAL_TO_NOISE,
                                  probability=method == "network")  # fmt: skip
    masked = images.read_mask(signal_mask, whole.data.shape[-2:], "signal_mask", images.names(whole.signal))
    if masked is not None:
        height, width = source.data.shape[-2:]
        masked = masked[origin[0] : origin[0] + height, origin[1] : origin[1] + width]
    masked = outside if masked is None else masked if outside is None else masked | outside
    skipped = images.read_mask(navigation_mask, whole.data.shape[:-2], "navigation_mask",
                               images.names(whole.navigation))  # fmt: skip
    limits, spacing_px = images.width_limits(spacing, source.signal)
    frames = images.frames_to_use(int(np.prod(source.data.shape[:-2])), skipped)
    seen = images.survey(source, found, frames, contrast=contrast, limits=limits, masked=masked, device=device)
    if len(frames):
        images.refuse_blank(source, seen, masked)
    look = Look(method, found, device, seen.sigma, seen.dark, seen.confidence, limit, spacing_px, masked, skipped,
                seen.doubtful, refine)  # fmt: skip
    if seen.confidence == 0:
        return look
    return replace(look, sigma=on_the_ladder(_measured_width(source, look, seen.frames[0], limits)))


def on_the_ladder(sigma: float) -> float:
    """The nearest of fixed widths, a tenth of an octave apart.

    A lost line or a hot pixel moves the measured width by a few thousandths; with it every sample of the resampled grid
    would move, and every position by its noise. On fixed widths the grid, and the result, stay as they are.
    """
    return float(max(2 ** (np.round(10 * np.log2(sigma)) / 10), images.NARROWEST))


def _measured_width(source: Source, look: Look, frame: int, limits) -> float:
    """The survey's width, corrected by the detector where it sees columns clearly, in the middle of one frame."""
    from hs_deepatoms.atoms.block import fitted_width
    from hs_deepatoms.atoms.detect import detect
    from hs_deepatoms.atoms.pile import indecision
    from hs_deepatoms.engine.plan import Block

    job = detection_job(source, replace(look, skipped=None, masked=None, threshold=UNCERTAIN, refine="quick"))
    half = [int(min(n, WIDTH_WINDOW / job.zoom)) // 2 for n in job.shape]
    rows, columns = (slice(n // 2 - h, n // 2 + h) for n, h in zip(job.shape, half, strict=True))
    window = np.asarray(images.frame_of(source, frame)[rows, columns])
    whole = (0, window.shape[0], 0, window.shape[1])
    masked = None if look.masked is None else look.masked[rows, columns]
    job = replace(job, shape=window.shape, masked=masked, certain=look.model.threshold)
    found = detect(window[None], Block((0, 1), whole, whole), job)
    if len(found.width) < WIDTH_COLUMNS:
        return look.sigma
    if indecision(found.probability) <= WIDTH_DECIDED:
        width = float(np.median(found.width))
    else:
        width = fitted_width(found, window, job) or look.sigma
    sigma = look.sigma * float(np.clip(width / look.sigma, 0.75, 1.33))
    sigma = max(sigma, images.NARROWEST)
    return float(np.clip(sigma, *limits)) if limits else sigma


def detection_job(source: Source, look: Look) -> Detection:
    """What every block's task needs to know."""
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.modelfile.cache import cached_module

    network = cached_module(look.model.path, look.model.sha256, look.device, name="detector")
    return Detection(
        model=look.model.path,
        sha256=look.model.sha256,
        device=look.device,
        zoom=network.sigma / look.sigma,
        halo=network.halo,
        multiple=network.multiple,
        shape=tuple(source.data.shape[-2:]),
        dark=look.dark,
        threshold=look.threshold,
        calibration=look.model.calibration,
        masked=look.masked,
        skipped=None if look.skipped is None else look.skipped.ravel(),
        apart=None if look.spacing_px is None else 0.5 * look.spacing_px,
        refine=look.refine,
        certain=look.threshold,
    )


def _detect(source: Source, look: Look, batch_size, navigation_chunks, num_workers, show_progressbar):
    from hs_deepatoms.atoms.passes import find_columns
    from hs_deepatoms.atoms.pile import Pile

    job = detection_job(source, look)
    if look.method == "network":  # the uncertain ones are needed to judge the whole
        job = replace(job, reported=min(look.threshold, UNCERTAIN), order=look.model.order)
        job = replace(job, threshold=CANDIDATE if job.order else job.reported)
    blocks, job = images.plan(source, job, batch_size=batch_size, frames_per_block=navigation_chunks)
    pile = Pile(look.threshold)
    how = {"num_workers": num_workers, "show_progressbar": show_progressbar}
    find_columns(source.data, blocks, job, look.method, pile.add, **how)
    doubted = look.method == "network" and look.spacing_px is None
    hopeless = doubted and pile.indecision() > (TOO_UNDECIDED if look.doubtful else HOPELESS)
    if hopeless:
        images.warn_of_nothing()
    return pile.points(keep=not hopeless)


def _table(source: Source, found, origin, look: Look, asked: dict) -> xr.Dataset:
    from hs_deepatoms.atoms.block import QUALITY

    strength = "probability" if look.method == "network" else "signal_to_noise"
    columns = {"y_std_px": found.y_std, "x_std_px": found.x_std, strength: found.probability.astype(np.float32)}
    columns |= found.fitted
    measured = {"column_sigma_px": round(look.sigma, 4), "dark_columns": look.dark, "confidence": look.confidence}
    entry = provenance_entry(
        "find_atoms",
        {**asked, "threshold_used": look.threshold, **measured},
        model={"name": look.model.name, "sha256": look.model.sha256},
        device=look.device,
    )
    found.y += origin[0]
    found.x += origin[1]
    return build_table(
        found.y,
        found.x,
        frame=found.frame,
        columns=columns,
        navigation=source.navigation,
        signal=source.signal,
        metadata=source.metadata,
        provenance=[*source.provenance, entry],
        kind="positions",
        names={"quality": QUALITY} if found.fitted else None,
        owned=True,
    )
