from __future__ import annotations

import pytest

from hs_deepatoms.modelfile import registry


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The test modules are registered, and forgotten afterwards."""
    from tests.modelfile.nets import Small

    monkeypatch.setattr(registry, "_architectures", dict(registry._architectures))
    registry.register_architecture("Small", Small)
    registry.register_architecture("Table", "tests.modelfile.nets:Table")
