"""What a trained segmenter does with a signal: maps, atoms, objects."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.choices import check_choice, yes_or_no
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_count
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.provenance import provenance_entry
from hs_deepatoms.bridge.results import write_like
from hs_deepatoms.methods import images
from hs_deepatoms.modelfile.registry import CUSTOM

if TYPE_CHECKING:
    import xarray as xr

REFINEMENTS = ("quick", "full", "none")
UNTRAINED = "This network was not trained: what it finds comes from its random initial weights. fit() it first."


class ObjectMethods:
    """The methods of a segmenter that take a signal."""

    def predict(
        self,
        signal: Any,
        *,
        match_pixel_size: bool = True,
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
        """Probability of every class at every pixel.

        Parameters
        ----------
        signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
            Images, shape (..., ny, nx), of any size; a lazy signal is walked block by block.
        match_pixel_size : bool
            Look at the image at the pixel size of the training images, where both are calibrated.
        signal_mask, navigation_mask, signal_dims, device, batch_size, num_workers, navigation_chunks, lazy_output, \
show_progressbar
            As in :func:`~hs_deepatoms.segment`.

        Returns
        -------
        Signal2D or DataArray, float32
            On the axes of the input, with the axis ``class`` in front where there are several classes.

        Raises
        ------
        InvalidImageError, InvalidAxesError, InvalidArgumentError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        from hs_deepatoms.atoms.pixelmaps import maps_block
        from hs_deepatoms.engine.mapping import map_blocks, map_to_array
        from hs_deepatoms.workflows.mapping import map_job, planned

        _check_counts(batch_size, num_workers, navigation_chunks)
        source = images.read_images(signal, signal_dims=signal_dims, operation="predict")
        job = map_job(self, source, device=device, match_pixel_size=match_pixel_size, signal_mask=signal_mask,
                      navigation_mask=navigation_mask)  # fmt: skip
        seen = self._examined(source, job)
        blocks, job = planned(source, job, batch_size=batch_size, frames_per_block=navigation_chunks)
        lazy = yes_or_no("lazy_output", lazy_output, source.lazy)
        n = len(self.classes)
        if lazy:
            data = map_to_array(source.data, blocks, maps_block, arguments=(job,), leading=(n,), dtype=np.float32)
        else:
            parts = map_blocks(source.data, blocks, maps_block, arguments=(job,), num_workers=num_workers,
                               show_progressbar=show_progressbar, description="segment")  # fmt: skip
            data = np.stack([images.assemble([p[k] for p in parts], blocks, source.data.shape) for k in range(n)])
        entry = self._entry("segment", {"match_pixel_size": match_pixel_size, "zoom": job.view.zoom, **seen}, job)
        title = f"class probability of {source.title}" if source.title else "class probability"
        return write_like(source, data[0] if n == 1 else data, title=title, provenance=[*source.provenance, entry],
                          leading=() if n == 1 else (("class", list(self.classes)),), lazy_output=lazy)  # fmt: skip

    def find_atoms(
        self,
        signal: Any,
        *,
        threshold: float | str = "auto",
        radius: float | None = None,
        refine: str = "quick",
        contrast: str = "auto",
        match_pixel_size: bool = True,
        signal_mask: Any = None,
        navigation_mask: Any = None,
        signal_dims: tuple[str, str] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        num_workers: int | None = None,
        navigation_chunks: int | None = None,
        show_progressbar: bool | None = None,
    ) -> xr.Dataset:
        """Positions of the atoms in the maps, one class a species; also ``signal.find_atoms(model=segmenter)``.

        Parameters
        ----------
        signal, match_pixel_size
            As in :meth:`predict`.
        threshold : float or "auto"
            Smallest probability of an atom's middle; 0.5 by default.
        radius : float, optional
            Of an atom's spot in the maps, pixels; by default measured in them. The width of the columns for the fit
            is measured in the image.
        refine : {"quick", "full", "none"}
            As in :func:`~hs_deepatoms.find_atoms`; "none" are centres of mass of the maps.
        contrast : {"auto", "bright", "dark"}
            Of the atoms in the image, for the fit.
        signal_mask, navigation_mask, signal_dims, device, batch_size, num_workers, navigation_chunks, show_progressbar
            As in :func:`~hs_deepatoms.find_atoms`.

        Returns
        -------
        xarray.Dataset
            Positions table with ``probability``, and ``species`` where there are several classes.

        Raises
        ------
        InvalidImageError, InvalidAxesError, InvalidArgumentError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        from hs_deepatoms.workflows import locating
        from hs_deepatoms.workflows.mapping import map_job

        check_choice("refine", refine, REFINEMENTS)
        check_choice("contrast", contrast, images.CONTRASTS)
        _check_counts(batch_size, num_workers, navigation_chunks)
        limit = images.read_threshold(threshold, 0.5)
        source = images.read_images(signal, signal_dims=signal_dims, operation="find_atoms")
        job = map_job(self, source, device=device, match_pixel_size=match_pixel_size, signal_mask=signal_mask,
                      navigation_mask=navigation_mask, each=True)  # fmt: skip
        seen = self._examined(source, job)
        radius = locating.measured_radius(source, job, limit) if radius is None else _positive("radius", radius)
        how = {"num_workers": num_workers, "show_progressbar": show_progressbar}
        plan = {"batch_size": batch_size, "frames_per_block": navigation_chunks}
        points = locating.located(source, job, limit, radius, how, **plan)
        measured: dict[str, Any] = {}
        if refine != "none":
            points, measured = locating.refined(source, points, job, radius=radius, threshold=limit, refine=refine,
                                                contrast=contrast, how=how, **plan)  # fmt: skip
        asked = {"threshold_used": limit, "radius_px": radius, "refine": refine, "contrast": contrast, **measured,
                 **seen}  # fmt: skip
        return self._table(source, points, self._entry("find_atoms", asked, job))

    def instances(
        self,
        signal: Any,
        *,
        threshold: float = 0.5,
        smallest: float = 16,
        depth: float | None = 0.5,
        match_pixel_size: bool = True,
        signal_mask: Any = None,
        navigation_mask: Any = None,
        signal_dims: tuple[str, str] | None = None,
        device: str = "auto",
        show_progressbar: bool | None = None,
    ) -> tuple[Any, xr.Dataset]:
        """Objects of any shape: every pixel's object, and a table of their geometry.

        Parameters
        ----------
        signal, match_pixel_size, signal_mask, navigation_mask, signal_dims, device, show_progressbar
            As in :meth:`predict`. The result must fit into memory.
        threshold : float
            Smallest probability of an object's pixels.
        smallest : float
            Objects of fewer pixels are left out.
        depth : float or None
            Objects that touch are parted at necks deeper than this, pixels, or where the map suspects a gap; None
            leaves them joined.

        Returns
        -------
        labels : Signal2D or DataArray, int32
            0 for none; with the axis ``class`` in front where there are several classes.
        objects : xarray.Dataset
            Table (dim ``atom``: one row per object) of centroids, areas, diameters, axes, rotation, ... in the axes'
            units; ``object`` is the number in ``labels``.

        Raises
        ------
        InvalidImageError, InvalidAxesError, InvalidArgumentError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        from functools import partial

        from hs_deepatoms.atoms.instances import label_objects, measure_objects

        asked = {"threshold": threshold, "smallest": smallest, "depth": depth}
        seen = {"match_pixel_size": match_pixel_size, "signal_mask": signal_mask, "navigation_mask": navigation_mask,
                "signal_dims": signal_dims, "device": device, "show_progressbar": show_progressbar}  # fmt: skip
        return self._objects(signal, "instances", asked, partial(label_objects, **asked), measure_objects, seen)

    def lines(
        self,
        signal: Any,
        *,
        threshold: float = 0.5,
        shortest: float = 8,
        match_pixel_size: bool = True,
        signal_mask: Any = None,
        navigation_mask: Any = None,
        signal_dims: tuple[str, str] | None = None,
        device: str = "auto",
        show_progressbar: bool | None = None,
    ) -> tuple[Any, xr.Dataset]:
        """Walls, steps, fibres: lines one pixel wide along the middle of what was found, and a table of them.

        Parameters
        ----------
        signal, match_pixel_size, signal_mask, navigation_mask, signal_dims, device, show_progressbar
            As in :meth:`predict`. The result must fit into memory.
        threshold : float
            Smallest probability of a line's pixels, before it is thinned.
        shortest : float
            Lines of fewer pixels are left out.

        Returns
        -------
        lines : Signal2D or DataArray, int32
            Number of the line at every pixel, 0 for none; with the axis ``class`` in front where there are several
            classes.
        table : xarray.Dataset
            Table (dim ``atom``: one row per line) of ``length``, ``rotation``, ``ends`` (0: closed), mean position and
            intensity; ``object`` is the number in ``lines``.

        Raises
        ------
        InvalidImageError, InvalidAxesError, InvalidArgumentError, DeviceError
            As in :func:`~hs_deepatoms.find_atoms`.
        """
        from functools import partial

        from hs_deepatoms.atoms.lines import label_lines, measure_lines

        asked = {"threshold": threshold, "shortest": shortest}
        seen = {"match_pixel_size": match_pixel_size, "signal_mask": signal_mask, "navigation_mask": navigation_mask,
                "signal_dims": signal_dims, "device": device, "show_progressbar": show_progressbar}  # fmt: skip
        return self._objects(signal, "lines", asked, partial(label_lines, **asked), measure_lines, seen)

    def _objects(self, signal, operation: str, asked: dict, find, measure, seen: dict) -> tuple[Any, xr.Dataset]:
        """Label images and table of whatever is found in the maps; ``seen`` are options of `predict`."""
        from hs_deepatoms.workflows.objects import measured, write_labels

        _check_sizes(**asked)
        source = images.read_images(signal, signal_dims=seen["signal_dims"], operation=operation)
        maps = self.predict(signal, lazy_output=False, **seen)
        entry = provenance_entry(operation, asked, model=self._named())
        labels, table = measured(source, np.asarray(maps.data), self.classes, entry, find=find, measure=measure)
        what = "objects" if operation == "instances" else operation
        return write_labels(source, labels, self.classes, entry, what), table

    def _examined(self, source, job) -> dict[str, Any]:
        """What is to be said about the images before they are looked at, for the provenance; nothing here."""
        if not self.training and self.architecture != CUSTOM:  # a module of the user's own may have been trained before
            warn_user(UNTRAINED)
        return {}

    def _named(self, sha256: str | None = None) -> dict[str, Any]:
        return {"name": self.card.get("name", self.architecture), "sha256": sha256 or "not saved"}

    def _entry(self, operation: str, parameters: dict, job) -> dict:
        return provenance_entry(operation, {"classes": list(self.classes), **parameters},
                                model=self._named(job.net.sha256), device=job.view.device)  # fmt: skip

    def _table(self, source, points, entry: dict) -> xr.Dataset:
        from hs_deepatoms.atoms.block import QUALITY
        from hs_deepatoms.tables.build import build_table

        columns = {"y_std_px": points.y_std, "x_std_px": points.x_std,
                   "probability": points.probability.astype(np.float32)}  # fmt: skip
        fitted = dict(points.fitted)
        kind = fitted.pop("kind", np.zeros(len(points.y), int))
        names = {"quality": QUALITY} if "quality" in fitted else {}
        if len(self.classes) > 1:
            columns["species"] = kind.astype(np.int64)
            names["species"] = dict(enumerate(self.classes))
        return build_table(points.y, points.x, frame=points.frame, columns={**columns, **fitted},
                           navigation=source.navigation, signal=source.signal, metadata=source.metadata,
                           provenance=[*source.provenance, entry], names=names)  # fmt: skip


def _check_counts(batch_size, num_workers, navigation_chunks) -> None:
    check_count("batch_size", batch_size)
    check_count("num_workers", num_workers)
    check_count("navigation_chunks", navigation_chunks)


def _check_sizes(threshold: float, depth: float | None = None, **smallest: float) -> None:
    if not isinstance(threshold, Real) or not 0 < threshold < 1:
        got = f"threshold={threshold!r}"
        raise InvalidArgumentError(explain(got, "a probability between 0 and 1", "Try 0.5."))
    if depth is not None:
        _positive("depth", depth)
    for name, value in smallest.items():
        if not isinstance(value, Real) or not value >= 0:
            raise InvalidArgumentError(explain(f"{name}={value!r}", "pixels, 0 or more", "0 keeps everything."))


def _positive(name: str, value: float) -> float:
    if not isinstance(value, Real) or not value > 0:
        raise InvalidArgumentError(explain(f"{name}={value!r}", "pixels, above 0", "Leave it out to have it measured."))
    return float(value)
