"""Patches of two motifs without symmetry in known poses."""

from __future__ import annotations

import numpy as np

MOTIFS = (
    (np.array([0.0, 0.0, 5.0, -4.0]), np.array([0.0, 6.5, -2.0, -4.0]), np.array([1.0, 0.9, 0.7, 0.5])),
    (np.array([0.0, 3.0, 5.0]), np.array([0.0, 5.5, -5.0]), np.array([0.6, 1.0, 0.8])),
)
SHAPE = (21, 24)


def motif_picture(k: int, pose, shape=SHAPE, width: float = 1.6) -> np.ndarray:
    """Motif k, scaled, turned and shifted by a pose (angle, shift y, shift x, log scale)."""
    y, x, height = MOTIFS[k]
    angle, ty, tx, log_scale = pose
    cos, sin, scale = np.cos(angle), np.sin(angle), np.exp(log_scale)
    rows, columns = scale * (y * cos + x * sin) + ty, scale * (x * cos - y * sin) + tx
    down, across = (np.exp(-((np.arange(n) - (n - 1) / 2 - at[:, None]) ** 2) / 2 / (scale * width) ** 2)
                    for n, at in zip(shape, (rows, columns), strict=True))  # fmt: skip
    return np.einsum("k,ky,kx->yx", height, down, across)


def planted(n: int = 300, noise: float = 0.1, seed: int = 0, shift: float = 1.5, scale: float = 0.0):
    """Patches (n, 21, 24), kinds (n,) and poses (n, 4)."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, n)
    poses = np.stack([rng.uniform(-np.pi, np.pi, n), *rng.uniform(-shift, shift, (2, n)),
                      rng.uniform(-scale, scale, n)], 1)  # fmt: skip
    clean = np.stack([motif_picture(k, pose) for k, pose in zip(kinds, poses, strict=True)])
    return (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32), kinds, poses


def angle_errors(angle: np.ndarray, truth: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Radians, one offset per kind removed."""
    errors = []
    for k in np.unique(kinds):
        turn = np.exp(1j * (angle - truth)[kinds == k])
        errors.append(np.abs(np.angle(turn / turn.mean())))
    return np.concatenate(errors)
