"""The errors that this library raises on purpose, for ``except hs_deepatoms.errors.DeepAtomsError``."""

from __future__ import annotations

from hs_deepatoms._core.errors import (
    DeepAtomsError,
    DeviceError,
    InvalidArgumentError,
    InvalidAxesError,
    InvalidImageError,
    LabelError,
    MissingExtraError,
    ModelFileError,
    RegistrationError,
    StoreError,
    TableError,
    TrainingError,
)

__all__ = [
    "DeepAtomsError",
    "DeviceError",
    "InvalidArgumentError",
    "InvalidAxesError",
    "InvalidImageError",
    "LabelError",
    "MissingExtraError",
    "ModelFileError",
    "RegistrationError",
    "StoreError",
    "TableError",
    "TrainingError",
]
