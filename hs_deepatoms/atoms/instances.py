"""Objects of any shape in a probability map: told apart by watershed, and measured."""

from __future__ import annotations

import numpy as np

MEASURES = ("area", "perimeter", "equivalent_diameter_area", "axis_major_length", "axis_minor_length", "eccentricity",
            "solidity", "orientation")  # fmt: skip
# levels of the probability on which objects are told apart, as shares of the way from the threshold to 1; width of the
# smoothing that takes the steps of the pixels out of outlines
LEVELS, STEPS = (0.0, 0.4, 0.8, 0.94), 1.0


def label_objects(
    probability: np.ndarray, *, threshold: float = 0.5, smallest: float = 16, depth: float | None = 0.5
) -> np.ndarray:
    """Number of the object that every pixel belongs to, 0 for none.

    Parameters
    ----------
    probability : ndarray, shape (h, w)
    threshold : float
    smallest : float
        Objects of fewer pixels are left out.
    depth : float or None
        Objects that touch are parted where the distance to the rim falls by more than this (pixels) between them; None
        leaves them joined.

    Returns
    -------
    ndarray, int32, shape (h, w)
        Numbers 1, 2, ... row-major by first pixel.

    Notes
    -----
    Watershed of the distance transform (Vincent & Soille, IEEE TPAMI 13, 583 (1991), doi:10.1109/34.87344) from its
    maxima of a given depth (Soille, Morphological Image Analysis, doi:10.1007/978-3-662-05088-0), by scikit-image.
    The distance is the mean of those inside of several levels of the probability: a gap that is only suspected, as
    where two objects touch, parts them as a neck of the outline does.

    Examples
    --------
    >>> import numpy as np
    >>> yy, xx = np.mgrid[:30, :50]
    >>> two = np.maximum(np.hypot(yy - 15, xx - 16) < 9, np.hypot(yy - 15, xx - 33) < 9)
    >>> int(label_objects(two).max()), int(label_objects(two, depth=None).max())
    (2, 1)
    """
    from scipy.ndimage import label
    from skimage.measure import label as label_regions
    from skimage.morphology import h_maxima
    from skimage.segmentation import relabel_sequential, watershed

    mask = probability >= threshold
    if depth is None:
        found = label_regions(mask, connectivity=1)
    else:
        distance = _distance(np.asarray(probability, float), threshold) * mask
        markers, _ = label(h_maxima(distance, depth) * mask, np.ones((3, 3)))
        # objects too shallow for a maximum of that depth are whole all the same
        whole = label_regions(mask, connectivity=1)
        bare = np.setdiff1d(np.unique(whole[mask]), np.unique(whole[markers > 0]))
        shallow = np.where(np.isin(whole, bare), whole + markers.max(), 0)
        found = watershed(-distance, np.where(markers > 0, markers, shallow), mask=mask)
    sizes = np.bincount(found.ravel())
    found = np.where((sizes >= smallest)[found], found, 0)
    return relabel_sequential(found)[0].astype(np.int32)


def _distance(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Distance to the rim, pixels: the mean over levels from the threshold up, free of the steps of the pixels."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    # a ring of background, so that objects at the rim are not thought to go on beyond it
    framed = np.pad(probability, 1, constant_values=-1.0)
    levels = (threshold + share * (1 - threshold) for share in LEVELS)
    distance = sum(distance_transform_edt(framed >= level)[1:-1, 1:-1] for level in levels) / len(LEVELS)
    return gaussian_filter(distance, STEPS)


def measure_objects(
    labels: np.ndarray, image: np.ndarray | None = None, spacing: tuple[float, float] = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """Geometry of every object, by scikit-image.

    Parameters
    ----------
    labels : ndarray, int, shape (h, w)
    image : ndarray, shape (h, w), optional
        For the mean intensity.
    spacing : (float, float)
        Size of a pixel along y and x.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``y_px``, ``x_px`` (centroid), ``object`` (its number), ``area``, ``perimeter``, ``diameter`` (of the disc of
        the same area), ``major_axis``, ``minor_axis`` in units of ``spacing``; ``eccentricity``, ``solidity``;
        ``rotation`` of the major axis from +x towards +y, radians, 0 to pi; ``mean_intensity`` with an image.
    """
    from skimage.measure import regionprops_table

    # a perimeter is known for square pixels only
    names = [n for n in MEASURES if n != "perimeter" or np.isclose(*spacing)]
    found = regionprops_table(labels, image, properties=("label", "centroid", *names,
                              *(("intensity_mean",) if image is not None else ())), spacing=spacing)  # fmt: skip
    out = {"y_px": found["centroid-0"] / spacing[0], "x_px": found["centroid-1"] / spacing[1], "object": found["label"]}
    renamed = {"equivalent_diameter_area": "diameter", "axis_major_length": "major_axis",
               "axis_minor_length": "minor_axis", "intensity_mean": "mean_intensity"}  # fmt: skip
    for name in (*names, "intensity_mean"):
        if name in found and name != "orientation":
            out[renamed.get(name, name)] = np.asarray(found[name], float)
    # scikit-image counts from the rows' axis, we from +x towards +y
    out["rotation"] = np.arctan2(np.cos(found["orientation"]), np.sin(found["orientation"])) % np.pi
    return out
