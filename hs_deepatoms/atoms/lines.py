"""Lines in a probability map, such as walls and steps: thinned to one pixel, told apart, and measured."""

from __future__ import annotations

import numpy as np

#: weights of an axial step, a diagonal step and a corner in the length of a line (Vossepoel & Smeulders)
CHAIN = (0.980, 1.406, -0.091)


def label_lines(probability: np.ndarray, *, threshold: float = 0.5, shortest: float = 8) -> np.ndarray:
    """Number of the line that every pixel belongs to, 0 for none; lines are one pixel wide.

    Parameters
    ----------
    probability : ndarray, shape (h, w)
    threshold : float
        Smallest probability of a line's pixels, before it is thinned.
    shortest : float
        Lines of fewer pixels are left out.

    Returns
    -------
    ndarray, int32, shape (h, w)
        Numbers 1, 2, ... row-major by first pixel. Lines that meet are one.

    Notes
    -----
    Thinning: Zhang & Suen, Commun. ACM 27, 236 (1984), doi:10.1145/357994.358023, by scikit-image.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.atoms.lines import label_lines
    >>> band = np.zeros((20, 40)); band[8:13] = 1; band[0, 0] = 1
    >>> lines = label_lines(band)
    >>> int(lines.max()), int((lines > 0).sum(0).max())
    (1, 1)
    """
    from skimage.measure import label
    from skimage.morphology import skeletonize
    from skimage.segmentation import relabel_sequential

    # the band goes on beyond the rim, or its line would end before it
    pad = 8
    mask = np.pad(np.asarray(probability) >= threshold, pad, mode="edge")
    thin = skeletonize(mask)[pad:-pad, pad:-pad]
    found = label(thin, connectivity=2)
    sizes = np.bincount(found.ravel())
    found = np.where((sizes >= shortest)[found], found, 0)
    return relabel_sequential(found)[0].astype(np.int32)


def measure_lines(
    lines: np.ndarray, image: np.ndarray | None = None, spacing: tuple[float, float] = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """Geometry of every line.

    Parameters
    ----------
    lines : ndarray, int, shape (h, w)
        As :func:`label_lines` gives them.
    image : ndarray, shape (h, w), optional
        For the mean intensity along the line.
    spacing : (float, float)
        Size of a pixel along y and x.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``y_px``, ``x_px`` (mean of its pixels), ``object`` (its number), ``length`` in units of ``spacing``;
        ``rotation`` of its longest extent from +x towards +y, radians, 0 to pi; ``ends`` (0: closed);
        ``mean_intensity`` with an image.

    Notes
    -----
    Length of a chain of pixels without bias from its direction: Vossepoel & Smeulders, Comput. Graph. Image Process.
    20, 347 (1982). Pixels that are not square: plain sum of the steps.
    """
    from skimage.measure import regionprops_table

    found = regionprops_table(lines, image, properties=("label", "centroid", "orientation",
                              *(("intensity_mean",) if image is not None else ())), spacing=spacing)  # fmt: skip
    out = {"y_px": found["centroid-0"] / spacing[0], "x_px": found["centroid-1"] / spacing[1], "object": found["label"]}
    length, ends = _chains(lines, spacing)
    out |= {"length": length, "ends": ends}
    if image is not None:
        out["mean_intensity"] = np.asarray(found["intensity_mean"], float)
    # scikit-image counts from the rows' axis, we from +x towards +y
    out["rotation"] = np.arctan2(np.cos(found["orientation"]), np.sin(found["orientation"])) % np.pi
    return out


def _chains(lines: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Length and number of ends of every line, shape (n,)."""
    n, there = int(lines.max()), lines > 0
    down, right, falling, rising = _steps(there)
    square = bool(np.isclose(*spacing))
    axial, diagonal, corner = (w * spacing[0] for w in CHAIN) if square else (1.0, float(np.hypot(*spacing)), 0.0)
    weights = (axial, axial) if square else spacing
    owners = [lines[:-1][down], lines[:, :-1][right], lines[:-1, :-1][falling], lines[:-1, 1:][rising]]
    length = np.zeros(n + 1)
    for owner, weight in zip(owners, (*weights, diagonal, diagonal), strict=True):
        length += weight * np.bincount(owner, minlength=n + 1)
    straight, slanted = np.zeros(lines.shape, int), np.zeros(lines.shape, int)
    for links, first, second in ((down, np.s_[:-1], np.s_[1:]), (right, np.s_[:, :-1], np.s_[:, 1:])):
        straight[first] += links
        straight[second] += links
    for links, first, second in ((falling, np.s_[:-1, :-1], np.s_[1:, 1:]), (rising, np.s_[:-1, 1:], np.s_[1:, :-1])):
        slanted[first] += links
        slanted[second] += links
    length += corner * np.bincount(lines[(straight == 1) & (slanted == 1)], minlength=n + 1)
    ends = np.bincount(lines[there & (straight + slanted <= 1)], minlength=n + 1)
    return length[1:], ends[1:]


def _steps(there: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pairs of neighbours in a line: one below, one to the right, and diagonally where no axial step leads there."""
    down, right = there[:-1] & there[1:], there[:, :-1] & there[:, 1:]
    falling = there[:-1, :-1] & there[1:, 1:] & ~there[:-1, 1:] & ~there[1:, :-1]
    rising = there[:-1, 1:] & there[1:, :-1] & ~there[:-1, :-1] & ~there[1:, 1:]
    return down, right, falling, rising
