"""Neighbour graphs, rings and transitions between classes."""
