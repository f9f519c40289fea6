"""Loops over atoms, bonds and the rings they close, compiled by numba."""
