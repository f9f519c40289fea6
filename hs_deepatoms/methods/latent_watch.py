"""Phases in the map of a latent, looked at while the model learns."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms.latent.segmentation import phases_of_nodes
from hs_deepatoms.methods.image_stack import layout_of
from hs_deepatoms.methods.latent_request import Asked
from hs_deepatoms.methods.patch_rows import PatchRows, Scaling
from hs_deepatoms.tables import schema

if TYPE_CHECKING:
    import xarray as xr


class Watched:
    """What `rvae` looks at while it trains.

    Parameters
    ----------
    asked : Asked
    rows : PatchRows
    scaling : Scaling
    device : str
    """

    def __init__(self, asked: Asked, rows: PatchRows, scaling: Scaling, device: str):
        self.asked, self.rows, self.scaling, self.device = asked, rows, scaling, device
        self.steps: list[int] = []
        self.z: list[np.ndarray] = []
        self.phase: list[np.ndarray] = []

    @property
    def asked_for(self):
        """The function that the training calls, or None."""
        return self.look if self.asked.physics is not None and self.asked.physics_watch else None

    def look(self, model: Any, step: int) -> None:
        """Latents and phases of all patches by the model as it is."""
        from hs_deepatoms.methods.latent_tree import infer_all

        latent = 0 if self.asked.physics_latents is None else self.asked.physics_latents[0]
        z = infer_all(model, self.rows, self.scaling, self.device).z[:, latent]
        phase = phases_of_nodes(z.astype(float), layout_of(self.rows.found.table), least=0.0)
        if not callable(self.asked.physics_watch):
            self.steps, self.z, self.phase = [*self.steps, step], [*self.z, z], [*self.phase, phase]
            return
        columns = {"z": (schema.DIM, z), "phase": (schema.DIM, phase, {"units": "1"})}
        self.asked.physics_watch(self.rows.found.table.assign(columns), step)

    def dataset(self) -> xr.Dataset | None:
        """What was seen; None if nothing was asked for."""
        import xarray as xr

        if not self.steps:
            return None
        dims = ("watch_step", schema.DIM)
        return xr.Dataset({"z": (dims, np.stack(self.z)), "phase": (dims, np.stack(self.phase))},
                          {"watch_step": self.steps, schema.DIM: self.rows.found.table[schema.DIM].values})  # fmt: skip

    def job(self, config: dict, kept: Any) -> dict:
        """What decides the training beside the recipe: a checkpoint of another one is refused."""
        if self.asked.checkpoint is None:
            return {}
        some = kept.take(np.unique(np.linspace(0, len(kept) - 1, min(len(kept), 64)).astype(int)))
        asked = {name: str(value) for name, value in vars(self.asked).items() if name.startswith("physics")}
        return {"config": config, "rows": len(kept), "batch_size": self.asked.batch_size, **asked,
                "data": hashlib.blake2b(some.tobytes(), digest_size=16).hexdigest()}  # fmt: skip
