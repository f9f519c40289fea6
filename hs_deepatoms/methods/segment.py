"""``segment``: image -> map of the probability that there is a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from hs_deepatoms._core.choices import check_choice, yes_or_no
from hs_deepatoms._core.numbers import check_count
from hs_deepatoms.bridge.checks import check_region_size
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.region import crop_region
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.methods import images
from hs_deepatoms.methods.column_job import detection_job
from hs_deepatoms.methods.learned import learned_segmenter, refuse_given
from hs_deepatoms.methods.look import look_at


def segment(
    signal: Any,
    *,
    model: Any = None,
    contrast: str = "auto",
    spacing: int | float | str | None = None,
    region: Any = None,
    signal_mask: Any = None,
    navigation_mask: Any = None,
    signal_dims: tuple[str, str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    navigation_chunks: int | None = None,
    lazy_output: bool | None = None,
    show_progressbar: bool | None = None,
) -> Any:
    """Probability that a column lies within about one column width of each pixel; or, with a ``Segmenter`` as the
    ``model``, of every class at each pixel (see :meth:`Segmenter.predict`).

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), real numbers.
    model, contrast, spacing, signal_mask, navigation_mask, signal_dims, device, batch_size, num_workers, \
navigation_chunks, show_progressbar
        As in :func:`~hs_deepatoms.find_atoms`.
    region : hyperspy ROI, optional
        ``RectangularROI`` or ``CircleROI`` in axis units; the map is that of the part inside.
    lazy_output : bool, optional
        None: as the input is. A lazy result is computed block by block when it is asked for.

    Returns
    -------
    Signal2D or xarray.DataArray, float32, shape of the input (or of its ``region``)
        Values between 0 and 1 on the axes of the input, with its metadata; the kind that went in (an array: a
        DataArray in px). Masked pixels and frames, and what a circle leaves out, are 0.

    Raises
    ------
    InvalidImageError, InvalidAxesError, InvalidArgumentError, ModelFileError, DeviceError
        As in :func:`~hs_deepatoms.find_atoms`.

    Notes
    -----
    The network's presence map, DECODE's detection probability (Speiser et al., Nat. Methods 18, 1082 (2021),
    doi:10.1038/s41592-021-01236-x), summed over 3 x 3 cells.

    Examples
    --------
    >>> import hyperspy.api as hs
    >>> import hs_deepatoms
    >>> from hs_deepatoms.simulate.demo import demo_image
    >>> s = hs.signals.Signal2D(demo_image()[0])
    >>> s.segment(show_progressbar=False).data.shape == s.data.shape
    True
    """
    from hs_deepatoms.atoms.presence import presence_block
    from hs_deepatoms.engine.mapping import map_blocks, map_to_array

    segmenter = learned_segmenter(model)
    if segmenter is not None:
        refuse_given({"contrast": (contrast, "auto"), "spacing": (spacing, None), "region": (region, None)}, "segment")
        return segmenter.predict(
            signal, signal_mask=signal_mask, navigation_mask=navigation_mask, signal_dims=signal_dims, device=device,
            batch_size=batch_size, num_workers=num_workers, navigation_chunks=navigation_chunks,
            lazy_output=lazy_output, show_progressbar=show_progressbar,
        )  # fmt: skip
    check_choice("contrast", contrast, images.CONTRASTS)
    for name, value in (
        ("batch_size", batch_size),
        ("num_workers", num_workers),
        ("navigation_chunks", navigation_chunks),
    ):
        check_count(name, value)
    whole = images.read_images(signal, signal_dims=signal_dims, operation="segment")
    source, origin, outside = (whole, (0, 0), None) if region is None else crop_region(whole, region)
    check_region_size(source, region, "segment")
    lazy = yes_or_no("lazy_output", lazy_output, source.lazy)
    look = look_at(source, whole=whole, origin=origin, outside=outside, model=model, contrast=contrast,
                   spacing=spacing, device=device, signal_mask=signal_mask,
                   navigation_mask=navigation_mask)  # fmt: skip
    blocks, job = images.plan(source, detection_job(source, look), batch_size=batch_size,
                              frames_per_block=navigation_chunks)  # fmt: skip
    if lazy:
        data = map_to_array(source.data, blocks, presence_block, arguments=(job,), leading=(), dtype=np.float32)
    else:
        parts = map_blocks(source.data, blocks, presence_block, arguments=(job,), num_workers=num_workers,
                           show_progressbar=show_progressbar, description="segment")  # fmt: skip
        data = images.assemble(parts, blocks, source.data.shape)
    entry = provenance_entry(
        "segment",
        {
            "contrast": contrast,
            "spacing": spacing,
            "region": None if region is None else repr(region),
            "column_sigma_px": round(look.sigma, 4),
            "dark_columns": look.dark,
        },
        model={"name": look.model.name, "sha256": look.model.sha256},
        device=look.device,
    )
    title = f"column probability of {source.title}" if source.title else "column probability"
    return write_like(source, data, title=title, provenance=[*source.provenance, entry], lazy_output=lazy)
