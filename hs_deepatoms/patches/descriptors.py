"""What describes a patch: its pixels, its Fourier transform, or numbers that do not change when it is turned."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from hs_deepatoms.patches.windows import cubic_taps

DESCRIPTORS = ("zernike", "polar_fourier", "fft")
ORDER = 12  # highest radial order of the Zernike functions
HARMONICS = 8  # highest angular harmonic of the polar Fourier descriptors
ANGLES = 64


class Pixels:
    """The pixels as they are.

    Parameters
    ----------
    shape : (int, int)
        Height and width of a patch.
    steps : (float, float)
        Size of a pixel along y and x in one unit.
    """

    rotates = False  # whether turning a patch leaves its features as they are

    def __init__(self, shape: tuple[int, int], steps: tuple[float, float]):
        self.shape, self.steps = shape, steps

    @property
    def n_features(self) -> int:
        """Features per channel."""
        return self.shape[0] * self.shape[1]

    def describe(self, patches: np.ndarray) -> np.ndarray:
        """Features (n, channels * n_features) float64 of patches (channels, n, h, w)."""
        found = np.asarray(patches, float)
        return np.moveaxis(found, 0, 1).reshape(found.shape[1], -1)


class Fourier(Pixels):
    """Logarithm of the magnitude of the Fourier transform, frequency 0 in the middle: the sliding FFT.

    Each patch less its mean and under a Hann window (Harris, Proc. IEEE 66, 51 (1978),
    doi:10.1109/PROC.1978.10837); with NMF it is the analysis of Vasudevan et al., Appl. Phys. Lett. 106, 091601 (2015),
    doi:10.1063/1.4914016.
    """

    def describe(self, patches: np.ndarray) -> np.ndarray:
        patches = np.asarray(patches, float)
        patches = patches - patches.mean((-2, -1), keepdims=True)
        hann = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in self.shape))
        found = np.fft.fftshift(np.abs(np.fft.fft2(patches * hann)), axes=(-2, -1))
        return super().describe(np.log1p(found / np.sqrt((hann**2).sum())))

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Spatial frequencies (h,) and (w,) in cycles per unit of the steps."""
        y, x = (np.fft.fftshift(np.fft.fftfreq(n, step)) for n, step in zip(self.shape, self.steps, strict=True))
        return y, x


class Zernike(Pixels):
    """Magnitudes of the Zernike moments on the disc inside the patch (Teague, J. Opt. Soc. Am. 70, 920 (1980),
    doi:10.1364/JOSA.70.000920)."""

    rotates = True

    @cached_property
    def orders(self) -> list[tuple[int, int]]:
        """(n, m) of every feature."""
        return [(n, m) for n in range(ORDER + 1) for m in range(n % 2, n + 1, 2)]

    @property
    def n_features(self) -> int:
        return len(self.orders)

    @cached_property
    def basis(self) -> np.ndarray:
        """Complex (n_features, h * w); at the rim of the disc a pixel counts as far as it lies inside."""
        from scipy.special import eval_jacobi

        radius, angle, inside = _polar(self.shape, self.steps)
        rows = []
        for n, m in self.orders:
            k = (n - m) // 2
            radial = (-1) ** k * radius**m * eval_jacobi(k, m, 0, 1 - 2 * radius**2)
            rows.append((np.sqrt((n + 1) / np.pi) * inside * radial * np.exp(-1j * m * angle)).ravel())
        return np.stack(rows) / np.sqrt(inside.sum())

    def describe(self, patches: np.ndarray) -> np.ndarray:
        flat = np.asarray(patches, float).reshape(*patches.shape[:2], -1)
        found = np.hypot(flat @ self.basis.real.T, flat @ self.basis.imag.T)
        return np.moveaxis(found, 0, 1).reshape(flat.shape[1], -1)


class PolarFourier(Pixels):
    """Magnitudes of the angular harmonics on rings around the middle."""

    rotates = True

    @property
    def n_rings(self) -> int:
        """One per pixel of the radius of the disc inside the patch."""
        return max(1, (min(self.shape) - 1) // 2)

    @property
    def n_features(self) -> int:
        return self.n_rings * (HARMONICS + 1)

    @cached_property
    def sampling(self) -> Any:
        """Sparse (rings * angles, h * w): cubic interpolation on the rings."""
        from scipy.sparse import csr_array

        reach = min((n - 1) * step / 2 for n, step in zip(self.shape, self.steps, strict=True))
        radius = reach * np.arange(1, self.n_rings + 1) / self.n_rings
        angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
        places = [np.outer(radius, wave(angle)).ravel() / step + (n - 1) / 2
                  for wave, n, step in zip((np.sin, np.cos), self.shape, self.steps, strict=True)]  # fmt: skip
        first = [np.floor(place + 1e-9).astype(int) for place in places]
        taps = [cubic_taps(np.clip(place - low, 0, 1)) for place, low in zip(places, first, strict=True)]
        index = [np.clip(low[:, None] + np.arange(-1, 3), 0, n - 1) for low, n in zip(first, self.shape, strict=True)]
        columns = index[0][:, :, None] * self.shape[1] + index[1][:, None, :]
        weights = taps[0][:, :, None] * taps[1][:, None, :]
        rows = np.broadcast_to(np.arange(len(columns))[:, None, None], columns.shape)
        shape = (len(columns), self.shape[0] * self.shape[1])
        return csr_array((weights.ravel(), (rows.ravel(), columns.ravel())), shape=shape)

    def describe(self, patches: np.ndarray) -> np.ndarray:
        channels, n = patches.shape[:2]
        flat = np.asarray(patches, float).reshape(channels * n, -1)
        rings = (self.sampling @ flat.T).T.reshape(channels, n, self.n_rings, ANGLES)
        found = np.abs(np.fft.rfft(rings, axis=-1)[..., : HARMONICS + 1]) / ANGLES
        found *= np.sqrt(np.arange(1, self.n_rings + 1) / self.n_rings)[:, None]  # a ring counts as its length
        return np.moveaxis(found, 0, 1).reshape(n, -1)


KINDS = {None: Pixels, "fft": Fourier, "zernike": Zernike, "polar_fourier": PolarFourier}


def _polar(shape: tuple[int, int], steps: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radius (1 at the rim of the disc), angle, and how much of each pixel lies inside."""
    y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, steps, strict=True)),
                       indexing="ij")  # fmt: skip
    reach = min(n * step / 2 for n, step in zip(shape, steps, strict=True))
    distance = np.hypot(y, x)
    inside = np.clip((reach - distance) / min(steps) + 0.5, 0, 1)
    return np.minimum(distance / reach, 1), np.arctan2(y, x), inside
