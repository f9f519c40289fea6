"""The fit's loops over columns, pairs and pixels, compiled by numba for the processor."""
