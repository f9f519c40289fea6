"""The few named errors of hs_deepatoms. Every message says what was got, what is allowed and what to do."""

from __future__ import annotations

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
    "explain",
]


class DeepAtomsError(Exception):
    """Base class: ``except DeepAtomsError`` catches everything this library raises on purpose."""


class InvalidImageError(DeepAtomsError, ValueError):
    """The data cannot be read as images of atoms (wrong kind of signal, dtype, size or content)."""


class InvalidAxesError(DeepAtomsError, ValueError):
    """The axes do not fit: wrong dimensions, reciprocal space, ambiguous signal dimensions, unknown units."""


class InvalidArgumentError(DeepAtomsError, ValueError):
    """An argument is outside what is allowed."""


class TableError(DeepAtomsError, ValueError):
    """A Dataset is not a positions table, or two tables do not fit together."""


class ModelFileError(DeepAtomsError, ValueError):
    """A model file is missing, damaged, of another format version, or of another architecture."""


class DeviceError(DeepAtomsError, RuntimeError):
    """The device asked for is not there."""


class StoreError(DeepAtomsError, ValueError):
    """A store on disk that belongs to another job, or is no store."""


class TrainingError(DeepAtomsError, RuntimeError):
    """A training cannot go on: its loss is no longer finite."""


class LabelError(DeepAtomsError, ValueError):
    """Labels do not fit the images or the classes."""


class MissingExtraError(DeepAtomsError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class RegistrationError(DeepAtomsError, RuntimeError):
    """A method could not be attached because somebody else's attribute already has its name."""


def explain(got: str, allowed: str, todo: str) -> str:
    """One message in the order a user needs it: what was got, what is allowed, what to do."""
    return f"Got {got}. Allowed: {allowed}. {todo}"
