"""Parts of a map for training, for looking and for the score, with gaps as wide as the window between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain

GAP, TRAIN, LOOK, TEST = -1, 0, 1, 2
NAMES = {GAP: "gap", TRAIN: "train", LOOK: "validation", TEST: "test"}
SHARE = 0.12  # of the pixels, in each of the parts that are held out
SMALL, LARGE = 8000, 100_000  # spectra: below, five and three folds
ENOUGH = 0.55  # of the pixels, left for training by many blocks, which show more of what differs
WIDE = 2**15  # more small blocks along x than there are


@dataclass(frozen=True, eq=False)
class Split:
    """One way to part a map.

    Attributes
    ----------
    part : numpy.ndarray of int8, shape (ny, nx)
        -1: left out (a gap, or no valid spectrum), 0: training, 1: validation, 2: test.
    block : numpy.ndarray of int, shape (ny, nx)
        Number of the block of each pixel.
    """

    part: np.ndarray
    block: np.ndarray

    def of(self, part: int) -> np.ndarray:
        """Pixels (ny, nx) of a part."""
        return self.part == part


def block_splits(valid: np.ndarray, gap: int, folds: int, seed: int) -> list[Split]:
    """Splits by blocks of neighbours.

    Parameters
    ----------
    valid : numpy.ndarray of bool, shape (ny, nx)
    gap : int
        Pixels: two pixels nearer than this along both axes see overlapping windows.
    folds : int
        1: one split, of blocks apart from each other for validation and for the test. More: every valid pixel is in
        the test of one of so many splits.
    seed : int

    Returns
    -------
    list of Split
        No pixel of a test is nearer than ``gap`` to one of training or validation. With one fold there is a gap around
        the validation, too; with more, which small maps are cut into, only around the test.

    Raises
    ------
    InvalidArgumentError
        If the map is too small for a gap: nothing would be left to train on.
    """
    rng = np.random.default_rng([seed, 11])
    if folds == 1:
        return [_one_split(valid, gap, rng)]
    block = _strips(valid.shape, folds)
    order = [k for k in range(folds) if (valid & (block == k)).any()]
    splits = []
    for k in order:
        test = valid & (block == k)
        far = valid & ~near(test, gap)
        others = [j for j in order if (far & (block == j)).any()]
        if not others:
            raise _too_small(valid.shape, gap)
        # a part of what is left, at its far end, chooses the weights
        part = np.where(valid, GAP, GAP).astype(np.int8)
        part[far] = TRAIN
        part[_end_of(far, block, k)] = LOOK
        part[test] = TEST
        splits.append(Split(part, block))
    return splits


def random_split(valid: np.ndarray, seed: int) -> list[Split]:
    """Pixels drawn at random: their windows overlap, so the score is that of an interpolation."""
    rng = np.random.default_rng([seed, 12])
    draw = rng.random(valid.shape)
    part = np.where(draw < SHARE, TEST, np.where(draw < 2 * SHARE, LOOK, TRAIN)).astype(np.int8)
    part[~valid] = GAP
    return [Split(part, np.arange(valid.size).reshape(valid.shape))]


def given_split(valid: np.ndarray, given: np.ndarray, gap: int, seed: int) -> list[Split]:
    """True in ``given`` is the test; validation is taken from the rest, and a gap left around both."""
    rng = np.random.default_rng([seed, 13])
    test = valid & given
    rest = valid & ~near(test, gap)
    if not test.any() or not rest.any():
        raise _too_small(valid.shape, gap)
    inner = _one_split(rest, gap, rng)
    part = np.where(inner.part == TEST, LOOK, inner.part)
    part[test] = TEST
    return [Split(part.astype(np.int8), inner.block)]


def default_folds(n_valid: int, shape: tuple[int, int], gap: int) -> int:
    """Five splits where a single one would leave too little to train on, three where too little to judge by.

    Errors are alike over long distances: a single split of a map of this size holds out few places that differ.
    """
    if n_valid < SMALL or min(shape) < 6 * gap:
        return 5
    return 3 if n_valid < LARGE else 1


def _one_split(valid: np.ndarray, gap: int, rng: np.random.Generator) -> Split:
    """Blocks for test and validation at the rim and inside, until each has its share: as many as leave enough."""
    best: Split | None = None
    for n in (8, 6, 4, 3, 2):
        block = _boxes(valid.shape, n)
        order = rng.permutation(n * n)
        need = max(1, round(SHARE * n * n))
        test = valid & np.isin(block, order[:need])
        look = valid & np.isin(block, order[need : 2 * need]) & ~near(test, gap)
        train = valid & ~near(test | look, gap)
        part = np.full(valid.shape, GAP, np.int8)
        for value, where in ((TRAIN, train), (LOOK, look), (TEST, test)):
            part[where] = value
        found = Split(part, block)
        if test.any() and look.any() and (best is None or train.sum() > best.of(TRAIN).sum()):
            best = found
        if best is found and train.sum() > (ENOUGH if n > 4 else 0.4) * valid.sum():
            break
    if best is None or not best.of(TRAIN).any():
        raise _too_small(valid.shape, gap)
    return best


def near(held: np.ndarray, gap: int) -> np.ndarray:
    """Pixels (ny, nx) whose windows overlap one of those held out (ny, nx), those themselves included."""
    if gap <= 1:
        return held
    from scipy.ndimage import maximum_filter

    return maximum_filter(held, 2 * gap - 1, mode="constant")


def _boxes(shape: tuple[int, int], n: int) -> np.ndarray:
    rows, columns = (np.minimum(np.arange(size) * n // size, n - 1) for size in shape)
    return rows[:, None] * n + columns[None, :]


def _strips(shape: tuple[int, int], n: int) -> np.ndarray:
    """Strips across the longer axis."""
    rows, columns = (np.minimum(np.arange(size) * n // size, n - 1) for size in shape)
    block = rows[:, None] + 0 * columns[None, :] if shape[0] >= shape[1] else columns[None, :] + 0 * rows[:, None]
    return block


def _end_of(far: np.ndarray, block: np.ndarray, test: int) -> np.ndarray:
    """A fifth of the pixels left, those farthest from the test along the strips."""
    axis = 0 if (block[:, 0] != block[0, 0]).any() else 1
    place = np.arange(far.shape[axis])
    middle = np.flatnonzero((block == test).any(1 - axis)).mean()
    distance = np.abs(place - middle)
    grid = np.broadcast_to(distance[:, None] if axis == 0 else distance[None, :], far.shape)
    limit = np.quantile(grid[far], 0.8)
    return far & (grid >= limit) if (far & (grid < limit)).any() else np.zeros_like(far)


def _too_small(shape: tuple[int, int], gap: int) -> InvalidArgumentError:
    got = f"a spectrum image of {shape[0]} x {shape[1]} pixels with windows of {gap} pixels"
    todo = "Choose a smaller window, or split='random', whose score is that of an interpolation."
    return InvalidArgumentError(explain(got, "a map with room for a gap as wide as the window", todo))


def small_blocks(shape: tuple[int, int], side: int) -> np.ndarray:
    """Number of the block of about ``side`` x ``side`` pixels of each pixel: its row times ``WIDE`` plus its column.

    None is narrower (of a map that is not): every block counts the same where widths are judged, and a strip of one
    pixel along the rim, where windows are mirrored and errors large, would count as much as all pixels of another.
    """
    rows, columns = (np.arange(size) * max(1, size // side) // size for size in shape)
    return rows[:, None] * WIDE + columns[None, :]
