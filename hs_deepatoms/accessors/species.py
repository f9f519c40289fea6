"""`.deepatoms` of a table: classes of atoms and the sites they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


class SpeciesMethods:
    """Species, sublattices, vacancies, dopants."""

    _ds: xr.Dataset

    def classify(
        self,
        n: int | str | Sequence[str] = "auto",
        *,
        method: str = "mixture",
        by: str = "intensity",
        local: bool | str = "auto",
        context: bool | str = "auto",
        signal: Any = None,
        seed: int = 0,
    ) -> xr.Dataset:
        """A new table with the ``species`` of every atom. See `hs_deepatoms.methods.classify.classify`.

        Parameters
        ----------
        n
            Number of species, their names (strongest first), or ``"auto"``.
        method
            ``"mixture"``, ``"kmeans"``, ``"meanshift"`` or ``"threshold"``.
        by
            What tells them apart: ``"intensity"``, ``"height"``, another column, or ``"contrast"`` to the neighbours.
        local
            Take a smooth trend (thickness) off: True, False or ``"auto"``.
        context
            Settle the strengths with those of the columns around: True, False or ``"auto"``, where they leave doubts.
        signal
            The image, for tables without fitted peaks.
        seed
            Of the random numbers.
        """
        from hs_deepatoms.methods.classify import classify

        return classify(self._ds, n, method=method, by=by, local=local, context=context, signal=signal, seed=seed)

    def rename_species(self, names: Mapping[int | str, str]) -> xr.Dataset:
        """The table with other names for its species: ``{"A": "Sr", "B": "Ti"}``, or by number."""
        from hs_deepatoms.methods.classify import rename_species

        return rename_species(self._ds, names)

    def sublattices(self) -> dict[str, xr.Dataset]:
        """Name of every species -> the table of its atoms, strongest first."""
        from hs_deepatoms.methods.classify import sublattices

        return sublattices(self._ds)

    def vacancies(self) -> xr.Dataset:
        """Empty sites of the local lattice, a table of their own with ``species`` expected and ``confidence``.

        See `hs_deepatoms.methods.sites.vacancies`.
        """
        from hs_deepatoms.methods.sites import vacancies

        return vacancies(self._ds)

    def dopants(self) -> xr.Dataset:
        """The table with ``site_species``, the species of most equivalents, and ``off_class`` where an atom differs.

        See `hs_deepatoms.methods.sites.dopants`.
        """
        from hs_deepatoms.methods.sites import dopants

        return dopants(self._ds)
