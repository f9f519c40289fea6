"""A spectrum image taken apart by the method a user names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.seeds import generator
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.decompose.fit import METHODS as SAMPLE_METHODS
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.spectra.abundances import constrained, poisson_abundances, standard_errors
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.endmembers import corner_spectra
from hs_deepatoms.spectra.factors import fit_factors
from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.posterior import sample_abundances
from hs_deepatoms.spectra.projections import project
from hs_deepatoms.spectra.reduce import Reduced, Survey, find_repairs, look_over, reduce_cube
from hs_deepatoms.spectra.smoothing import smooth_abundances
from hs_deepatoms.spectra.spikes import Repairs

CORNERS = ("nfindr", "vca")
MIXTURES = ("nmf", *CORNERS, "bayes")
SURE = 4.0  # standard deviations
BALANCED = 0.25  # of the sizes of all sums is left of their sum: a mean was taken away
SOME_BELOW = 0.02  # of the spectra are negative: that is worth a warning
METHODS = (*MIXTURES, "svd", *(one for one in SAMPLE_METHODS if one not in MIXTURES))


@dataclass(frozen=True)
class Wish:
    """What the user asks for; the names are those of `decompose_local`."""

    method: Any = "nfindr"
    n_components: int | None = None
    poisson: bool | None = None
    sum_to_one: bool = False
    smoothness: float = 0.0
    spikes: bool = True
    seed: Any = 0


@dataclass(frozen=True, eq=False)
class Unmixed:
    """A decomposition of the m spectra that are finite and not masked.

    Attributes
    ----------
    places : numpy.ndarray, int, shape (m,)
        In the flattened scan, rising.
    scores : numpy.ndarray, shape (m, k)
    components : numpy.ndarray, shape (k, channels)
    meaning : {"endmember", "component", "class", "covariance"}
    mean : numpy.ndarray, shape (channels,)
    channels : numpy.ndarray, bool, shape (energies,)
        Which were used.
    noise : Noise
    std : numpy.ndarray, shape (m, k), or None
        Standard errors of the scores.
    misfit : numpy.ndarray, shape (m,), or None
        Chi squared per degree of freedom.
    classes : numpy.ndarray, int, shape (m,), or None
    decomposition : Decomposition or None
        Of the projections, for classes and embeddings.
    values : numpy.ndarray or None
        Eigenvalues of the second moments.
    origin : numpy.ndarray, shape (channels,), or None
        What was taken away from the spectra before.
    repairs : Repairs or None
        What was taken for spikes.
    arrays : dict
        What new spectra are encoded with.
    notes : dict
        What was decided and why; JSON-able.
    """

    places: np.ndarray
    scores: np.ndarray
    components: np.ndarray
    meaning: str
    mean: np.ndarray
    channels: np.ndarray
    noise: Noise
    std: np.ndarray | None = None
    misfit: np.ndarray | None = None
    classes: np.ndarray | None = None
    decomposition: Decomposition | None = None
    values: np.ndarray | None = None
    origin: np.ndarray | None = None
    repairs: Repairs | None = None
    arrays: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def unmix(cube: Cube, wish: Wish, endmembers: np.ndarray | None = None) -> Unmixed:
    """Decompose a cube.

    Parameters
    ----------
    cube : Cube
    wish : Wish
    endmembers : numpy.ndarray, shape (k, energies), optional
        Known spectra; then only their abundances are found.

    Raises
    ------
    InvalidArgumentError
        Fewer spectra than components, spectra that are all not finite or whose mean is not above zero, and what the
        methods raise.
    """
    survey = look_over(cube, wish.poisson, wish.spikes)
    if endmembers is not None:
        return _with_known(survey, endmembers[:, survey.cube.channels], wish)
    cube, reduced, spikes = reduce_cube(survey)
    if len(reduced.places) < 2:
        got = f"{len(reduced.places)} spectrum without NaN to decompose"
        raise InvalidArgumentError(explain(got, "at least 2", "Give more spectra, or the spectra of its components."))
    if wish.method not in MIXTURES:
        found = _projected(cube, reduced, wish)
        return replace(found, repairs=spikes, notes={**found.notes, "spikes": len(spikes.places)})
    _check_above_zero(reduced, wish.method)
    k, reason = number_of(reduced, wish.n_components)
    rng = generator(wish.seed)
    corners = wish.method if wish.method in CORNERS else "nfindr"
    spectra, error = corner_spectra(reduced, k, corners, rng, sum_to_one=wish.sum_to_one)
    notes = {"n_components_reason": reason, "spikes": len(spikes.places)}
    if wish.method == "nmf":
        spectra, notes["rounds"] = fit_factors(reduced, spectra, same_sum=not wish.sum_to_one)
    order = _most_first(spectra, reduced)
    spectra, error = spectra[order], error[order][:, order]
    notes["corner_errors"] = np.where(np.isfinite(error), error, -1).tolist()
    found = abundances_of(cube, reduced.noise, spectra, reduced.places, wish, error)
    return replace(found, values=reduced.values, repairs=spikes, notes={**notes, **found.notes})


def _check_above_zero(reduced: Reduced, method: str) -> None:
    """Refuse spectra that are not above zero: no mixture of spectra of 0 and more is like them. Warn where some are."""
    total = reduced.total
    below = float((total < 0).mean())
    allowed = "spectra of 0 and more, apart from noise"
    balanced = total.sum() <= BALANCED * np.abs(total).sum() and total.mean() <= SURE * total.std() / len(total) ** 0.5
    if below > 0.5 or balanced:
        share = f"{100 * below:.0f} % have a sum below 0"
        got = f"spectra whose mean is not above zero ({share}) for method={method!r}"
        todo = "Undo what made them negative (a subtracted mean or background), or take method='pca' or 'ica'."
        raise InvalidArgumentError(explain(got, allowed, todo))
    noise = np.sqrt(reduced.noise.factor * reduced.level.sum())
    below = float((total < -SURE * noise).mean())
    if below > SOME_BELOW:
        warn_user(f"{100 * below:.0f} % of the spectra have sums below zero by more than their noise, which no mixture "
                  f"of spectra of 0 and more has (method={method!r}): see their misfit, subtract less, or take "
                  "method='pca'")  # fmt: skip


def _most_first(spectra: np.ndarray, reduced: Reduced) -> np.ndarray:
    """Order of components by how much of them is in the mean spectrum."""
    scaled = spectra / reduced.level
    share = constrained((scaled @ spectra.T)[None], (scaled @ reduced.mean)[None])[0]
    return np.argsort(-share, kind="stable")


def _projected(cube: Cube, reduced: Reduced, wish: Wish) -> Unmixed:
    if wish.n_components is not None and wish.method in ("pca", "ica", "svd"):
        number_of(reduced, wish.n_components)
    found = project(reduced, wish.method, wish.n_components, wish.seed)
    classes = None if found.decomposition is None else found.decomposition.classes
    return Unmixed(reduced.places, found.scores, found.components, found.meaning, reduced.mean, cube.channels,
                   reduced.noise, classes=classes, decomposition=found.decomposition, values=reduced.values,
                   origin=found.origin, notes={"n_components_reason": found.reason},
                   arrays={"down": reduced.down, "typical": np.array([reduced.total.mean()]),
                           "shapes": np.array([float(found.meaning in ("class", "covariance"))]),
                           "k": np.array([float(found.scores.shape[1])])})  # fmt: skip


def number_of(reduced: Reduced, asked: int | None) -> tuple[int, str]:
    """How many components, and why.

    Raises
    ------
    InvalidArgumentError
        More than there are spectra or channels, or than are kept.
    """
    if asked is None:
        return reduced.rank
    most = min(reduced.points.shape[1], len(reduced.points))
    if asked > most:
        got = f"n_components={asked} for {len(reduced.points)} spectra of {reduced.level.size} channels"
        raise InvalidArgumentError(explain(got, f"at most {most}", "Give fewer components."))
    return asked, "asked for"


def abundances_of(cube: Cube, noise: Noise, spectra: np.ndarray, places: np.ndarray, wish: Wish,
                  error: np.ndarray | None = None) -> Unmixed:  # fmt: skip
    """One pass: abundances of known spectra (k, channels) in all pixels, with errors and misfit.

    ``error`` (k, k) are the standard errors of the shares of the components in the spectra of one another.
    """
    m, k = len(places), len(spectra)
    scores, std, misfit = np.empty((m, k)), np.empty((m, k)), np.empty(m)
    smooth = bool(wish.smoothness)
    bends, pushes = (np.empty((m if smooth else 0, *shape)) for shape in ((k, k), (k,)))
    sums = {}
    solve = partial(_solve_block, spectra, noise, wish, int(generator(wish.seed).integers(2**62)))
    for found in cube.worked("unmixing", solve):
        here = np.searchsorted(places, found.index)
        scores[here], std[here], misfit[here] = found.scores, found.std, found.misfit
        if smooth:
            bends[here], pushes[here] = found.bend, found.push
        sums[int(found.index[0])] = found.sum
    if smooth:
        scores = smooth_abundances(scores, bends, pushes, places, cube.scan, wish.smoothness,
                                   sum_to_one=wish.sum_to_one)  # fmt: skip
    if error is not None:
        std = _with_errors_of_spectra(std, scores, error)
    mean = np.sum([sums[place] for place in sorted(sums)], axis=0) / m
    return Unmixed(places, scores, spectra, "endmember", mean, cube.channels, noise, std, misfit,
                   arrays={"spectra": spectra})  # fmt: skip


class _Block(NamedTuple):
    """Some pixels: their places, abundances, errors, misfit, the quadratic form of the likelihood, and their sum."""

    index: np.ndarray
    scores: np.ndarray
    std: np.ndarray
    misfit: np.ndarray
    bend: np.ndarray
    push: np.ndarray
    sum: np.ndarray


def _solve_block(
    spectra: np.ndarray, noise: Noise, wish: Wish, base: int, index: np.ndarray, rows: np.ndarray
) -> _Block:
    scores, information, target, misfit = _solve(rows, spectra, noise, wish.sum_to_one)
    known = information / noise.factor, target / noise.factor
    if wish.method == "bayes":
        rng = np.random.default_rng([base, int(index[0])])  # of the place: not of the order of reading
        scores, std = sample_abundances(scores, *known, rng, sum_to_one=wish.sum_to_one)
    else:
        std = standard_errors(information, noise.factor, wish.sum_to_one)
    return _Block(index, scores, std, misfit, *known, rows.sum(0, dtype=float))


def _with_errors_of_spectra(std: np.ndarray, scores: np.ndarray, error: np.ndarray) -> np.ndarray:
    """A share e of component j that is wrong in the spectrum of i takes a_i e from i and gives it to j."""
    variance = np.nan_to_num(error) ** 2
    np.fill_diagonal(variance, 0)
    np.fill_diagonal(variance, variance.sum(1))
    return np.sqrt(std**2 + scores**2 @ variance)


def _solve(rows: np.ndarray, spectra: np.ndarray, noise: Noise, sum_to_one: bool):
    """Abundances (m, k), Fisher information but for the noise's factor, its target, and misfit (m,)."""
    if noise.poisson:
        scores, information, target = poisson_abundances(rows, spectra, sum_to_one=sum_to_one)
    else:
        gram = spectra @ spectra.T
        information, target = np.broadcast_to(gram, (len(rows), *gram.shape)), rows @ spectra.T
        scores = constrained(information, target, sum_to_one)
    model = scores.astype(np.float32) @ spectra.astype(np.float32)
    left = np.square(rows - model)
    if noise.poisson:
        left /= np.maximum(model, np.float32(1e-3 * max(float(spectra.mean()), 1e-30)))
    return (
        scores,
        information,
        target,
        left.sum(1, dtype=float) / (noise.factor * max(1, rows.shape[1] - spectra.shape[0])),
    )


def unmix_known(cube: Cube, spectra: np.ndarray, noise: Noise, wish: Wish) -> Unmixed:
    """Abundances of spectra (k, channels used) whose noise is known, of a cube that was not seen before."""
    survey = look_over(cube, noise.poisson, wish.spikes)
    return _with_known(replace(survey, noise=noise), spectra, wish)


def _with_known(survey: Survey, spectra: np.ndarray, wish: Wish) -> Unmixed:
    """Abundances of spectra that are known; one pass before for spikes."""
    places, repairs = find_repairs(survey)
    cube = replace(survey.cube, repair=repairs.repair)
    found = abundances_of(cube, survey.noise, spectra, places, wish)
    notes = {"n_components_reason": "that of the known spectra", "spikes": len(repairs.places)}
    return replace(found, repairs=repairs, notes=notes)
