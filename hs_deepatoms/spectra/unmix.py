"""A spectrum image taken apart by the method a user names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.seeds import generator
from hs_deepatoms.decompose.fit import METHODS as SAMPLE_METHODS
from hs_deepatoms.decompose.result import Decomposition
from hs_deepatoms.spectra.abundances import constrained, poisson_abundances, standard_errors
from hs_deepatoms.spectra.cube import Cube
from hs_deepatoms.spectra.endmembers import corner_spectra
from hs_deepatoms.spectra.factors import fit_factors
from hs_deepatoms.spectra.noise import Noise
from hs_deepatoms.spectra.projections import project
from hs_deepatoms.spectra.reduce import Reduced, Survey, joined, look_over, reduce_cube, without_spikes

CORNERS = ("nfindr", "vca")
MIXTURES = ("nmf", *CORNERS, "bayes")
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
        In the flattened scan.
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
        Fewer spectra than components, spectra that are all not finite, and what the methods raise.
    """
    survey = look_over(cube, wish.poisson, wish.spikes)
    if endmembers is not None:
        return _with_known(survey, endmembers[:, survey.cube.channels], wish)
    cube, reduced = reduce_cube(survey)
    if len(reduced.places) < 2:
        got = f"{len(reduced.places)} spectrum without NaN to decompose"
        raise InvalidArgumentError(explain(got, "at least 2", "Give more spectra, or the spectra of its components."))
    if wish.method not in MIXTURES:
        return _projected(cube, reduced, wish)
    k, reason = number_of(reduced, wish.n_components)
    rng = generator(wish.seed)
    corners = wish.method if wish.method in CORNERS else "nfindr"
    spectra, error = corner_spectra(reduced, k, corners, rng, sum_to_one=wish.sum_to_one)
    notes = {"n_components_reason": reason, "corner_errors": np.where(np.isfinite(error), error, -1).tolist()}
    if wish.method == "nmf":
        spectra, notes["rounds"] = fit_factors(reduced, spectra)
    order = np.argsort(-(reduced.points @ (reduced.up @ (spectra / reduced.level).T)).sum(0))
    found = abundances_of(cube, reduced.noise, spectra[order], reduced.places, wish)
    return replace(found, values=reduced.values, notes={**notes, **found.notes})


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


def abundances_of(cube: Cube, noise: Noise, spectra: np.ndarray, places: np.ndarray, wish: Wish) -> Unmixed:
    """One pass: abundances of known spectra (k, channels) in all pixels, with errors and misfit."""
    m, k = len(places), len(spectra)
    scores, std, misfit = np.empty((m, k)), np.empty((m, k)), np.empty(m)
    mean, start = np.zeros(cube.n_channels), 0
    for _, rows in cube.blocks("unmixing"):
        here = slice(start, start + len(rows))
        scores[here], information, misfit[here] = _solve(rows, spectra, noise, wish.sum_to_one)
        std[here] = standard_errors(information, noise.factor, wish.sum_to_one)
        mean += rows.sum(0, dtype=float)
        start = here.stop
    return Unmixed(places, scores, spectra, "endmember", mean / max(1, m), cube.channels, noise, std, misfit,
                   arrays={"spectra": spectra})  # fmt: skip


def _solve(rows: np.ndarray, spectra: np.ndarray, noise: Noise, sum_to_one: bool):
    """Abundances (m, k), Fisher information but for the noise's factor, and misfit (m,)."""
    if noise.poisson:
        scores, information = poisson_abundances(rows, spectra, sum_to_one=sum_to_one)
    else:
        gram = spectra @ spectra.T
        information = np.broadcast_to(gram, (len(rows), *gram.shape))
        scores = constrained(information, rows @ spectra.T, sum_to_one)
    model = scores @ spectra
    left = (rows - model) ** 2
    if noise.poisson:
        left /= np.maximum(model, 1e-3 * max(float(spectra.mean()), 1e-300))
    return scores, information, left.sum(1) / (noise.factor * max(1, rows.shape[1] - spectra.shape[0]))


def unmix_known(cube: Cube, spectra: np.ndarray, noise: Noise, wish: Wish) -> Unmixed:
    """Abundances of spectra (k, channels used) whose noise is known, of a cube that was not seen before."""
    survey = look_over(cube, noise.poisson, wish.spikes)
    return _with_known(replace(survey, noise=noise), spectra, wish)


def _with_known(survey: Survey, spectra: np.ndarray, wish: Wish) -> Unmixed:
    """Abundances of spectra that are known; one pass before for spikes."""
    parts, places = [], []
    for index, rows in survey.cube.blocks("surveying"):
        parts.append(without_spikes(survey, index, rows)[1])
        places.append(index)
    cube = replace(survey.cube, repair=joined(parts).repair)
    found = abundances_of(cube, survey.noise, spectra, np.concatenate(places), wish)
    return replace(found, notes={"n_components_reason": "that of the known spectra"})
