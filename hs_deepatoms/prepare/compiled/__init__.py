"""Compiled loops over the pixels of a frame."""
