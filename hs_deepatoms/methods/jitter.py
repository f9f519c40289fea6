"""``scan_jitter`` and ``with_jitter`` of a table: the error of positions that counts alone do not explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import TableError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.plane import read_plane
from hs_deepatoms.methods.scan_lines import jitter_columns, jitter_of_lines
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.movies import Movie, read_movie

if TYPE_CHECKING:
    import xarray as xr

ERRORS = ("y_std", "x_std")


def scan_jitter(ds: xr.Dataset, signal: Any = None, *, axis: str | int | None = None) -> xr.Dataset:
    """Error of the positions beyond their stated one: of frames of the same area, or of the scan lines of an image.

    From the table alone, which then needs two or more frames: the same atom is found at different places in successive
    frames. What neither drift, nor a smooth distortion, nor the stated errors ``y_std``, ``x_std`` explain of that is
    jitter: of the scan lines, or of the atoms themselves, as far as most of them take part in it. A few atoms that move
    do not count. See `hs_deepatoms.atoms.jitter.scan_jitter`.

    With the image, one frame is enough for ``x``, the fast axis: lines that sit beside their place show in the shape of
    all their columns. What moves whole columns together is not seen. See `hs_deepatoms.atoms.scan_lines.line_jitter`.

    Parameters
    ----------
    ds
        Positions table of a stack: repeated scans of one area, two or more frames. With ``signal``: any, with the
        fitted columns of `find_atoms`.
    signal
        The image or stack in which the atoms were found: HyperSpy signal, DataArray or array.
    axis
        Without ``signal``: navigation axis of the repeats. None: the last one. Along the others, each series is
        measured for itself.

    Returns
    -------
    xarray.Dataset
        Over the navigation dims but ``axis``: ``y`` (the slow axis) and ``x`` (the fast one), the one-sigma jitter of
        one position in one frame, 0 where the stated errors explain all; ``y_std``, ``x_std``, one sigma of the jitter
        (upwards, where it is not well above 0); ``y_scale``, ``x_scale``, the share of the stated errors that frames
        show which plainly agree better than these say, beside plain jitter along the other axis (a misfit, which the
        fit adds to the errors along both), else 1; ``n_pairs``, how many pairs of positions were used. NaN with fewer
        than 20. With ``signal``: ``x`` and ``x_std`` over all navigation dims, and ``line_x``, the one-sigma jitter of
        a scan line. NaN with fewer than 60 columns.

    Raises
    ------
    TableError
        If the table has one frame only, no stated errors, or y and x cannot be compared. With ``signal``: if it is of
        another size than that of the table, or the table has no fitted columns.
    InvalidArgumentError
        If there is no such axis.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np, xarray as xr
    >>> y, x = (np.tile(g.ravel(), 2) for g in np.mgrid[5:400:10.0, 5:400:10.0])
    >>> x += 0.05 * np.random.default_rng(0).standard_normal(x.size)
    >>> frames = xr.DataArray(np.zeros((2, 400, 400)), dims=("time", "y", "x"))
    >>> columns = {"y_std": np.full(y.size, 0.01), "x_std": np.full(y.size, 0.03)}
    >>> frame = np.repeat([0, 1], y.size // 2)
    >>> atoms = hs_deepatoms.positions(y, x, signal=frames, frame=frame, columns=columns)
    >>> jitter = atoms.deepatoms.scan_jitter()
    >>> jitter.y.item(), jitter.x.round(2).item()
    (0.0, 0.04)
    """
    ds = schema.dropna(ds)
    if signal is not None:
        return _result(ds, *jitter_of_lines(ds, signal), {"signal": True})
    movie = read_movie(ds, axis)
    found = _measured(ds, movie)
    grid, units = movie.grid, schema.axis_units(ds)
    dims = [i for i in range(len(grid.columns)) if i != movie.axis]
    columns, shape = [grid.columns[i] for i in dims], [grid.sizes[i] for i in dims]
    made = {}
    for k, (name, factor) in enumerate(zip(schema.COORDINATES, movie.factors, strict=True)):
        variance, error = np.array([(one[k], one[k + 2]) for one in found]).T
        made |= jitter_columns(name, variance, error, abs(factor), units[name], columns, shape)
        share = np.sqrt([getattr(one, f"{name}_share") for one in found]).reshape(shape)
        made[f"{name}_scale"] = (columns, share, {"units": "1", "long_name": f"share of the stated error along {name}"})
    counts = np.reshape([one.n_pairs for one in found], shape)
    made["n_pairs"] = (columns, counts, {"units": "1", "long_name": "pairs of positions"})
    coordinates = {grid.columns[i]: (grid.columns[i], grid.values[i], {"units": grid.units[i]}) for i in dims}
    return _result(ds, made, coordinates, {"axis": axis})


def with_jitter(ds: xr.Dataset, jitter: xr.Dataset | None = None, *, axis: str | int | None = None) -> xr.Dataset:
    """The table with stated errors that include the scan jitter.

    Parameters
    ----------
    ds
        Positions table with ``y_std``, ``x_std``.
    jitter
        What `scan_jitter` returned, also for other images recorded with the same settings; of these, ``y_scale`` and
        ``x_scale`` are left aside: how much too large errors are stated depends on the counts. An axis that is not in
        it keeps its errors. None: measured on this table, which then needs two or more frames.
    axis
        Navigation axis of the repeats. None: the last one.

    Returns
    -------
    xarray.Dataset
        ``y_std``, ``x_std`` with the jitter added in quadrature, or times the share of them that there is, and
        ``yx_corr`` that leaves the covariance as it was: jitter along y and along x are independent. All else as it
        was.

    Raises
    ------
    TableError
        If there are no stated errors; if they include jitter already; if the jitter was not measured (too few pairs),
        or is not of this table's navigation axes.
    InvalidArgumentError
        If there is no such axis, or the units of the jitter do not fit.

    Examples
    --------
    >>> import hs_deepatoms, xarray as xr
    >>> atoms = hs_deepatoms.positions([9.0], [9.0], columns={"y_std": [0.04], "x_std": [0.03]})
    >>> jitter = xr.Dataset({"y": 0.0, "x": 0.04}).assign(y=lambda ds: ds.x * 0)
    >>> atoms.deepatoms.with_jitter(jitter).x_std.round(6).item()
    0.05
    """
    entries = schema.read_json(schema.check_table(ds).attrs, "provenance", [])
    if any(entry.get("operation") == "with_jitter" for entry in entries):
        raise TableError(explain("errors that include jitter", "errors as they were found", "Start from that table."))
    _check_errors(ds)
    given = jitter is not None
    jitter = jitter if given else scan_jitter(ds, axis=axis)
    names = [name for name in schema.COORDINATES if name in jitter]
    if not names:
        raise TableError(explain("jitter without y and x", "what scan_jitter() returned", "Give that."))
    own = not given or _of_one_table(ds, jitter)
    scales = [f"{name}_scale" for name in names if own and f"{name}_scale" in jitter]
    made, ratio = {}, 1.0
    for name in names:
        column = ds[f"{name}_std"].variable
        share = _share(ds, jitter[f"{name}_scale"], axis) if f"{name}_scale" in scales else 1.0
        old = np.asarray(column.values, float) * share
        new = np.hypot(old, _per_atom(ds, jitter, name, axis))
        ratio = ratio * np.divide(old, new, out=np.ones_like(new), where=new > 0)
        made[f"{name}_std"] = column.copy(data=new.astype(column.dtype))
    if "yx_corr" in ds:
        column = ds["yx_corr"].variable
        made["yx_corr"] = column.copy(data=(column.values * ratio).astype(column.dtype))
    used = {name: np.asarray(jitter[name].values, float).tolist() for name in (*names, *scales)}
    units = {name: str(jitter[name].attrs.get("units") or schema.axis_units(ds)[name]) for name in names}
    return with_entry(ds.assign(made), "with_jitter", {"axis": axis, "given": given, "jitter": used, "units": units})


def _measured(ds: xr.Dataset, movie: Movie) -> list:
    from hs_deepatoms.atoms.jitter import scan_jitter as kernel

    _check_errors(ds)
    if movie.n_frames < 2:
        todo = "Give the image: atoms.deepatoms.scan_jitter(image), and what it returns to with_jitter()."
        raise TableError(explain("positions of one frame", "two or more frames of the same area", todo))
    plane = read_plane(ds, "scan_jitter")
    if plane.y_std is None:
        raise TableError(explain("no stated error that is finite", "positions with errors", "See find_atoms(refine=)."))
    found = []
    for rows in movie.rows_of_groups():
        atoms = (movie.time[rows], movie.y[rows], movie.x[rows], plane.y_std[rows], plane.x_std[rows])
        found.append(kernel(*atoms, n_frames=movie.n_frames, extent=movie.extent))
    if all(np.isnan(one.y) for one in found):
        text = "The scan jitter is not known: fewer than 20 atoms were found again in the next frame."
        warn_user(text)
    return found


def _check_errors(ds: xr.Dataset) -> None:
    missing = [name for name in ERRORS if name not in ds or ds[name].dims != (schema.DIM,)]
    if missing:
        todo = "find_atoms() gives them; other finders: positions(..., columns={'y_std': ..., 'x_std': ...})."
        raise TableError(explain(f"a table without {missing}", "stated errors y_std, x_std", todo))


def _per_atom(ds: xr.Dataset, jitter: xr.Dataset, name: str, axis) -> np.ndarray:
    """The jitter of every atom's series in the units of the table: (n_atoms,), or () if there is only one."""
    from hs_deepatoms.bridge.lengths import unit_factor

    units = schema.axis_units(ds)[name]
    theirs = str(jitter[name].attrs.get("units") or units)
    values = np.asarray(jitter[name].values, float) * (1.0 if theirs == units else unit_factor(theirs, units))
    values = _of_atoms(ds, values, jitter[name].dims, axis)
    if not np.isfinite(values).all() or (values < 0).any():
        todo = "Use more or larger frames of the same area, or the mean over frames."
        raise TableError(explain(f"jitter along {name} that was not measured", "finite values from 0 up", todo))
    return values


def _of_one_table(ds: xr.Dataset, jitter: xr.Dataset) -> bool:
    """Whether the table that jitter was measured on became this one, or came from it."""
    *theirs, last = schema.read_json(jitter.attrs, "provenance", []) or [{}]
    ours = schema.read_json(ds.attrs, "provenance", [])
    shared = min(len(theirs), len(ours))
    return bool(shared) and last.get("operation") == "scan_jitter" and theirs[:shared] == ours[:shared]


def _share(ds: xr.Dataset, scale: xr.DataArray, axis) -> np.ndarray:
    """The share of the stated errors of every atom's series that there is; 1 where nobody says so."""
    return _of_atoms(ds, np.nan_to_num(np.asarray(scale.values, float), nan=1.0), scale.dims, axis)


def _of_atoms(ds: xr.Dataset, values: np.ndarray, dims: tuple, axis) -> np.ndarray:
    if values.ndim == 0:
        return values
    movie = read_movie(ds, axis)
    grid = movie.grid
    others = tuple(i for i in range(len(grid.columns)) if i != movie.axis)
    if dims == grid.columns and values.shape == grid.sizes:
        return values.ravel()[frame_of(ds, grid)]
    if dims == tuple(grid.columns[i] for i in others) and values.shape == tuple(grid.sizes[i] for i in others):
        return values.ravel()[movie.group]
    todo = "Give the jitter of one series, or measure it on this table."
    allowed = f"() or over the navigation axes {list(grid.columns)}"
    raise TableError(explain(f"jitter over {list(dims)} of shape {values.shape}", allowed, todo))


def _result(ds: xr.Dataset, variables: dict, coordinates: dict, parameters: dict) -> xr.Dataset:
    import xarray as xr

    attrs = {name: ds.attrs[name] for name in ("metadata", "provenance") if name in ds.attrs}
    return with_entry(xr.Dataset(variables, coordinates, attrs), "scan_jitter", parameters)
