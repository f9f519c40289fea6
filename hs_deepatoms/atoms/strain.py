"""Displacement from the ideal site, and local strain and rotation, each with the error that the positions give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OUTLIER, ROUNDS = 6.0, 3  # columns farther off than this many robust scatters do not shape the ideal lattice
AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])  # a column and the eight around it
ROWS = 2**16  # columns whose normal equations are solved together
SINGULAR = 1e-6


@dataclass(frozen=True)
class Ideal:
    """An ideal lattice: site (i, j) of sublattice s lies at ``i a + j b + origin[s]``.

    Attributes
    ----------
    vectors : ndarray, shape (2, 2)
        Rows a and b, each (y, x).
    origins : ndarray, shape (n_basis, 2)
    inverse : ndarray, shape (2, k, k)
        Inverse normal matrices of the y and the x fit over a, b and the origins; zeros for what was not fitted.
    """

    vectors: np.ndarray
    origins: np.ndarray
    inverse: np.ndarray


def fit_ideal(y, x, i, j, basis, *, y_std=None, x_std=None, use=None, vectors=None) -> Ideal:
    """Weighted least-squares lattice through indexed columns of one grain.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions, in one unit.
    i, j, basis : ndarray of int, shape (n,)
        Lattice indices and sublattice.
    y_std, x_std : ndarray, shape (n,), optional
        Uncertainties, same unit; equal weights without.
    use : ndarray of bool, shape (n,), optional
        The reference: columns that are fitted. All by default.
    vectors : ndarray, shape (2, 2), optional
        Given lattice vectors: only the origins are fitted.

    Returns
    -------
    Ideal

    Examples
    --------
    >>> import numpy as np
    >>> i, j = (k.ravel() for k in np.mgrid[:4, :5])
    >>> ideal = fit_ideal(2.0 * i + 1, 3.0 * j, i, j, 0 * i)
    >>> ideal.vectors.round(9).tolist(), (ideal.origins.round(9) + 0.0).tolist()
    ([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0]])
    """
    n_basis = int(basis.max(initial=0)) + 1
    use = np.ones(y.size, bool) if use is None else use
    design = np.concatenate([np.column_stack([i, j]), np.eye(n_basis)[basis]], axis=1).astype(float)
    if vectors is not None:
        fixed = design[:, :2] @ vectors
        design[:, :2] = 0.0
        y, x = y - fixed[:, 0], x - fixed[:, 1]
    solved = [_robust(design, *one, use) for one in ((y, y_std), (x, x_std))]
    found = np.stack([solution for solution, _ in solved], axis=1)
    inverse = np.stack([inverse for _, inverse in solved])
    cell = found[:2] if vectors is None else np.asarray(vectors, float)
    origins = found[2:]
    rest = np.column_stack([y, x]) - design[:, :2] @ found[:2]
    for number in set(range(n_basis)) - set(basis[use].tolist()):  # a sublattice that the reference does not have
        of = basis == number
        origins[number] = np.median(rest[of], axis=0) if of.any() else np.nan
    return Ideal(cell, origins, inverse)


def _robust(design, values, std, use) -> tuple[np.ndarray, np.ndarray]:
    weight = np.where(use, _weights(std, values.size), 0.0)
    for _ in range(ROUNDS):
        normal = design.T @ (weight[:, None] * design)
        inverse = np.linalg.pinv(normal, rcond=1e-13, hermitian=True)
        solution = inverse @ (design.T @ (weight * values))
        rest = np.abs(values - design @ solution)
        limit = OUTLIER * 1.4826 * np.median(rest[use]) if use.any() else 0.0
        weight = np.where(rest > max(limit, 1e-12), 0.0, weight) if limit else weight
    return solution, inverse


def _weights(std, n: int) -> np.ndarray:
    """Inverse variances; the typical one where a column has none."""
    if std is None:
        return np.ones(n)
    good = np.isfinite(std) & (std > 0)
    typical = np.median(std[good]) if good.any() else 1.0
    return 1 / np.where(good, std, typical) ** 2


def displacement(ideal: Ideal, y, x, i, j, basis, *, y_std=None, x_std=None, use=None):
    """How far columns are from their ideal sites.

    Parameters
    ----------
    ideal : Ideal
    y, x, i, j, basis, y_std, x_std, use
        As in :func:`fit_ideal`; ``use`` says which columns the lattice was fitted to.

    Returns
    -------
    dy, dx : ndarray, shape (n,)
        In the unit of the positions.
    dy_std, dx_std : ndarray, shape (n,)
        From the errors of the column and of the fitted lattice, and what they share; NaN without uncertainties.
    """
    use = np.ones(y.size, bool) if use is None else use
    site = np.column_stack([i, j]) @ ideal.vectors + ideal.origins[basis]
    design = np.concatenate([np.column_stack([i, j]), np.eye(len(ideal.origins))[basis]], axis=1)
    made = []
    for inverse, std in zip(ideal.inverse, (y_std, x_std), strict=True):
        if std is None:
            made.append(np.full(y.size, np.nan))
            continue
        lattice = np.einsum("nk,kl,nl->n", design, inverse, design)
        # a column that was fitted drew the lattice towards itself
        made.append(np.sqrt(np.maximum(std**2 + np.where(use, -lattice, lattice), 0.0)))
    return y - site[:, 0], x - site[:, 1], *made


def fit_covariance(ideal: Ideal, y, x, i, j, basis, *, y_std=None, x_std=None, use=None) -> np.ndarray:
    """Covariance (4, 4) of the fitted (a_y, b_y, a_x, b_x); from the scatter where there are no uncertainties.

    Parameters as in :func:`displacement`; zeros where the vectors were given.
    """
    use = np.ones(y.size, bool) if use is None else use
    dy, dx, _, _ = displacement(ideal, y, x, i, j, basis)
    made = np.zeros((4, 4))
    freedom = max(use.sum() - 2 - len(ideal.origins), 1)
    for k, (rest, std) in enumerate(((dy, y_std), (dx, x_std))):
        factor = 1.0 if std is not None else (rest[use] ** 2).sum() / freedom
        made[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = ideal.inverse[k, :2, :2] * factor
    return made


@dataclass(frozen=True)
class Local:
    """Local lattice vectors of n columns.

    Attributes
    ----------
    vectors : ndarray, shape (n, 2, 2)
        Rows a and b, each (y, x); NaN where too few neighbours are there.
    covariance : ndarray, shape (n, 4, 4)
        Of (a_y, b_y, a_x, b_x).
    misfit : ndarray, shape (2,)
        Scatter around the local fits along y and x, over what the uncertainties say; without uncertainties the scatter
        itself, in the unit of the positions, which then stands for them in ``covariance``.
    """

    vectors: np.ndarray
    covariance: np.ndarray
    misfit: np.ndarray


def local_vectors(y, x, i, j, group, *, y_std=None, x_std=None, yx_corr=None) -> Local:
    """Lattice vectors around each column: least squares through it and its up to eight neighbours of the same kind.

    Parameters
    ----------
    y, x : ndarray, shape (n,)
        Positions, in one unit.
    i, j, group : ndarray of int, shape (n,)
        Lattice indices; only columns of the same group (grain and sublattice) are neighbours.
    y_std, x_std, yx_corr : ndarray, shape (n,), optional
        Uncertainties and their correlation. The errors of neighbouring columns are taken as independent.

    Returns
    -------
    Local

    Notes
    -----
    After Galindo et al., "The Peak Pairs algorithm for strain mapping from HRTEM images", Ultramicroscopy 107, 1186
    (2007), doi:10.1016/j.ultramic.2007.01.019, with least squares over all neighbours in place of pairs.
    """
    n = y.size
    vectors, covariance = np.full((n, 2, 2), np.nan), np.full((n, 4, 4), np.nan)
    squares, freedom = np.zeros(2), np.zeros(2)
    around = _around(np.asarray(group), np.asarray(i), np.asarray(j))
    variances = [1 / _weights(std, n) for std in (y_std, x_std)]
    shared = np.zeros(n) if yx_corr is None else np.nan_to_num(yx_corr) * np.sqrt(variances[0] * variances[1])
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        there = around[rows]
        good = _enough(there)
        if not good.any():
            continue
        there, rows = there[good], np.arange(n)[rows][good]
        maps = [_estimator(there, one) for one in variances]
        for axis, (values, one) in enumerate(zip((y, x), variances, strict=True)):
            here = np.where(there >= 0, values[there] - values[rows][:, None], 0.0)
            found = np.einsum("npk,nk->np", maps[axis], here)
            vectors[rows, :, axis] = found[:, 1:]
            rest = np.where(there >= 0, here - found[:, :1] - found[:, 1:] @ AROUND.T, 0.0)
            squares[axis] += (rest**2 / one[there]).sum()
            freedom[axis] += ((there >= 0).sum(1) - 3).sum()
        covariance[rows] = _covariance(maps, [one[there] for one in variances], shared[there])
    scatter = np.sqrt(squares / np.maximum(freedom, 1))
    factor = np.repeat([1.0 if std is not None else s for std, s in zip((y_std, x_std), scatter, strict=True)], 2)
    return Local(vectors, covariance * np.multiply.outer(factor, factor), scatter)


def _around(group, i, j) -> np.ndarray:
    """Rows (n, 9) of the columns at AROUND; -1 where there is none."""
    if not len(i):
        return np.empty((0, len(AROUND)), np.int64)
    i, j = i - i.min() + 1, j - j.min() + 1
    width, height = int(j.max()) + 2, int(i.max()) + 2
    key = (group.astype(np.int64) * height + i) * width + j
    order = np.argsort(key, kind="stable")
    wanted = key[:, None] + AROUND @ [width, 1]
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    return np.where(key[order][place] == wanted, order[place], -1)


def _enough(there) -> np.ndarray:
    """Whether neighbours lie in two directions."""
    known = (there >= 0).astype(float)
    design = np.column_stack([np.ones(len(AROUND)), AROUND])
    return np.linalg.det(np.einsum("nk,kp,kq->npq", known, design, design)) > 0.5  # whole numbers


def _estimator(there, variance) -> np.ndarray:
    """What takes the positions around (k) to place, a and b (p); shape (n, 3, k)."""
    design = np.column_stack([np.ones(len(AROUND)), AROUND])
    weight = np.where(there >= 0, variance.mean() / variance[there], 0.0)
    normal = np.einsum("nk,kp,kq->npq", weight, design, design)
    return np.linalg.solve(normal, weight[:, None, :] * design.T)


def _covariance(maps, variances, shared) -> np.ndarray:
    y, x = (m[:, 1:] for m in maps)
    made = np.empty((len(y), 4, 4))
    made[:, :2, :2] = np.einsum("npk,nk,nqk->npq", y, variances[0], y)
    made[:, 2:, 2:] = np.einsum("npk,nk,nqk->npq", x, variances[1], x)
    made[:, :2, 2:] = np.einsum("npk,nk,nqk->npq", y, shared, x)
    made[:, 2:, :2] = np.swapaxes(made[:, :2, 2:], 1, 2)
    return made


NAMES = ("yy", "xx", "xy", "rotation")


def strain(vectors, covariance, reference) -> tuple[np.ndarray, np.ndarray]:
    """Strain and rotation that take the reference lattice to the local one.

    Parameters
    ----------
    vectors : ndarray, shape (n, 2, 2)
        Local lattice vectors, rows a and b, each (y, x).
    covariance : ndarray, shape (n, 4, 4)
        Of (a_y, b_y, a_x, b_x).
    reference : ndarray, shape (2, 2) or (n, 2, 2)
        Reference lattice vectors, same order and unit.

    Returns
    -------
    values : ndarray, shape (n, 4)
        e_yy, e_xx, e_xy along the image's axes, and the rotation in radians, from +x towards +y.
    std : ndarray, shape (n, 4)
        Their standard errors; that of the reference is not in them.

    Notes
    -----
    The gradient F = V R is split into a rotation and a symmetric stretch V (polar decomposition; Gurtin, An
    Introduction to Continuum Mechanics (1981), section I.2), and the strain is V - 1: a rotation by 1 degree, which the
    linear formula reads as 1.5e-4 of compression, is no strain. Errors are linear in the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[[0.0, 1.01], [1.0, 0.0]]])
    >>> strain(a, np.zeros((1, 4, 4)), np.array([[0.0, 1.0], [1.0, 0.0]]))[0].round(6).tolist()
    [[0.0, 0.01, 0.0, 0.0]]
    """
    inverse = np.linalg.inv(reference)
    gradient = np.swapaxes(inverse @ vectors, -1, -2)  # F[row, column], rows and columns (y, x)
    angle = np.arctan2(gradient[:, 0, 1] - gradient[:, 1, 0], gradient[:, 0, 0] + gradient[:, 1, 1])
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], -2)
    stretch = gradient @ np.swapaxes(turn, -1, -2)
    values = np.stack([stretch[:, 0, 0] - 1, stretch[:, 1, 1] - 1, stretch[:, 0, 1], angle], axis=1)
    jacobian = _jacobian(np.broadcast_to(inverse, vectors.shape), turn, stretch)
    variance = np.einsum("npk,nkl,npl->np", jacobian, covariance, jacobian)
    return values, np.sqrt(np.maximum(variance, 0.0))


def _jacobian(inverse, turn, stretch) -> np.ndarray:
    """Derivatives (n, 4, 4) of e_yy, e_xx, e_xy and the rotation by a_y, b_y, a_x, b_x."""
    # d(F R^T)[r, s] by the local vector k along axis r; only row r of it moves
    row = np.einsum("nck,nsc->nsk", inverse, turn)
    trace = stretch[:, 0, 0] + stretch[:, 1, 1]
    made = np.zeros((len(row), 4, 4))
    spin = np.zeros((len(row), 4))  # d(F R^T)[y, x] - d(F R^T)[x, y]
    spin[:, :2], spin[:, 2:] = row[:, 1], -row[:, 0]
    made[:, 3] = spin / trace[:, None]
    # the stretch stays symmetric: what the rotation takes is not in it
    xy, yy, xx = stretch[:, 0, 1, None], stretch[:, 0, 0, None], stretch[:, 1, 1, None]
    made[:, 0, :2], made[:, 1, 2:] = row[:, 0], row[:, 1]
    made[:, 0] += xy * made[:, 3]
    made[:, 1] -= xy * made[:, 3]
    made[:, 2, :2], made[:, 2, 2:] = row[:, 1] / 2, row[:, 0] / 2
    made[:, 2] += (xx - yy) / 2 * made[:, 3]
    return made
