"""``im2spec`` and ``spec2im``: networks that predict spectra from images, and images from spectra."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any


from hs_deepatoms._core.devices import choose_device
from hs_deepatoms.methods.pair_request import PairRequest, check_request
from hs_deepatoms.methods.pair_sources import read_pair, read_window
from hs_deepatoms.methods.pair_training import learn_spectra
from hs_deepatoms.methods.pair_tree import build_spectrum_tree

if TYPE_CHECKING:
    import xarray as xr


def im2spec(
    image: Any,
    eels: Any,
    *,
    window: int | float | str | None = None,
    region: Any = None,
    shift: tuple | None = None,
    target: str = "scores",
    n_components: int | None = None,
    latent_dim: int = 8,
    variational: bool = False,
    likelihood: str = "auto",
    normalisation: str = "auto",
    split: Any = "blocks",
    folds: int | None = None,
    members: int = 1,
    steps: int | None = None,
    batch_size: int = 6,
    learning_rate: float = 2e-3,
    navigation_mask: Any = None,
    signal_mask: Any = None,
    spikes: bool = True,
    edges: dict[str, float] | None = None,
    checkpoint: Any = None,
    device: str = "auto",
    seed: int = 0,
    num_workers: int | None = None,
    show_progressbar: bool | None = None,
) -> xr.DataTree:
    """Learn what spectrum belongs to the surroundings of a pixel in an image."""
    asked = PairRequest(window, region, shift, target, n_components, latent_dim, variational, likelihood,
                        normalisation, split, folds, members, steps, batch_size, learning_rate, navigation_mask,
                        signal_mask, spikes, edges, checkpoint, choose_device(device), seed, num_workers,
                        show_progressbar)  # fmt: skip
    check_request(asked)
    pair = read_pair(image, eels, region=region, shift=shift, operation="im2spec")
    learned = learn_spectra(pair, read_window(window, pair), asked)
    tree = build_spectrum_tree(pair, learned, asked)
    if not tree["metrics"].attrs["beats_baselines"]:
        warnings.warn(tree["metrics"].attrs["verdict"], stacklevel=2)
    return tree
