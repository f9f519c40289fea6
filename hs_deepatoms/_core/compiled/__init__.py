"""Loops that numba compiles, how that is done, and how one job is shared between threads."""
