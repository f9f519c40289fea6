"""The survey network as a plain function on arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hs_deepatoms.engine.resident import turn_of_network
from hs_deepatoms.modelfile.cache import cached_module


def survey_classifier(model: str, sha256: str, device: str) -> tuple[Callable[[np.ndarray], np.ndarray], float, float]:
    """``classify(crops (n, 128, 128)) -> probabilities (n, classes)``, the first width (px) and the step (octaves)."""
    module = cached_module(model, sha256, device, name="survey")

    def classify(crops: np.ndarray) -> np.ndarray:
        with turn_of_network(device), torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(crops, np.float32))[:, None].to(device)
            return torch.softmax(module(tensor), 1).double().cpu().numpy()

    return classify, module.first, module.step
