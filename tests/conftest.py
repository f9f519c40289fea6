"""Workers of pytest-xdist share the cores: more threads than these spin while they wait for each other."""

import os

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # read by torch, BLAS and OpenMP when they are imported, here and in the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))
