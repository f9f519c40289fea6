"""``table.deepatoms.classify``: which species every atom of a table is, its names, and the sublattices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.choices import check_choice
from hs_deepatoms._core.errors import InvalidArgumentError, TableError, explain
from hs_deepatoms._core.numbers import is_whole
from hs_deepatoms.tables import schema
from hs_deepatoms.tables.categories import category_names, flag_attributes
from hs_deepatoms.tables.frames import frame_of
from hs_deepatoms.tables.history import with_entry
from hs_deepatoms.tables.missing import UNKNOWN, UNKNOWN_NAME

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.atoms.species import Classes

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STRENGTHS = ("intensity", "height", "matched", "contrast")  # columns that `context` was made for
METHODS = ("mixture", "kmeans", "meanshift", "threshold")
FITTED = 0  # the quality of an atom whose fit can be trusted
PROBABILITY = {"long_name": "probability that the atom is of its species", "units": "1"}


def classify(
    ds: xr.Dataset,
    n: int | str | Sequence[str] = "auto",
    *,
    method: str = "mixture",
    by: str = "intensity",
    local: bool | str = "auto",
    context: bool | str = "auto",
    signal: Any = None,
    seed: int = 0,
) -> xr.Dataset:
    """The table with the species of every atom, told apart by how strong the columns are.

    Parameters
    ----------
    ds
        Positions table.
    n : int, "auto" or sequence of str
        Number of species, or their names, strongest first. ``"auto"``: as many as the strengths show.
    method : {"mixture", "kmeans", "meanshift", "threshold"}
        Mixture of Gaussians; k-means; mean shift (finds its own number); Otsu's thresholds.
    by : str
        Column that tells them apart: ``"intensity"`` (volume of the fitted peak), ``"height"``, any other column of
        numbers; or ``"contrast"``: the intensity over that halfway between the strong and the faint ones of the twelve
        nearest atoms; or ``"matched"``: height times width, as a filter as wide as the columns would see them, which
        has about half the variance of both where all columns are about as wide: for low doses. Dark columns have
        negative values; the strongest is the darkest.
    local : bool or "auto"
        Take a smooth trend (thickness) off, shared by all species; never; or where that makes the classes clearly
        narrower.
    context : bool or "auto"
        Settle the strengths with those of the columns around (of 30 or more), by a small network that ships with the
        package, before they are classified; never; or where the strengths alone leave doubts and the places of the
        columns say something about them (and the method is ``"mixture"``, by a strength of the columns).
    signal
        The image, for tables without fitted peaks (``refine="none"``, positions from elsewhere): the intensity is then
        the mean around each position, over that of the surroundings.
    seed : int

    Returns
    -------
    xarray.Dataset
        A new table with ``species`` (integer classes, 0 is the strongest; their names are those given or ``A``,
        ``B``, ...; -1, ``unknown``, without a value) and ``species_probability``.

    Raises
    ------
    InvalidArgumentError
        If an argument is outside what is allowed.
    TableError
        If the table has no such column.

    Notes
    -----
    See `hs_deepatoms.atoms.species.classify` for the methods and their sources, `hs_deepatoms.atoms.settle` for the
    context. The same classes and the same trend hold for all frames of a stack. Atoms whose fit did not converge are
    classified, but nothing is learned from them.

    Examples
    --------
    >>> import hs_deepatoms, numpy as np
    >>> strength = np.tile([100.0, 40.0], 30) + np.arange(60) % 7
    >>> atoms = hs_deepatoms.positions(np.arange(60.0), np.arange(60.0) % 8, columns={"intensity": strength})
    >>> atoms.deepatoms.classify(["Sr", "Ti"]).deepatoms.select(species="Ti").sizes["atom"]
    30
    """
    from hs_deepatoms.atoms.settle import classify_settled, head_named

    number, names = _read_n(n)
    _check(method, local, context, n)
    ds = schema.dropna(ds)
    y, x = np.asarray(ds["y"].values, float), np.asarray(ds["x"].values, float)
    options = {"method": method, "local": local, "trusted": _trusted(ds), "seed": seed}
    settle = context if not isinstance(context, str) or (method == "mixture" and by in STRENGTHS) else False
    strength = _strength(ds, by, signal)
    found, together = classify_settled(y, x, strength, frame_of(ds), context=settle, n=number, **options)
    asked = number if names is None else names
    parameters = {"n": asked, "method": method, "by": by, "local": local, "context": context}
    decided = {"n_found": found.number, "trend_degree": found.degree, "seed": seed}
    decided["model"] = head_named() if together else None
    return with_entry(_with_classes(ds, found, names), "classify", parameters | decided)


def rename_species(ds: xr.Dataset, names: Mapping[int | str, str]) -> xr.Dataset:
    """The table with other names for its species, by their number or present name.

    Raises
    ------
    TableError
        If there is no such species, or two would have one name.
    """
    column = schema.check_column(ds, "species")
    if not isinstance(names, Mapping) or not all(isinstance(name, str) and name for name in names.values()):
        raise InvalidArgumentError(explain(f"names={names!r}", "a dictionary, name or number: new name", "For example "
                                           "rename_species({'A': 'Sr'})."))  # fmt: skip
    known = _names_of(column)
    numbers = {name: value for value, name in known.items()}
    wanted = {numbers.get(one, one): str(name) for one, name in names.items()}
    unknown = [one for one in wanted if one not in known]
    if unknown:
        raise TableError(explain(f"species {unknown}", f"one of {list(numbers)} or a number", "Choose one of these."))
    renamed = known | wanted
    if len(set(renamed.values())) < len(renamed):
        raise TableError(explain(f"names {list(renamed.values())}", "a name of its own for each", "Choose others."))
    flags = flag_attributes(renamed)
    made = ds.assign(species=(schema.DIM, column.values, {**column.attrs, **flags}))
    return with_entry(made, "rename_species", {"names": {str(one): name for one, name in names.items()}})


def sublattices(ds: xr.Dataset) -> dict[str, xr.Dataset]:
    """Name of every species -> the table of its atoms, strongest first; species without atoms are left out.

    Raises
    ------
    TableError
        If the atoms have no species yet.
    """
    from hs_deepatoms.tables.select import select

    ds = schema.dropna(ds)
    column = schema.check_column(ds, "species")
    there = set(np.unique(column.values).tolist())
    return {name: select(ds, species=int(value)) for value, name in _names_of(column).items() if value in there}


def _names_of(column: xr.DataArray) -> dict[int, str]:
    names = category_names(column.attrs)
    values = np.asarray(column.values)
    unnamed = sorted(set(np.unique(values[np.isfinite(values)]).astype(int).tolist()) - set(names))
    return names | {value: f"species {value}" for value in unnamed}


def check_species(species: Any) -> None:
    """Refuse what `classify` could not read, before anything is computed."""
    if species is not None:
        _read_n(species, "species")


def _read_n(n: Any, argument: str = "n") -> tuple[int | str, list[str] | None]:
    if isinstance(n, str) and n == "auto":
        return n, None
    if is_whole(n, 1, len(LETTERS)):
        return int(n), None
    if not isinstance(n, str | int) and isinstance(n, Sequence) and n and all(isinstance(one, str) for one in n):
        if len(set(n)) == len(n) and UNKNOWN_NAME not in n and all(one.strip() for one in n):
            return len(n), list(n)
    allowed = f"'auto', 1 to {len(LETTERS)}, or a list of different names, strongest first"
    raise InvalidArgumentError(explain(f"{argument}={n!r}", allowed, f"For example {argument}=['Sr', 'Ti']."))


def _check(method: Any, local: Any, context: Any, n: Any) -> None:
    check_choice("method", method, METHODS, "Leave it out for 'mixture'.")
    for name, value in {"local": local, "context": context}.items():
        if not isinstance(value, bool | np.bool_) and not (isinstance(value, str) and value == "auto"):
            todo = "Leave it out for 'auto'."
            raise InvalidArgumentError(explain(f"{name}={value!r}", "True, False or 'auto'", todo))
    if method == "meanshift" and not isinstance(n, str):
        todo = "Leave n out, or take method='mixture'."
        raise InvalidArgumentError(explain(f"n={n!r} with method='meanshift'", "n='auto': it finds the number", todo))


def _strength(ds: xr.Dataset, by: str, signal: Any) -> np.ndarray:
    if by == "contrast":
        from hs_deepatoms.atoms.species import contrast_to_neighbours

        y, x = (np.asarray(ds[name].values, float) for name in schema.COORDINATES)
        return contrast_to_neighbours(y, x, _strength(ds, "intensity", signal), frame_of(ds))
    if by in ds.variables and ds[by].dims == (schema.DIM,) and ds[by].dtype.kind in "fiu":
        return np.asarray(ds[by].values, float)
    if by == "matched" and {"height", "width_y", "width_x"} <= set(ds.variables):
        return np.asarray(ds["height"].values * np.sqrt(ds["width_y"].values * ds["width_x"].values), float)
    if signal is not None and by in ("intensity", "height", "matched"):
        return _measured(ds, signal)
    numbers = [name for name in schema.per_atom(ds) if ds[name].dtype.kind in "fiu" and name not in ("y", "x")]
    todo = "Find the atoms with refine='quick' or 'full', or give their image as signal=."
    raise TableError(
        explain(f"by={by!r}, a column that is not there", f"'contrast', 'matched' or one of {numbers}", todo)
    )


def _measured(ds: xr.Dataset, signal: Any) -> np.ndarray:
    """Strength at the positions (n_atoms,) from the frames of the image, which are read one by one."""
    from hs_deepatoms.atoms.strength import strength_at
    from hs_deepatoms.bridge.source import Source, read_source
    from hs_deepatoms.methods.images import frame_of as one_frame

    source = signal if isinstance(signal, Source) else read_source(signal, n_signal=2, operation="classify")
    y, x = (np.asarray(axis.to_index(ds[n].values)) for n, axis in zip("yx", source.signal[-2:], strict=True))
    frame = frame_of(ds)
    n_frames = int(np.prod(source.data.shape[:-2], dtype=int))
    if frame.size and frame.max() >= n_frames:
        found = f"atoms of frame {frame.max()} with a signal of {n_frames} frames"
        raise TableError(explain(found, "the signal the atoms were found in", "Give that one."))
    strength = np.full(y.size, np.nan)
    for number in np.unique(frame):
        here = frame == number
        strength[here] = strength_at(np.asarray(one_frame(source, int(number))), y[here], x[here])
    return strength


def _trusted(ds: xr.Dataset) -> np.ndarray | None:
    return np.asarray(ds["quality"].values) == FITTED if "quality" in ds.variables else None


def _with_classes(ds: xr.Dataset, found: Classes, names: list[str] | None) -> xr.Dataset:
    named = dict(enumerate(names or LETTERS[: found.number]))
    if (found.label == UNKNOWN).any():
        named[UNKNOWN] = UNKNOWN_NAME
    attributes = {**schema.column_attributes("species", {}), **flag_attributes(named)}
    return ds.assign(
        species=(schema.DIM, found.label.astype(np.int64), attributes),
        species_probability=(schema.DIM, found.of_own.astype(np.float32), PROBABILITY),
    )
