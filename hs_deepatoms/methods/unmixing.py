"""`decompose_local` of a spectrum image without windows: each spectrum by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, InvalidImageError, explain
from hs_deepatoms._core.numbers import check_count, is_number
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.bridge.axes import Axis
from hs_deepatoms.bridge.signal_dims import signal_dims_of
from hs_deepatoms.bridge.source import Source, is_dask, read_source
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.search import many
from hs_deepatoms.spectra.unmix import METHODS, MIXTURES, Wish, unmix

if TYPE_CHECKING:
    import xarray as xr

DEFAULT = "nfindr"
SAME = 1e-3  # of a channel


@dataclass(frozen=True)
class Options:
    """What `decompose_local` knows for spectra only."""

    endmembers: Any = None
    poisson: bool | None = None
    sum_to_one: bool = False
    smoothness: float = 0.0
    spikes: bool = True
    navigation_mask: Any = None
    signal_mask: Any = None
    num_workers: int | None = None

    def refuse(self) -> None:
        """Refuse those that are not as they are by default: for patches.

        Raises
        ------
        InvalidArgumentError
        """
        plain = {"sum_to_one": False, "smoothness": 0.0, "spikes": True}
        given = [name for name, value in vars(self).items()
                 if (value != plain[name] if name in plain else value is not None)]  # fmt: skip
        if given:
            got = f"{', '.join(given)} for patches"
            raise InvalidArgumentError(explain(got, "these for spectra without a window", "Leave them out."))


def refuse_patch_options(given: dict, edge: str) -> None:
    """Refuse what says how patches are cut, for spectra that are taken one by one.

    Raises
    ------
    InvalidArgumentError
    """
    names = [name for name, value in given.items() if value is not None] + (["edge"] if edge != "drop" else [])
    if names:
        got = f"{', '.join(names)} for spectra without a window"
        todo = "Leave them out, or give window=(h, w) for windows of all energies."
        raise InvalidArgumentError(explain(got, "each spectrum by itself", todo))


def is_spectra(signal: Any, signal_dims: Any) -> bool:
    """Whether the signal, as it is or by ``signal_dims``, has one signal dimension."""
    import xarray as xr

    if signal_dims is not None:
        return isinstance(signal_dims, str | int) or len(signal_dims) == 1
    if hasattr(signal, "axes_manager"):
        return signal.axes_manager.signal_dimension == 1
    if isinstance(signal, xr.DataArray):
        dims = signal_dims_of(signal)
        return dims is not None and len(dims) == 1
    return False


def decompose_spectra(signal: Any, method: Any, n_components: int | None, options: Options, *, signal_dims: Any,
                      seed: Any, show_progressbar: bool | None) -> xr.DataTree:  # fmt: skip
    """The tree of a spectrum image. See `hs_deepatoms.decompose_local`."""
    from hs_deepatoms.methods.unmixing_tree import build_unmixing_tree

    method = method if method is not None else DEFAULT
    _check_options(options)
    wish = Wish(method, n_components, options.poisson, bool(options.sum_to_one), float(options.smoothness),
                bool(options.spikes), seed)  # fmt: skip
    _check(wish, options)
    source = read_spectra(signal, signal_dims)
    cube = cube_of(source, options.navigation_mask, options.signal_mask, show_progressbar, options.num_workers)
    known = None if options.endmembers is None else read_endmembers(options.endmembers, source.signal[0])
    found = unmix(cube, wish, known)
    if doubt := many(found.repairs, len(found.places), int(found.channels.sum())):
        warn_user(doubt)
    lost = int(cube.used.sum()) - len(found.places)
    if lost:
        message = f"{lost} of {int(cube.used.sum())} spectra have NaN and get no abundances"
        warn_user(message)
    return build_unmixing_tree(source, found, wish, {"spectra_with_nan": lost, "known": known is not None})


def read_spectra(signal: Any, signal_dims: Any) -> Source:
    """Spectra of real numbers on any scan.

    Raises
    ------
    InvalidImageError
        No real numbers, or none at all.
    """
    source = read_source(signal, signal_dims=signal_dims, n_signal=1, operation="decompose_local")
    if source.data.dtype.kind not in "buif" or 0 in source.data.shape:
        got = f"data of shape {tuple(source.data.shape)} and {source.data.dtype} for decompose_local"
        raise InvalidImageError(explain(got, "spectra of real numbers, not empty", "Convert the data."))
    return source


def cube_of(
    source: Source,
    navigation_mask: Any,
    signal_mask: Any,
    show_progressbar: bool | None,
    num_workers: int | None = None,
) -> Cube:
    """The spectra without what is masked (True), as HyperSpy's masks are.

    Raises
    ------
    InvalidArgumentError
        A mask of another shape, or one that leaves nothing.
    """
    data = source.data
    if is_dask(data) and len(data.chunks[-1]) > 1:
        data = data.rechunk({data.ndim - 1: -1})
    used = ~_mask(navigation_mask, data.shape[:-1], "navigation_mask").ravel()
    channels = ~_mask(signal_mask, data.shape[-1:], "signal_mask")
    return Cube(data, used, channels, show_progressbar=show_progressbar, num_workers=num_workers)


def check_energy(own: Axis, energy: Axis, what: str) -> None:
    """Refuse spectra on another energy axis.

    Raises
    ------
    InvalidArgumentError
    """
    same = own.size == energy.size and np.abs(own.coordinates() - energy.coordinates()).max() <= SAME * energy.step
    if not same:
        span = [f"{one.size} channels from {one.coordinates()[0]:g} to {one.coordinates()[-1]:g} {one.units}"
                for one in (own, energy)]  # fmt: skip
        raise InvalidArgumentError(explain(f"{what} of {span[0]}", span[1], "Interpolate them on that axis."))


def read_endmembers(endmembers: Any, energy: Axis) -> np.ndarray:
    """Known spectra (k, energies) on the energy axis of the cube.

    Raises
    ------
    InvalidArgumentError
        Another energy axis, another number of energies, negative or infinite numbers, spectra that are multiples.
    """
    if isinstance(endmembers, list | tuple):
        return _checked(np.concatenate([_one_set(one, energy) for one in endmembers]))
    return _checked(_one_set(endmembers, energy))


def _one_set(spectra: Any, energy: Axis) -> np.ndarray:
    if isinstance(spectra, np.ndarray) or not (hasattr(spectra, "axes_manager") or hasattr(spectra, "dims")):
        values = np.atleast_2d(np.asarray(spectra, float))
    else:
        source = read_source(spectra, n_signal=1, operation="endmembers")
        check_energy(source.signal[0], energy, "endmembers")
        values = np.asarray(source.data, float).reshape(-1, source.data.shape[-1])
    if values.ndim != 2 or values.shape[1] != energy.size:
        got = f"endmembers of shape {values.shape}"
        raise InvalidArgumentError(explain(got, f"(number, {energy.size} energies)", "Use the axis of the spectra."))
    return values


def _checked(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all() or (values < 0).any() or not (values.sum(1) > 0).all():
        got = "endmembers with negative or infinite numbers, or nothing but zeros"
        raise InvalidArgumentError(explain(got, "spectra that are not negative", "Check them."))
    if np.linalg.matrix_rank(values, tol=1e-6 * np.linalg.norm(values)) < len(values):
        got = f"{len(values)} endmembers of which one is a mixture of the others"
        raise InvalidArgumentError(explain(got, "spectra that differ in shape", "Leave one out."))
    return values


def _mask(mask: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    if mask is None:
        return np.zeros(shape, bool)
    values = np.asarray(mask.data if hasattr(mask, "axes_manager") else mask)
    if values.dtype != bool or values.shape != tuple(shape):
        got = f"{name} of shape {values.shape} and {values.dtype}"
        raise InvalidArgumentError(
            explain(got, f"bool of shape {tuple(shape)}, True where masked", "Give such a mask.")
        )
    if values.all():
        raise InvalidArgumentError(explain(f"{name} that masks everything", "something left", "Invert it."))
    return values


def _check_options(options: Options) -> None:
    if not is_number(options.smoothness) or not 0 <= options.smoothness < np.inf:
        got = f"smoothness={options.smoothness!r}"
        raise InvalidArgumentError(explain(got, "0 (none) or more", "Give another number."))
    for name in ("sum_to_one", "spikes"):
        value = getattr(options, name)
        if not isinstance(value, bool | np.bool_):
            raise InvalidArgumentError(explain(f"{name}={value!r}", "True or False", "Choose one of these."))
    check_count("num_workers", options.num_workers)


def _check(wish: Wish, options: Options) -> None:
    from hs_deepatoms.decompose.fit import check_method

    if wish.method not in METHODS if isinstance(wish.method, str) else True:
        if isinstance(wish.method, str):
            allowed = f"{', '.join(map(repr, METHODS))}, or a scikit-learn estimator"
            raise InvalidArgumentError(explain(f"method={wish.method!r}", allowed, "Choose one of these."))
        check_method(wish.method, wish.n_components)
    elif wish.method in (*MIXTURES, "svd"):
        check_method("nmf", wish.n_components)
    else:
        check_method(wish.method, wish.n_components)
    if wish.poisson not in (None, True, False):
        raise InvalidArgumentError(explain(f"poisson={wish.poisson!r}", "True, False or None", "Choose one of these."))
    mixture = options.endmembers is not None or (isinstance(wish.method, str) and wish.method in MIXTURES)
    if (wish.sum_to_one or wish.smoothness) and not mixture:
        got = f"sum_to_one or smoothness for method={wish.method!r}"
        raise InvalidArgumentError(explain(got, f"methods with abundances: {', '.join(MIXTURES)}", "Leave it out."))
