"""The bytes of a model in a tree, checked against their hash."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from hs_deepatoms._core.errors import ModelFileError, explain


def model_content(node: Any, what: str) -> bytes:
    """The bytes in the node ``/model`` of a tree.

    Parameters
    ----------
    node : xarray.DataTree or xarray.Dataset
    what : str
        What the error calls the tree.

    Raises
    ------
    ModelFileError
        If they are not those that were written.
    """
    content = np.asarray(node["weights"].values, np.uint8).tobytes()
    if hashlib.sha256(content).hexdigest() != node.attrs.get("sha256"):
        got = f"{what} whose model is damaged (its sha256 differs)"
        raise ModelFileError(explain(got, "the bytes that were saved", "Get the file again."))
    return content
