"""Abundances that are like those of the neighbours, as far as the noise lets them."""

from __future__ import annotations

import numpy as np

from hs_deepatoms.spectra.abundances import constrained

SWEEPS = 60
SETTLED = 0.02  # standard errors
FLOOR = 0.01  # of the noise's variance: what true differences are at least
BINS = 200  # of the spectrum
RANGE, STARTS = 100.0, 25  # how far the best precision may lie from the first, as a factor, and where it is begun


def smooth_abundances(scores: np.ndarray, information: np.ndarray, target: np.ndarray, places: np.ndarray,
                      scan: tuple[int, ...], strength: float, *, sum_to_one: bool = False) -> np.ndarray:  # fmt: skip
    """Maximum a posteriori abundances (m, k) with a Gaussian Markov random field as prior.

    Squared differences to the next pixels along each axis of the scan are added to the misfit, times a precision for
    each component that the cube says itself (see Notes). Even and odd pixels take turns.

    Parameters
    ----------
    scores : numpy.ndarray, shape (m, k)
        Where to begin.
    information, target : numpy.ndarray, shapes (m, k, k), (m, k)
        The noise's factor included; as for `sample_abundances`.
    places : numpy.ndarray, int, shape (m,)
        In the flattened scan.
    scan : tuple of int
    strength : float
        1: as the cube itself says; more: smoother, as a factor on the precision.
    sum_to_one : bool

    Notes
    -----
    The prior of a component is an intrinsic Gaussian Markov random field (Rue & Held, Gaussian Markov Random Fields,
    2005, chapter 3) of precision t: ``p(a) ~ exp(-t / 2 * sum over edges (a_i - a_j)^2)``, with an edge between next
    pixels. With the Fisher information F_i of the noise, minus twice the logarithm of the posterior is

        sum_i (a_i - own_i)' F_i (a_i - own_i) + sum over edges (a_i - a_j)' diag(t) (a_i - a_j),

    so that pixel i alone has the matrix ``F_i + (number of neighbours) * diag(t)``.

    *A first t.* The precision matrix is t L, L the Laplacian of the lattice, and the variance of a difference along an
    edge is ``R / t``, with R the resistance between its ends if edges are resistors of 1 ohm. The resistances of all
    edges of a connected graph add up to its number of pixels less one (Foster's theorem, 1949). So of m pixels and E
    edges the mean variance V of differences is ``(m - 1) / (E t)``, that is 1 / t on a line and 1 / (2 t) on a plane.
    What differences of abundances show is V and the noise of both: ``mean (own_i - own_j)^2 = V + mean (n_i + n_j)``.

    *The best t.* Fields that differ between neighbours need not be such: with sharp borders, or no order at all, t from
    differences smooths too much, and of slow gradients V is lost in the noise. So the t of all components are moved to
    where the expected squared error is least, by Stein's unbiased estimate of it (Ann. Stat. 9, 1135 (1981)). With the
    mean covariance N of the noise for all pixels the estimate is diagonal in the cosines that are eigenvectors of L: a
    wave of eigenvalue l is multiplied by ``H = (1 / N + l diag(t))^-1 / N``, and the error is the sum over waves of
    ``|(1 - H) own|^2 + 2 tr(H N)``, less a constant. That abundances are not negative is left out of it.
    """
    k = scores.shape[1]
    weight = np.diag(strength * _precision(information, target, places, scan, sum_to_one))
    known = np.zeros(int(np.prod(scan, dtype=int)), bool)
    known[places] = True
    grid = np.zeros((known.size, k))
    grid[places] = scores
    degree = _around(known.astype(float)[:, None], scan)[places, 0]
    matrix = information + degree[:, None, None] * weight
    odd = np.add.reduce(np.indices(scan), 0).ravel()[places] % 2 == 1
    tolerance = SETTLED / np.sqrt(np.maximum(np.diag(information.mean(0)), 1e-300))
    for _ in range(SWEEPS):
        before = grid[places]
        for half in (odd, ~odd):
            here = places[half]
            pull = _around(grid * known[:, None], scan)[here] @ weight
            if here.size:
                grid[here] = constrained(matrix[half], target[half] + pull, sum_to_one)
        if (np.abs(grid[places] - before).max(0) <= tolerance).all():
            break
    return grid[places]


def _precision(information, target, places: np.ndarray, scan: tuple[int, ...], sum_to_one: bool) -> np.ndarray:
    """Precision (k,) of the field along each edge, at which the expected error is least."""
    own, noise = _one_by_one(information, target, sum_to_one)
    first = _from_differences(own, np.einsum("mkk->mk", noise), places, scan)
    return _least_error(first, own - own.mean(0), noise.mean(0), places, scan, sum_to_one)


def _one_by_one(information, target, sum_to_one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Abundances (m, k), negative ones too, and their covariance (m, k, k)."""
    noise = np.linalg.inv(information)
    own = np.einsum("mij,mj->mi", noise, target)
    if sum_to_one:
        along = noise.sum(2)
        gain = along / along.sum(1, keepdims=True)
        own = own + gain * (1 - own.sum(1, keepdims=True))
        noise = noise - along[:, :, None] * gain[:, None]
    return own, noise


def _from_differences(own, noise, places: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """Precision (k,) by the variance of neighbours' differences beyond noise (m, k)."""
    grid = np.full((int(np.prod(scan, dtype=int)), 2, own.shape[1]), np.nan)
    grid[places] = np.stack([own, noise], 1)
    grid, excess = grid.reshape(*scan, 2, -1), []
    for axis in range(len(scan)):
        one, two = np.moveaxis(grid, axis, 0)[1:], np.moveaxis(grid, axis, 0)[:-1]
        step = (one - two)[..., 0, :] ** 2 - (one + two)[..., 1, :]
        excess.append(step[np.isfinite(step).all(-1)])
    excess = np.concatenate(excess)
    level = np.maximum(noise.mean(0), 1e-300)
    if not len(excess):
        return 1 / level
    return (len(places) - 1) / len(excess) / np.maximum(excess.mean(0), FLOOR * level)


def _least_error(first, own, noise, places: np.ndarray, scan: tuple[int, ...], sum_to_one: bool) -> np.ndarray:
    """Precision (k,) of the least unbiased estimate of the error, from a first one; ``noise`` (k, k) is the mean."""
    from scipy.linalg import null_space
    from scipy.optimize import minimize

    k = len(first)
    axes = null_space(np.ones((1, k))) if sum_to_one else np.eye(k)
    if not axes.size or len(places) < 2:
        return first
    waves = _spectrum(own @ axes, places, scan)
    known = axes.T @ noise @ axes

    def error(change: np.ndarray) -> float:
        return _expected_error(axes.T * (first * np.exp(change)) @ axes, known, *waves)

    most = np.log(RANGE)
    starts = [np.full(k, one) for one in np.linspace(-most, most, STARTS)]
    found = minimize(error, min(starts, key=error), method="L-BFGS-B", bounds=[(-most, most)] * k)
    return first * np.exp(found.x)


def _expected_error(weight, noise, bend, power, count) -> float:
    """Stein's estimate, in variances of the noise (r, r), but for a constant; by the spectrum."""
    information = np.linalg.inv(noise)
    after = np.linalg.inv(information + bend[:, None, None] * weight)
    lost = np.eye(len(noise)) - after @ information
    bias = np.einsum("bij,bjk,bik->bi", lost, power, lost)
    spread = 2 * count[:, None] * np.einsum("bii->bi", after)
    return float(((bias + spread) / np.diag(noise)).sum() / count.sum())


def _spectrum(own: np.ndarray, places: np.ndarray, scan: tuple[int, ...]):
    """Eigenvalues (b,) of the lattice, sums of squares (b, r, r) of abundances (m, r) there, and how many.

    Cosines are the eigenvectors of a lattice with free rims; places without a spectrum are at the mean. The few
    slowest waves stand alone, of faster ones several are one.
    """
    from scipy.fft import dctn

    grid = np.zeros((int(np.prod(scan, dtype=int)), own.shape[1]))
    grid[places] = own
    waves = dctn(grid.reshape(*scan, -1), axes=range(len(scan)), norm="ortho").reshape(grid.shape)
    along = np.meshgrid(*(2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in scan), indexing="ij")
    bend = np.sum(along, 0).ravel()
    order = np.argsort(bend, kind="stable")[1:]
    parts = np.split(order, np.unique(np.geomspace(1, len(order), BINS).astype(int))[:-1])
    power = np.array([waves[one].T @ waves[one] for one in parts])
    count = np.array([len(one) for one in parts])
    return np.array([bend[one].mean() for one in parts]), power, count * (len(places) / len(grid))


def _around(values: np.ndarray, scan: tuple[int, ...]) -> np.ndarray:
    """Sums (n, k) over the next pixels along each axis of values (n, k)."""
    grid = values.reshape(*scan, -1)
    out = np.zeros_like(grid)
    for axis in range(len(scan)):
        one, two = [slice(None)] * grid.ndim, [slice(None)] * grid.ndim
        one[axis], two[axis] = slice(1, None), slice(None, -1)
        out[tuple(one)] += grid[tuple(two)]
        out[tuple(two)] += grid[tuple(one)]
    return out.reshape(values.shape)
