"""Run a few lines in a fresh interpreter: what an import does can only be seen there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_fresh(code: str, *, path: Path | None = None, folder: Path | None = None) -> str:
    """Run ``code``, with ``path`` first on ``sys.path``, outside the checkout; return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder or Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout
