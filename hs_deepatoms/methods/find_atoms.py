"""``find_atoms``: image -> table of atomic columns, with nothing to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hs_deepatoms._core.choices import check_choice
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_count
from hs_deepatoms.bridge.checks import check_region_size
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images, stored
from hs_deepatoms.methods.classify import check_species, classify
from hs_deepatoms.methods.column_job import planned
from hs_deepatoms.methods.learned import learned_segmenter, refuse_given
from hs_deepatoms.methods.look import look_at
from hs_deepatoms.methods.own_looks import HOPELESS, TOO_UNDECIDED, LookAlone, OwnLooks
from hs_deepatoms.tables.build import build_table
from hs_deepatoms.tables.select import inside_region

if TYPE_CHECKING:
    from hs_deepatoms.atoms.detect import Detection
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.atoms.pile import Pile

METHODS = ("network", "log", "max")
REFINEMENTS = ("quick", "full", "none")
# the same from which there is a warning, if it is of so many columns: in any case, and where the contrast is not sure
MUCH_DOUBT, SOME_DOUBT, NOT_A_FEW = 0.3, 0.1, 10
REGION_RIM = 48  # pixels around a region: columns at its edge are found and fitted together with those beyond


def find_atoms(
    signal: Any,
    *,
    method: str = "network",
    model: Any = None,
    contrast: str = "auto",
    threshold: float | str = "auto",
    spacing: int | float | str | None = None,
    refine: str = "quick",
    elliptical: bool | str = "auto",
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
    store: str | Path | None = None,
) -> xr.Dataset:
    """Find atomic columns in images of any size, calibration and pixel type.

    Nothing needs to be set: intensities are scaled per frame by robust percentiles, the width and contrast of the
    columns are measured from the image, the image is resampled to the width the network knows, and columns are read off
    a presence map with a sub-pixel offset and its uncertainty. Of a stack all frames up to twelve, or six of more, are
    looked at, and one of those that show columns most clearly is measured, for all of them; the order of up to twelve,
    or that of more backwards, does not matter. Frames in which columns are found that are less decided, far fewer or of
    another width are then looked at by themselves. Where the image may as well be noise or a bare film, and what is
    found is not convincing as a whole, the table is empty, with a warning; such frames of a stack simply have no atoms.

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), real numbers. A lazy signal is walked block by block and never gathered.
    method : {"network", "log", "max"}
        The shipped network, or a finder of blobs (Laplacian of Gaussian) or of maxima at the same automatic scale.
    model : path, str, Detector or Segmenter, optional
        Another model (``.safetensors``), one that you trained, or the name of a shipped one. ``"auto"``, as by default,
        is the shipped model for the contrast that the columns have; the provenance says which. A segmenter's classes
        are the species; it takes no ``method``, ``spacing``, ``species``, ``region``, ``store`` and ``elliptical``.
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
    elliptical : bool or "auto"
        Fit columns as ellipses of any orientation (``width_y``, ``width_x``, ``rotation``) instead of round ones; a fit
        takes about twice as long. By default where most columns of the image measured are plainly longer than wide in
        one direction (astigmatism, a tilt), which a warning says. Columns that are much longer than wide are made
        round, by a smoothing along their short axis, before the network sees them; else it takes them for two each.
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
    store : path, optional
        A ``.zarr`` store to write the table to, block by block, for more atoms than memory holds: the result is then
        backed by dask arrays. If the run is stopped, whatever the reason, the same call goes on where it was and ends
        with the same arrays; finished blocks wait in a folder beside the store, ``<store>.parts``. The call after
        that only opens the store. Whether the data are the same is told by up to a thousand lines of every frame, of
        lazy data of more than 256 MiB by those of as many frames as that holds (eight at least). Blocks are in pixels:
        a run that is taken up with other axes or metadata ends with those of the call that finishes it. A finished
        store is not opened for axes (scale, offset, units, names) that have changed since; the error says how to give
        its atoms the axes of now. Its metadata are replaced by the signal's in the table returned, not on disk. One run
        at a time writes a store (``<store>.lock``).

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
    StoreError
        A store of other data, another model, other parameters or axes calibrated otherwise, something that is no
        store, or one that another run is writing.

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
    segmenter = learned_segmenter(model)
    if segmenter is not None:
        refuse_given({"method": (method, "network"), "spacing": (spacing, None), "species": (species, None),
                      "region": (region, None), "store": (store, None), "elliptical": (elliptical, "auto")},
                     "find_atoms")  # fmt: skip
        return segmenter.find_atoms(
            signal, threshold=threshold, refine=refine, contrast=contrast, signal_mask=signal_mask,
            navigation_mask=navigation_mask, signal_dims=signal_dims, device=device, batch_size=batch_size,
            num_workers=num_workers, navigation_chunks=navigation_chunks, show_progressbar=show_progressbar,
        )  # fmt: skip
    check_choice("method", method, METHODS)
    check_choice("contrast", contrast, images.CONTRASTS)
    check_choice("refine", refine, REFINEMENTS)
    check_shape(elliptical, refine)
    elliptical = elliptical if isinstance(elliptical, str) else bool(elliptical)  # also NumPy's
    check_species(species)
    check_count("batch_size", batch_size)
    check_count("navigation_chunks", navigation_chunks)
    check_count("num_workers", num_workers)
    path = None if store is None else stored.check_store(store, species)
    whole = images.read_images(signal, signal_dims=signal_dims, operation="find_atoms")
    source, origin = whole, (0, 0)
    if region is not None:
        check_region_size(crop_region(whole, region)[0], region, "find_atoms")
        source, origin, _ = crop_region(whole, region, REGION_RIM)
    options = {"method": method, "model": model, "contrast": contrast, "threshold": threshold, "spacing": spacing,
               "refine": refine, "elliptical": elliptical}  # fmt: skip
    look = look_at(source, whole=whole, origin=origin, device=device, signal_mask=signal_mask,
                   navigation_mask=navigation_mask, **options)  # fmt: skip
    asked = {key: value for key, value in options.items() if key != "model"} | {
        "region": None if region is None else repr(region),
        "signal_mask": signal_mask is not None,
        "navigation_mask": navigation_mask is not None,
    }
    alone = LookAlone(replace(look, skipped=None), source.signal, options, batch_size)
    looks = OwnLooks(source, look, alone)

    def table_of(points, first=0):
        points.y += origin[0]
        points.x += origin[1]
        if region is not None:
            y, x = (a.to_value(p) for a, p in zip(whole.signal, (points.y, points.x), strict=True))
            points = points.keep(inside_region(region, y, x))
        return _table(whole, points, looks, asked, first)

    blocks, job = planned(source, look, batch_size, navigation_chunks)
    how = {"num_workers": num_workers, "show_progressbar": show_progressbar}
    if path is None:
        table = table_of(_found(source, blocks, job, looks, how))
        return table if species is None else classify(table, species, signal=whole if refine == "none" else None)
    return _found_into(path, whole, source, blocks, job, looks, asked, table_of, how)


def check_shape(elliptical: bool | str, refine: str) -> None:
    """Refuse ellipses where nothing is fitted."""
    if not isinstance(elliptical, (bool, np.bool_)) and not (isinstance(elliptical, str) and elliptical == "auto"):
        got = f"elliptical={elliptical!r}"
        raise InvalidArgumentError(explain(got, "True, False or 'auto'", "Leave it out: 'auto' looks at the columns."))
    if not isinstance(elliptical, str) and elliptical and refine == "none":
        raise InvalidArgumentError(
            explain(
                "elliptical=True with refine='none'", "refine='quick' or 'full'", "Ellipses are a result of the fit."
            )
        )


def _found(source: Source, blocks, job: Detection, looks: OwnLooks, how: dict):
    """Points of the whole signal, in memory."""
    from hs_deepatoms.atoms.passes import find_columns
    from hs_deepatoms.atoms.pile import Pile

    pile = Pile(looks.look.threshold)
    find_columns(source.data, blocks, job, looks.look.method, pile, **how)
    looks.give(pile, _tiled(blocks, job), how)
    return pile.points(keep=_believed(looks, pile))


def _tiled(blocks, job: Detection) -> bool:
    """Whether tasks hold parts of frames."""
    return any(block.core_shape != tuple(job.shape) for block in blocks)


def _found_into(path, whole: Source, source: Source, blocks, job: Detection, looks: OwnLooks, asked, table_of, how):
    """The table of the whole signal, on disk."""
    from hs_deepatoms.atoms.filed import Filed
    from hs_deepatoms.atoms.passes import find_columns

    this = stored.describe_job(source.data, blocks, job, asked)
    table = stored.finished(path, this, whole)
    if table is not None:
        return table
    with stored.only_run(path):
        table = stored.finished(path, this, whole)  # of a run that ended just now
        if table is not None:
            return table
        filed = Filed(stored.begin(path, this), looks.look.threshold)
        find_columns(source.data, blocks, job, looks.look.method, filed, **how)
        looks.give(filed, _tiled(blocks, job), how)
        return stored.complete(path, filed, this, table_of, _believed(looks, filed))


def _believed(looks: OwnLooks, found: Pile | Filed) -> bool:
    """False, with a warning, where what was found is not convincing as a whole; one, too, where nothing was found."""
    look, oblong = looks.look, looks.oblong
    if look.oblong and look.refine != "none" and look.elliptical is not True and found.rows >= NOT_A_FEW:
        images.warn_of_oblong(look.oblong, look.ellipses)
    elif oblong and look.elliptical is not True:
        images.warn_of_oblong(oblong[0].oblong, True, frames=len(oblong))
    if look.spacing_px is not None:
        images.warn_of_spacing(look.spacing_px, found.rows, look.poor)
        return True
    if look.method != "network":
        return True
    believed = found.indecision() <= (TOO_UNDECIDED if look.doubtful else HOPELESS)
    believed &= not look.counts or looks.frames > 1  # of a stack each was looked at by itself
    if not believed or (found.rows == 0 and not (look.skipped is not None and look.skipped.all())):
        images.warn_of_nothing(None if look.doubtful or not believed else look.sigma)
    elif found.rows >= NOT_A_FEW and (look.confidence == 0 or (look.either and found.indecision() > SOME_DOUBT)):
        images.warn_of_doubt(look.sigma, look.dark, found.rows, either=look.either)
    elif found.rows >= NOT_A_FEW and found.indecision() > MUCH_DOUBT:
        images.warn_of_indecision(look.sigma, found.indecision())
    elif look.poor:
        images.warn_of_much_left(look.sigma)
    return believed


def _table(source: Source, found, looks: OwnLooks, asked: dict, first: int) -> xr.Dataset:
    from hs_deepatoms.atoms.block import QUALITY
    from hs_deepatoms.atoms.reliability import reliable, reliable_rows

    look = looks.look
    strength, limit, said = "signal_to_noise", look.threshold, found.probability
    if look.method == "network":
        knots = look.model.reliability
        strength, limit, said = "probability", float(reliable(limit, knots)), reliable_rows(said, knots)
    columns = {"y_std_px": found.y_std, "x_std_px": found.x_std, strength: said.astype(np.float32, copy=False)}
    columns |= found.fitted
    measured = {"column_sigma_px": round(look.sigma, 4), "dark_columns": look.dark, "confidence": look.confidence}
    if look.oblong:
        measured |= {"long_over_short": round(look.oblong, 3), "ellipses_fitted": look.ellipses}
    if looks.told:  # the column sigma of frames that are not like the others; None where nothing is believed
        own = {str(k): v for k, v in looks.told.items()}
        measured["own_column_sigma_px"] = {k: round(v.sigma, 4) if v.sigma else None for k, v in own.items()}
        measured["own_dark_columns"] = {k: v.dark for k, v in own.items() if v.sigma}
        measured["own_model"] = {k: v.model for k, v in own.items() if v.model}
    entry = provenance_entry(
        "find_atoms",
        {**asked, "threshold_used": limit, **measured},
        model={"name": look.model.name, "sha256": look.model.sha256},
        device=look.device,
    )
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
        ids=np.arange(first, first + len(found.y)) if first else None,
        owned=True,
    )
