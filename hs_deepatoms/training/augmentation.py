"""Augmentation: random changes of an image, its labels and its coordinates, from a seed per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from hs_deepatoms._core.errors import InvalidArgumentError, LabelError, explain
from hs_deepatoms.training import intensity
from hs_deepatoms.training.geometry import Motion, random_symmetry

Range = tuple[float, float] | None


class Augmented(NamedTuple):
    """A changed sample.

    ``image`` and ``mask`` are of the kind that went in; ``y``, ``x`` are pixels; ``number`` says which coordinate of
    the input each of them is (mirror images beyond the rim share the number of their original).
    """

    image: Any
    mask: Any = None
    y: np.ndarray | None = None
    x: np.ndarray | None = None
    number: np.ndarray | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes that training images go through; labels and coordinates go with them.

    Everything is drawn anew for every sample, uniformly between the two ends given; None or False leaves it out.
    Changes come in the order of this list.

    Parameters
    ----------
    symmetries : bool
        One of the eight symmetries of the square (of the four of a rectangle, where sides differ). Exact.
    rotation : float or None
        Largest angle, degrees; 180 is any angle.
    zoom : (float, float) or None
        Magnification.
    resize : (int, int) or None
        New height and width, the whole image stretched to it.
    jitter : (float, float) or None
        rms shift of scan lines along x, pixels.
    drift : (float, float) or None
        How far the specimen moves, in any direction, while the image is scanned; pixels.
    crop : (int, int) or None
        Height and width of a part at a random place.
    blur : (float, float) or None
        Gaussian sigma, pixels.
    contrast : (float, float) or None
        Factor around the mean; with it comes an offset of up to a tenth of the range.
    gamma : (float, float) or None
        Exponent of the grey scale.
    background : (float, float) or None
        Height of a broad bump, in units of the image's range; negative for a hollow.
    poisson : (float, float) or None
        Electrons that the image's range stands for.
    gaussian_noise : (float, float) or None
        Sigma, in units of the image's range.
    salt_and_pepper : (float, float) or None
        Share of the pixels.
    custom : tuple of callable
        ``f(image, mask, rng) -> (image, mask)`` on tensors, after all else.

    Raises
    ------
    InvalidArgumentError
        A range that is none.

    Notes
    -----
    Images are resampled once, with Keys' cubic kernel (doi:10.1109/TASSP.1981.1163711), whatever the number of
    geometric changes; classes by their nearest pixel. Beyond the rim images, labels and coordinates are mirrored.

    Examples
    --------
    >>> import numpy as np
    >>> from hs_deepatoms.training.augmentation import Augmentation
    >>> image = np.zeros((64, 64), np.float32); image[20, 40] = 1
    >>> changed = Augmentation(rotation=180).apply(image, y=[20.0], x=[40.0], seed=3)
    >>> changed.image.shape, bool(len(changed.y) >= 0)
    ((64, 64), True)
    """

    symmetries: bool = True
    rotation: float | None = None
    zoom: Range = None
    resize: tuple[int, int] | None = None
    jitter: Range = None
    drift: Range = None
    crop: tuple[int, int] | None = None
    blur: Range = None
    contrast: Range = None
    gamma: Range = None
    background: Range = None
    poisson: Range = None
    gaussian_noise: Range = None
    salt_and_pepper: Range = None
    custom: tuple[Callable, ...] = ()

    def __post_init__(self):
        for name in ("zoom", "jitter", "drift", "blur", "contrast", "gamma", "poisson", "gaussian_noise",
                     "salt_and_pepper"):  # fmt: skip
            lowest = 0.0 if name in ("jitter", "drift", "blur", "gaussian_noise", "salt_and_pepper") else 1e-6
            _check_range(name, getattr(self, name), lowest)
        _check_range("background", self.background, -np.inf)
        for name in ("resize", "crop"):
            _check_range(name, getattr(self, name), 1, ordered=False)

    @classmethod
    def usual(cls, *, any_angle: bool = True) -> Augmentation:
        """What suits most micrographs: symmetries, any rotation, a little of everything else."""
        return cls(rotation=180.0 if any_angle else None, zoom=(0.85, 1.2), jitter=(0.0, 0.5), blur=(0.0, 1.0),
                   contrast=(0.7, 1.4), gamma=(0.8, 1.25), background=(-0.3, 0.3),
                   gaussian_noise=(0.0, 0.15))  # fmt: skip

    def apply(self, image: Any, mask: Any = None, *, y=None, x=None, seed=0) -> Augmented:
        """One changed sample.

        Parameters
        ----------
        image : ndarray or tensor, shape (h, w) or (c, h, w)
        mask : ndarray or tensor, optional
            Classes as whole numbers (h, w), or shares between 0 and 1 as floats (h, w) or (k, h, w).
        y, x : array, shape (n,), optional
            Coordinates in pixels.
        seed : int, sequence of int, or numpy.random.Generator
            The same seed gives the same change; on a GPU, other pixels of the same noise.

        Returns
        -------
        Augmented

        Raises
        ------
        LabelError
            If the mask is of another shape than the image.
        """
        rng = np.random.default_rng(seed)
        pixels, labels = _tensor(image), None if mask is None else _tensor(mask)
        if labels is not None and labels.shape[-2:] != pixels.shape[-2:]:
            got = f"labels of shape {tuple(labels.shape)} for an image of shape {tuple(pixels.shape)}"
            raise LabelError(explain(got, "labels of the image's height and width", "Check which belong together."))
        flat = pixels.ndim == 2
        points = _points(y, x)
        pixels = (pixels[None] if flat else pixels).float()
        pixels, labels, points = self._moved(pixels, labels, points, rng)
        pixels = self._shaded(pixels, rng)
        for change in self.custom:
            pixels, labels = change(pixels, labels, rng)
        out = pixels[0] if flat else pixels
        return Augmented(_like(image, out), None if mask is None else _like(mask, labels), *(points or (None,) * 3))

    def __call__(self, image: torch.Tensor, target: torch.Tensor, rng: np.random.Generator):
        """Image and target of a batch's sample: what :class:`~hs_deepatoms.training.batches.Batches` calls."""
        changed = self.apply(image, target, seed=rng)
        return changed.image, changed.mask

    def _moved(self, image, labels, points, rng):
        """Everything geometric; the random numbers drawn do not depend on what there is to move."""
        if self.symmetries:
            symmetry = random_symmetry(rng, image.shape[-2:])
            if points is not None:
                points = (*symmetry.of_points(*points[:2], image.shape[-2:]), points[2])
            image, labels = (None if a is None else symmetry.of_map(a) for a in (image, labels))
        motion = self._motion(tuple(image.shape[-2:]), rng)
        if motion is not None:
            # what shrinks must be averaged, or noise and fine lattices turn into others
            shrink = min(motion.zoom)
            image = intensity.blur(image, 0.5 * np.sqrt(1 / shrink**2 - 1)) if shrink < 1 else image
            image = motion.of_map(image)
            labels = None if labels is None else motion.of_map(labels, mode=_mode(labels))
            if points is not None:
                y, x, which = motion.of_points(*points[:2])
                points = (y, x, points[2][which])
        return self._cropped(image, labels, points, rng)

    def _motion(self, shape: tuple[int, int], rng: np.random.Generator) -> Motion | None:
        size = self.resize or shape
        if not any((self.rotation, self.zoom, self.resize, self.jitter, self.drift)):
            return None
        angle = np.deg2rad(rng.uniform(-1, 1) * (self.rotation or 0.0))
        factor = _log_uniform(rng, self.zoom) if self.zoom else 1.0
        zoom = tuple(factor * (new / old) for new, old in zip(size, shape, strict=True))
        shift_y = shift_x = np.zeros(size[0])
        if self.drift:
            way, direction = rng.uniform(*self.drift), rng.uniform(0, 2 * np.pi)
            done = np.linspace(-0.5, 0.5, size[0]) * min(way, 0.8 * size[0])
            shift_y, shift_x = done * np.sin(direction), done * np.cos(direction)
        if self.jitter:
            shift_x = shift_x + rng.uniform(*self.jitter) * rng.standard_normal(size[0])
        return Motion(shape, size, float(angle), zoom, shift_y, shift_x)

    def _cropped(self, image, labels, points, rng):
        if self.crop is None:
            return image, labels, points
        shape = image.shape[-2:]
        if min(n - c for n, c in zip(shape, self.crop, strict=True)) < 0:
            got = f"crop={self.crop} of images of {tuple(shape)} px"
            raise InvalidArgumentError(explain(got, "a part of the image", "Make it smaller."))
        top, left = (int(rng.integers(n - c + 1)) for n, c in zip(shape, self.crop, strict=True))
        rows, columns = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        if points is not None:
            y, x, number = points[0] - top, points[1] - left, points[2]
            inside = (y > -0.5) & (x > -0.5) & (y < self.crop[0] - 0.5) & (x < self.crop[1] - 0.5)
            points = (y[inside], x[inside], number[inside])
        return image[..., rows, columns], None if labels is None else labels[..., rows, columns], points

    def _shaded(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Everything that changes intensities."""
        generator = torch.Generator(image.device).manual_seed(int(rng.integers(2**62)))
        if self.blur:
            image = intensity.blur(image, rng.uniform(*self.blur))
        if self.contrast:
            image = intensity.contrast(image, _log_uniform(rng, self.contrast), rng.uniform(-0.1, 0.1))
        if self.gamma:
            image = intensity.gamma(image, _log_uniform(rng, self.gamma))
        if self.background:
            image = intensity.background(image, rng.uniform(*self.background), tuple(rng.uniform(0, 1, 2)),
                                         rng.uniform(0.2, 0.6))  # fmt: skip
        if self.poisson:
            image = intensity.poisson_noise(image, _log_uniform(rng, self.poisson), generator)
        if self.gaussian_noise:
            image = intensity.gaussian_noise(image, rng.uniform(*self.gaussian_noise), generator)
        if self.salt_and_pepper:
            image = intensity.salt_and_pepper(image, rng.uniform(*self.salt_and_pepper), generator)
        return image


def augmented_set(images, masks=None, *, augmentation: Augmentation, copies: int = 1, seed: int = 0):
    """A stored set: every pair ``copies`` times, each changed in its own way; none is left out.

    Parameters
    ----------
    images : ndarray, shape (n, h, w) or (n, c, h, w)
    masks : ndarray, shape (n, ..., h, w), optional
    augmentation : Augmentation
    copies : int
    seed : int

    Returns
    -------
    images, masks : ndarray, shape (n * copies, ...); masks None where none were given

    Examples
    --------
    >>> import numpy as np
    >>> images, masks = augmented_set(np.zeros((3, 16, 16)), np.zeros((3, 16, 16), int),
    ...                               augmentation=Augmentation(), copies=4)
    >>> images.shape, masks.shape
    ((12, 16, 16), (12, 16, 16))
    """
    if masks is not None and len(masks) != len(images):
        got = f"{len(masks)} label images for {len(images)} images"
        raise LabelError(explain(got, "one for each", "Check which belong together."))
    changed = [
        augmentation.apply(np.asarray(images[i]), None if masks is None else np.asarray(masks[i]), seed=[seed, i, k])
        for i in range(len(images))
        for k in range(copies)
    ]
    return np.stack([c.image for c in changed]), None if masks is None else np.stack([c.mask for c in changed])


def _mode(labels: torch.Tensor) -> str:
    return "bilinear" if labels.is_floating_point() else "nearest"


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Factors: twice and half are equally far from one."""
    return float(np.exp(rng.uniform(*np.log(ends))))


def _tensor(array: Any) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array
    array = np.asarray(array)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # torch can neither flip nor sample these
        array = array.astype(np.int64)
    dtype = np.uint8 if array.dtype == bool else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.ascontiguousarray(array, dtype))


def _like(given: Any, result: torch.Tensor) -> Any:
    if isinstance(given, torch.Tensor):
        return result.contiguous()
    dtype = np.asarray(given).dtype
    return np.ascontiguousarray(result.cpu().numpy()).astype(np.float32 if dtype.kind in "biu" and
                                                             result.is_floating_point() else dtype)  # fmt: skip


def _points(y, x):
    if y is None or x is None:
        return None
    y, x = np.asarray(y, float), np.asarray(x, float)
    return y, x, np.arange(len(y))


def _check_range(name: str, value, lowest: float, ordered: bool = True) -> None:
    if value is None:
        return
    try:
        low, high = value
        good = lowest <= low and lowest <= high and (low <= high or not ordered)
    except (TypeError, ValueError):
        good = False
    if not good:
        what = "two numbers, the smaller first" if ordered else "(height, width)"
        raise InvalidArgumentError(explain(f"{name}={value!r}", what, "Give both, or None."))
