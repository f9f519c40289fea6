"""HyperSpy's own view of this package: signal classes declared in ``hyperspy_extension.yaml``, each with a lazy twin.

Importing this module imports the package, which attaches the methods to every ``Signal2D``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperspy.signals import LazySignal2D, Signal2D

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AtomPatches", "AtomicImage", "LazyAtomPatches", "LazyAtomicImage"]


class AtomicImage(Signal2D):
    """Images of atoms: ``hs.load(file, signal_type="atomic_image")`` brings the methods without any import of ours."""

    _signal_type = "atomic_image"


class LazyAtomicImage(AtomicImage, LazySignal2D):
    """Images of atoms whose data is a dask array."""


class AtomPatches(Signal2D):
    """Patches cut around atoms: the last navigation axis is the atom (its values are the ids), the signal is y, x."""

    _signal_type = "atom_patches"

    @property
    def atoms(self) -> xr.Dataset:
        """The rows of the positions table whose patches are here."""
        from hs_deepatoms.bridge.patches import table_of

        return table_of(self)

    @property
    def dropped(self) -> dict[str, list[int]]:
        """Ids of the atoms that got no patch, by reason."""
        from hs_deepatoms.bridge.patches import notes_of

        return notes_of(self).get("dropped", {})


class LazyAtomPatches(AtomPatches, LazySignal2D):
    """Patches cut around atoms whose data is a dask array."""
